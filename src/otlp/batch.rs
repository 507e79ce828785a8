//! Spans on their way together, the errors that belong to them, and the metrics and log lines beside them.

use std::{collections::HashMap, io, ops::Range, sync::Arc};

use bytes::Bytes;

use opentelemetry::trace::Event;
use opentelemetry_proto::tonic::{logs::v1::LogRecord, metrics::v1::Metric};
use opentelemetry_sdk::trace::SpanData;
use prost::Message;

use super::{
    pack::{pack, unpack},
    project,
    signal::{Payload, Signal},
    size,
};
use crate::{
    pipeline::Batch,
    record::{ErrorParent, SpanId, TraceId},
};

/// Where an error belongs: its trace, and its span or transaction.
type Home = (TraceId, SpanId);

/// Bytes around a message within another.
const NESTING: usize = 8;

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
    /// Each with the events that it tells: the first of a set is the set's.
    metrics: Vec<(Metric, u64)>,
    lines: Vec<LogRecord>,
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

    /// One set of metrics.
    pub(super) fn add_metrics(&mut self, metrics: Vec<Metric>) {
        self.size += metrics.iter().map(|metric| NESTING + metric.encoded_len()).sum::<usize>();
        self.events += 1;
        self.metrics.extend(metrics.into_iter().enumerate().map(|(at, metric)| (metric, u64::from(at == 0))));
    }

    pub(super) fn add_line(&mut self, line: LogRecord) {
        self.size += NESTING + line.encoded_len();
        self.events += 1;
        self.lines.push(line);
    }

    /// Bytes on the wire, at most.
    pub(super) fn size(&self) -> usize {
        // each of them may need a span of its own
        self.size + self.homeless.len() * 256
    }

    /// Errors go to their spans. Those whose span is not here, because it has gone already, still runs, or is not
    /// sampled, get one to carry them, below the one that they belong to.
    pub(super) fn close(&mut self, framework: Option<&'static str>) -> Option<OtlpBatch> {
        let Self { mut spans, mut places, homeless, metrics, lines, events, .. } = std::mem::take(self);
        let mut weights: Vec<u64> = vec![1; spans.len()];
        for Homeless { home, timestamp, event } in homeless {
            let place = *places.entry(home).or_insert_with(|| {
                spans.push(project::carrier(home.0, home.1, SpanId::random(), timestamp, framework));
                weights.push(0);
                spans.len() - 1
            });
            spans[place].events.events.push(event);
            weights[place] += 1;
        }
        let (metrics, of_metrics): (Vec<_>, Vec<_>) = metrics.into_iter().unzip();
        weights.extend(of_metrics);
        weights.extend(lines.iter().map(|_| 1));
        let body = Body::Plain(Contents::new(spans, metrics, lines, false));
        (events > 0).then(|| OtlpBatch { body, weights: weights.into(), events })
    }
}

/// A closed batch.
pub(crate) struct OtlpBatch {
    body: Body,
    /// The events that each part of the contents tells: a span itself, unless it only carries, and its errors.
    pub(super) weights: Arc<[u64]>,
    events: u64,
}

/// The contents of a batch, as they are sent or as they wait. Cheap to clone.
#[derive(Clone)]
pub(super) enum Body {
    Plain(Contents),
    Packed(Bytes),
}

impl Body {
    /// What is sent.
    ///
    /// # Errors
    /// None, unless [`pack`] is wrong.
    pub(super) fn contents(&self) -> io::Result<Contents> {
        match self {
            Self::Plain(contents) => Ok(contents.clone()),
            Self::Packed(packed) => unpack(packed),
        }
    }
}

/// Spans, metrics and lines, counted through in this order. Cheap to clone.
#[derive(Clone)]
pub(super) struct Contents {
    pub(super) spans: Arc<[SpanData]>,
    pub(super) metrics: Arc<[Metric]>,
    pub(super) lines: Arc<[LogRecord]>,
    follows_spans: bool,
}

impl Contents {
    pub(super) fn new(spans: Vec<SpanData>, metrics: Vec<Metric>, lines: Vec<LogRecord>, follows_spans: bool) -> Self {
        Self { spans: spans.into(), metrics: metrics.into(), lines: lines.into(), follows_spans }
    }

