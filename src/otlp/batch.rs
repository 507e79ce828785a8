//! Spans on their way together, and the errors that belong to them.

use std::{collections::HashMap, sync::Arc};

use opentelemetry::trace::Event;
use opentelemetry_sdk::trace::SpanData;

use super::{project, size};
use crate::{
    pipeline::Batch,
    record::{ErrorParent, SpanId, TraceId},
};

/// Where an error belongs: its trace, and its span or transaction.
type Home = (TraceId, SpanId);

/// An error that waits for its span.
struct Homeless {
    home: Home,
    /// Microseconds since the epoch.
    timestamp: u64,
    event: Event,
}

/// The batch that is being filled.
#[derive(Default)]
pub(super) struct OpenBatch {
    spans: Vec<SpanData>,
    /// Where in `spans` each one is.
    places: HashMap<Home, usize>,
    /// Errors come before the spans that they were met in end.
    homeless: Vec<Homeless>,
    events: u64,
    size: usize,
}

impl OpenBatch {
    pub(super) fn add_span(&mut self, home: Home, span: SpanData) {
        self.size += size::span(&span);
        self.events += 1;
        self.places.insert(home, self.spans.len());
        self.spans.push(span);
    }

    /// An error outside of any transaction gets a trace of its own.
    pub(super) fn add_error(&mut self, parent: Option<&ErrorParent>, timestamp: u64, event: Event) {
        self.size += size::event(&event);
        self.events += 1;
        let home = parent.map_or_else(|| (TraceId::random(), SpanId::random()), |at| (at.trace_id, at.parent_id));
        self.homeless.push(Homeless { home, timestamp, event });
    }

    /// Bytes on the wire, at most.
    pub(super) fn size(&self) -> usize {
        // each of them may need a span of its own
        self.size + self.homeless.len() * 256
    }

    /// Errors go to their spans. Those whose span is not here, because it has gone already, still runs, or is not
    /// sampled, get one to carry them, below the one that they belong to.
    pub(super) fn close(&mut self, framework: Option<&'static str>) -> Option<OtlpBatch> {
        let Self { mut spans, mut places, homeless, events, .. } = std::mem::take(self);
        let mut own: Vec<u64> = vec![1; spans.len()];
        for Homeless { home, timestamp, event } in homeless {
            let place = *places.entry(home).or_insert_with(|| {
                spans.push(project::carrier(home.0, home.1, SpanId::random(), timestamp, framework));
                own.push(0);
                spans.len() - 1
            });
            spans[place].events.events.push(event);
            own[place] += 1;
        }
        (events > 0).then(|| OtlpBatch { spans: spans.into(), weights: own.into(), events })
    }
}

/// A closed batch.
pub(crate) struct OtlpBatch {
    pub(super) spans: Arc<[SpanData]>,
    /// The events that each span tells: itself, unless it only carries, and its errors.
    pub(super) weights: Arc<[u64]>,
    events: u64,
}

impl Batch for OtlpBatch {
    fn events(&self) -> u64 {
        self.events
    }

    /// It is encoded when it is sent.
    fn bytes(&self) -> Option<u64> {
        None
    }

    /// No answer of OTLP says which ones were taken; whole spans are what can be left out.
    fn without(mut self, taken: u64) -> Self {
        let mut gone = 0;
        let spans = self.weights.iter().take_while(|weight| {
            gone += **weight;
            gone <= taken
        });
        let spans = spans.count();
        self.spans = self.spans[spans..].into();
        self.weights = self.weights[spans..].into();
        self.events = self.weights.iter().sum();
        self
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanId as OtelSpanId;

    use super::*;

    const TRACE: TraceId = TraceId(7);

    fn parent(id: u64) -> ErrorParent {
        ErrorParent {
            trace_id: TRACE,
            transaction_id: SpanId(1),
            parent_id: SpanId(id),
            sampled: true,
            kind: "request".into(),
            name: crate::record::Name::Route,
        }
    }

    fn span(id: u64) -> (Home, SpanData) {
        ((TRACE, SpanId(id)), project::carrier(TRACE, SpanId(99), SpanId(id), 0, None))
    }

    fn event() -> Event {
        Event::with_name("exception")
    }

    #[test]
    fn an_error_goes_to_its_span_whichever_comes_first() {
        let mut open = OpenBatch::default();
        open.add_error(Some(&parent(1)), 0, event());
        let (home, data) = span(1);
        open.add_span(home, data);
        open.add_error(Some(&parent(1)), 0, event());
        let batch = open.close(None).unwrap();
        assert_eq!((batch.spans.len(), batch.spans[0].events.len(), batch.events()), (1, 2, 3));
        assert!(open.close(None).is_none(), "the next batch is empty");
    }

    #[test]
    fn an_error_whose_span_is_elsewhere_is_carried_below_it() {
        let mut open = OpenBatch::default();
        open.add_error(Some(&parent(5)), 0, event());
        open.add_error(Some(&parent(5)), 0, event());
        open.add_error(None, 0, event());
        let batch = open.close(None).unwrap();
        assert_eq!((batch.spans.len(), batch.events()), (2, 3));
        assert_eq!(batch.spans[0].parent_span_id, OtelSpanId::from_bytes(5_u64.to_be_bytes()));
        assert_eq!(batch.spans[0].events.len(), 2, "one carrier for both");
        assert_ne!(batch.spans[1].parent_span_id, OtelSpanId::INVALID, "without a parent it would be a transaction");
    }

    #[test]
    fn what_was_taken_is_left_out_in_whole_spans() {
        let mut open = OpenBatch::default();
        for id in [1, 2, 3] {
            let (home, data) = span(id);
            open.add_span(home, data);
        }
        open.add_error(Some(&parent(1)), 0, event());
        let batch = open.close(None).unwrap();
        let rest = batch.without(3);
        assert_eq!((rest.spans.len(), rest.events()), (1, 1));
    }
}
