//! A span processor for services that have a pipeline of OpenTelemetry's SDK: it sends their spans to Elastic too.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanId as OtelSpanId, TraceContextExt},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use super::{
    context::{link_to, transaction_from},
    time::Start,
    tracer::{is_ignored, kept},
};
use crate::{
    record::{Exception, MAX_ATTRIBUTES, SpanId, SpanRecord, Stack, StatementKey, cut, is_call, set_attribute},
    transaction::{SpanStart, TransactionInner},
};

/// Spans that are open at a time; further ones are counted as dropped.
const MAX_OPEN: usize = 16_384;
/// Spans that have ended and may have children yet.
const MAX_ENDED: usize = 1024;

/// Gives the spans of an [`SdkTracerProvider`](opentelemetry_sdk::trace::SdkTracerProvider) to the transactions that
/// they belong to; what the provider does with them otherwise stays as it is.
///
/// For a service with a pipeline of its own: two layers of `tracing-opentelemetry` in one subscriber cannot be, so the
/// spans come from the one that is there. See the guide [`opentelemetry`](crate::docs::opentelemetry). Spans outside of
/// any transaction are left out, and so are those that the provider's sampler does not record.
#[derive(Clone, Default)]
pub struct ApmSpanProcessor {
    spans: Arc<Mutex<Spans>>,
}

#[derive(Default)]
struct Spans {
    known: HashMap<OtelSpanId, Known>,
    /// The oldest first.
    ended: VecDeque<OtelSpanId>,
    /// There were more open spans than are known: an unknown parent may be one that is not sent.
    is_overfull: bool,
}

struct Known {
    shared: Arc<TransactionInner>,
    /// What its children hang below: the span itself, or its parent where it is not sent.
    nearest: SpanId,
    /// None: it has ended.
    handling: Option<SpanHandling>,
}

enum SpanHandling {
    Sent(Begun),
    /// An exit span beyond the limit. It is counted for its service target.
    BeyondLimit(Begun),
    Dropped,
    /// The span is ignored, or part of an exit span that is already recorded.
    Ignored,
}

struct Begun {
    start: Start,
    parent_id: SpanId,
    within_call: bool,
    statement: Option<StatementKey>,
    baggage: Vec<KeyValue>,
}

impl ApmSpanProcessor {
    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction, and the span in it that a new one hangs below: that of the parent, which is open or has ended
    /// not long ago, or the transaction itself.
    fn above(&self, context: &Context) -> Option<(Arc<TransactionInner>, SpanId)> {
        let span = context.span();
        let parent = span.span_context();
        let (known, is_overfull) = {
            let spans = self.spans();
            let known = spans.known.get(&parent.span_id()).map(|known| (known.shared.clone(), known.nearest));
            (known, spans.is_overfull)
        };
        known.or_else(|| {
            let shared = transaction_from(context)?;
            // the sampler of the provider may have left the parent out; a remote one is the caller's
            let is_sent = parent.is_sampled() && !parent.is_remote() && !is_overfull;
            let nearest = if is_sent { own(parent.span_id()) } else { shared.ids().id };
            Some((shared, nearest))
        })
    }
}

fn own(id: OtelSpanId) -> SpanId {
    SpanId(u64::from_be_bytes(id.to_bytes()))
}

/// Decides how a new span is handled. Also returns the parent of its children.
fn begin(span: &SpanData, shared: &TransactionInner, parent_id: SpanId, context: &Context) -> (SpanHandling, SpanId) {
    let (kind, attributes) = (&span.span_kind, &span.attributes[..]);
    if is_ignored(Some(attributes), shared.config()) {
        return (SpanHandling::Ignored, parent_id);
    }
    let start = Start::of(Some(span.start_time));
    let new = SpanStart { parent_id, kind, attributes, timestamp: start.micros(shared), is_past: false };
    let Some(place) = shared.place(&new, || own(span.span_context.span_id())) else {
        return (SpanHandling::Ignored, parent_id);
    };
    let begun = || Begun {
        start,
        parent_id: place.parent_id,
        within_call: place.within_call,
        statement: place.statement,
        baggage: shared.recorder().baggage(context, shared.config()),
    };
    match place.id {
        Some(id) => (SpanHandling::Sent(begun()), id),
        None if is_call(kind) => (SpanHandling::BeyondLimit(begun()), place.parent_id),
        None => (SpanHandling::Dropped, place.parent_id),
    }
}