    /// It is what remains of a batch whose spans the server has decided on.
    pub(super) fn follows_spans(&self) -> bool {
        self.follows_spans
    }

    /// As if there had been none.
    #[cfg(test)]
    pub(super) fn alone(self) -> Self {
        Self { follows_spans: false, ..self }
    }

    /// Without spans, once those are decided on.
    pub(super) fn after_spans(&self) -> (Self, usize) {
        let rest = Self { spans: Arc::default(), follows_spans: true, ..self.clone() };
        (rest, self.spans.len())
    }

    pub(super) fn spans(&self) -> Range<usize> {
        0..self.spans.len()
    }

    /// What else there is.
    pub(super) fn beside(&self) -> impl Iterator<Item = (Signal, Range<usize>)> {
        let (metrics, lines) = (self.spans.len(), self.spans.len() + self.metrics.len());
        let pieces = [(Signal::Metrics, metrics..lines), (Signal::Logs, lines..lines + self.lines.len())];
        pieces.into_iter().filter(|(_, piece)| !piece.is_empty())
    }

    /// The part that a range names, all of it of one kind.
    pub(super) fn payload(&self, range: Range<usize>) -> Payload {
        let (metrics, lines) = (self.spans.len(), self.spans.len() + self.metrics.len());
        let within = |from: usize| range.start - from..range.end.saturating_sub(from);
        if range.start < metrics {
            Payload::Traces(self.spans.get(range).unwrap_or_default().to_vec())
        } else if range.start < lines {
            Payload::Metrics(self.metrics.get(within(metrics)).unwrap_or_default().to_vec())
        } else {
            Payload::Logs(self.lines.get(within(lines)).unwrap_or_default().to_vec())
        }
    }

    pub(super) fn without_first(self, mut gone: usize) -> Self {
        fn rest<T: Clone>(all: Arc<[T]>, gone: &mut usize) -> Arc<[T]> {
            let here = (*gone).min(all.len());
            *gone -= here;
            if here == 0 { all } else { all[here..].into() }
        }
        let Self { spans, metrics, lines, follows_spans } = self;
        let had_spans = !spans.is_empty();
        let (spans, metrics, lines) = (rest(spans, &mut gone), rest(metrics, &mut gone), rest(lines, &mut gone));
        Self { follows_spans: follows_spans || had_spans && spans.is_empty(), spans, metrics, lines }
    }
}

impl OtlpBatch {
    pub(super) fn body(&self) -> Body {
        self.body.clone()
    }

    #[cfg(test)]
    pub(super) fn contents(&self) -> Contents {
        self.body.contents().unwrap()
    }
}

impl Batch for OtlpBatch {
    fn events(&self) -> u64 {
        self.events
    }

    /// It is encoded when it is sent.
    fn bytes(&self) -> Option<u64> {
        None
    }

    fn memory(&self) -> usize {
        let body = match &self.body {
            Body::Packed(packed) => packed.len(),
            // only packed batches wait
            Body::Plain(contents) => size_of_val(&*contents.spans),
        };
        size_of::<Self>() + body + size_of_val(&*self.weights)
    }

    fn pack(self) -> Self {
        let packed = match &self.body {
            Body::Plain(contents) => pack(contents),
            Body::Packed(_) => return self,
        };
        match packed {
            Ok(packed) => Self { body: Body::Packed(packed), ..self },
            Err(_) => self,
        }
    }

    /// No answer of OTLP says which ones were taken; whole spans are what can be left out.
    fn without(mut self, taken: u64) -> Self {
        let mut gone = 0;
        let parts = self.weights.iter().take_while(|weight| {
            gone += **weight;
            gone <= taken
        });
        let parts = parts.count();
        let Ok(contents) = self.body.contents() else { return self };
        self.body = Body::Plain(contents.without_first(parts));
        self.weights = self.weights[parts..].into();
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
    fn error_is_an_event_of_its_span_in_any_order() {
        let mut open = OpenBatch::default();
        open.add_error(Some(&parent(1)), 0, event());
        let (home, data) = span(1);
        open.add_span(home, data);
        open.add_error(Some(&parent(1)), 0, event());
        let batch = open.close(None).unwrap();
        assert_eq!((batch.contents().spans.len(), batch.contents().spans[0].events.len(), batch.events()), (1, 2, 3));
        assert!(open.close(None).is_none(), "the next batch is empty");
    }

    #[test]
    fn error_without_its_span_gets_a_placeholder_span() {
        let mut open = OpenBatch::default();
        open.add_error(Some(&parent(5)), 0, event());
        open.add_error(Some(&parent(5)), 0, event());
        open.add_error(None, 0, event());
        let batch = open.close(None).unwrap();
        assert_eq!((batch.contents().spans.len(), batch.events()), (2, 3));
        assert_eq!(batch.contents().spans[0].parent_span_id, OtelSpanId::from_bytes(5_u64.to_be_bytes()));
        assert_eq!(batch.contents().spans[0].events.len(), 2, "one carrier for both");
        assert_ne!(
            batch.contents().spans[1].parent_span_id,
            OtelSpanId::INVALID,
            "without a parent it would be a transaction"
        );
    }

    fn metric(name: &str) -> Metric {
        Metric { name: name.to_owned(), ..Metric::default() }
    }

    #[test]
    fn metrics_and_logs_have_requests_of_their_own() {
        let mut open = OpenBatch::default();
        open.add_line(LogRecord { severity_number: 9, ..LogRecord::default() });
        open.add_metrics(vec![metric("a"), metric("b")]);
        open.add_metrics(vec![metric("c")]);
        assert!(open.size() > 0);
        let batch = open.close(None).unwrap();
        let beside: Vec<_> = batch.contents().beside().collect();
        assert_eq!(beside, [(Signal::Metrics, 0..3), (Signal::Logs, 3..4)]);
        assert_eq!((&batch.weights[..], batch.events()), (&[1, 0, 1, 1][..], 3));
        let mut open = OpenBatch::default();
        let (home, data) = span(1);
        open.add_span(home, data);
        open.add_metrics(vec![metric("a"), metric("b")]);
        open.add_metrics(vec![metric("c")]);
        open.add_line(LogRecord::default());
        let told = |batch: &OtlpBatch| {
            let contents = batch.contents();
            let spans = Some(contents.spans()).filter(|spans| !spans.is_empty());
            let pieces = spans.into_iter().chain(contents.beside().map(|(_, piece)| piece));
            pieces
                .map(|piece| match batch.contents().payload(piece) {
                    Payload::Traces(spans) => format!("{} spans", spans.len()),
                    Payload::Metrics(metrics) => metrics.into_iter().map(|metric| metric.name).collect(),
                    Payload::Logs(lines) => format!("{} lines", lines.len()),
                })
                .collect::<Vec<_>>()
        };
        let batch = open.close(None).unwrap();
        assert_eq!(told(&batch), ["1 spans", "abc", "1 lines"]);
        assert!(matches!(batch.contents().payload(3..4), Payload::Metrics(metrics) if metrics == [metric("c")]));
        let rest = batch.without(1);
        assert_eq!((told(&rest), rest.events()), (vec!["abc".to_owned(), "1 lines".to_owned()], 3));
    }

    #[test]
    fn accepted_events_are_removed_in_whole_spans() {
        let mut open = OpenBatch::default();
        for id in [1, 2, 3] {
            let (home, data) = span(id);
            open.add_span(home, data);
        }
        open.add_error(Some(&parent(1)), 0, event());
        let batch = open.close(None).unwrap();
        let rest = batch.without(3);
        assert_eq!((rest.contents().spans.len(), rest.events()), (1, 1));
    }

    #[test]
    fn packed_batch_drops_whole_spans_if_it_is_divided() {
        let mut open = OpenBatch::default();
        for id in 1..=100 {
            let (home, data) = span(id);
            open.add_span(home, data);
        }
        let plain = open.close(None).unwrap();
        let before = plain.memory();
        let packed = plain.pack();
        assert!(packed.memory() < before / 5, "{} of {before}", packed.memory());
        let rest = packed.without(98);
        assert_eq!((rest.contents().spans.len(), rest.events()), (2, 2));
        assert_eq!(rest.contents().spans[1], span(100).1);
    }
}