impl SpanProcessor for ApmSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        let Some((shared, parent_id)) = self.above(context) else { return };
        let is_recorded = shared.records_spans();
        {
            let mut spans = self.spans();
            if spans.known.len() >= MAX_OPEN + MAX_ENDED {
                spans.is_overfull = true;
                drop(spans);
                if is_recorded {
                    shared.count_dropped_span();
                }
                return;
            }
        }
        let id = span.span_context().span_id();
        let (handling, nearest) = if is_recorded {
            let Some(data) = span.exported_data() else { return };
            shared.find_user(&data.attributes);
            let (handling, nearest) = begin(&data, &shared, parent_id, context);
            if nearest != own(id) {
                shared.replace_span(own(id), nearest);
            }
            (handling, nearest)
        } else {
            // errors are sent without the span
            (SpanHandling::Ignored, parent_id)
        };
        self.spans().known.insert(id, Known { shared, nearest, handling: Some(handling) });
    }

    fn on_end(&self, span: SpanData) {
        let id = span.span_context.span_id();
        let (shared, nearest, handling) = {
            let mut spans = self.spans();
            let Some(known) = spans.known.get_mut(&id) else { return };
            let (shared, nearest, handling) = (known.shared.clone(), known.nearest, known.handling.take());
            spans.ended.push_back(id);
            let forgotten = if spans.ended.len() > MAX_ENDED { spans.ended.pop_front() } else { None };
            let forgotten = forgotten.and_then(|id| Some((own(id), spans.known.remove(&id)?)));
            drop(spans);
            if let Some((id, forgotten)) = forgotten {
                forgotten.shared.release_span(id);
            }
            (shared, nearest, handling)
        };
        shared.find_user(&span.attributes);
        for event in span.events.iter().filter(|event| event.name == "exception") {
            shared.error(Exception::from_event(&event.attributes).into_record(event.timestamp), Some(nearest));
        }
        match handling {
            // it is released when it is forgotten
            Some(SpanHandling::Sent(begun)) => _ = shared.span(record(span, begun, &shared)),
            Some(SpanHandling::BeyondLimit(begun)) => shared.span_beyond_limit(record(span, begun, &shared)),
            Some(SpanHandling::Dropped) => shared.unsent_ends(nearest, Start::of(Some(span.end_time)).micros(&shared)),
            Some(SpanHandling::Ignored) | None => {}
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        let before = std::mem::take(&mut *self.spans());
        for Known { shared, handling, .. } in before.known.into_values() {
            // the provider reports no further ends
            if matches!(handling, Some(SpanHandling::Sent(_) | SpanHandling::BeyondLimit(_) | SpanHandling::Dropped)) {
                shared.count_dropped_span();
            }
        }
        Ok(())
    }
}

fn record(span: SpanData, begun: Begun, shared: &TransactionInner) -> Box<SpanRecord> {
    let ids = shared.ids();
    let timestamp = begun.start.micros(shared);
    let mut attributes = span.attributes;
    for attribute in begun.baggage {
        set_attribute(&mut attributes, attribute);
    }
    attributes.truncate(MAX_ATTRIBUTES);
    Box::new(SpanRecord {
        trace_id: ids.trace_id,
        id: own(span.span_context.span_id()),
        parent_id: begun.parent_id,
        transaction_id: Some(ids.id),
        sample_rate: ids.sample_rate,
        timestamp,
        duration: begun.start.until(Some(span.end_time), timestamp),
        name: cut(span.name),
        kind: span.span_kind,
        attributes,
        status: span.status,
        outcome: None,
        links: kept(
            span.links.iter().filter_map(|link| link_to(&link.span_context)),
            MAX_ATTRIBUTES,
            shared.recorder(),
        ),
        composite: None,
        within_call: begun.within_call,
        is_retold: false,
        statement: begun.statement,
        span_type: None,
        exit_span: None,
        stack: Stack::None,
    })
}

impl fmt::Debug for ApmSpanProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = self.spans();
        let open = spans.known.len() - spans.ended.len();
        f.debug_struct("ApmSpanProcessor").field("open", &open).finish()
    }
}
