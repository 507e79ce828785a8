//! For a service that has a pipeline of OpenTelemetry's SDK: its spans, told to Elastic too.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context,
    trace::{Span as _, SpanId as OtelSpanId, TraceContextExt},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use crate::{
    record::{Exception, SpanId, SpanRecord, micros},
    transaction::{Shared, TimedChild, handle_in, link_to},
};

/// Spans that are open at a time; further ones are left out.
const MAX_OPEN: usize = 16_384;

/// Gives the spans of an [`SdkTracerProvider`](opentelemetry_sdk::trace::SdkTracerProvider) to the transactions that
/// they belong to; what the provider does with them otherwise stays as it is.
///
/// For a service with a pipeline of its own: two layers of `tracing-opentelemetry` in one subscriber cannot be, so the
/// spans come from the one that is there. See the guide [`opentelemetry`](crate::docs::opentelemetry). Spans outside of
/// any transaction are left out, and so are those that the provider's sampler does not record.
#[derive(Clone, Default)]
pub struct ApmSpanProcessor {
    open: Arc<Mutex<HashMap<OtelSpanId, Arc<Shared>>>>,
}

impl ApmSpanProcessor {
    fn open(&self) -> MutexGuard<'_, HashMap<OtelSpanId, Arc<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That of the parent: a span that is open, or the transaction itself.
    fn transaction(&self, context: &Context) -> Option<Arc<Shared>> {
        let parent = context.span().span_context().span_id();
        let known = self.open().get(&parent).cloned();
        known.or_else(|| handle_in(context))
    }
}

impl SpanProcessor for ApmSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        let Some(shared) = self.transaction(context).filter(|shared| shared.records_spans()) else { return };
        let id = span.span_context().span_id();
        let mut open = self.open();
        if open.len() < MAX_OPEN {
            let parent = SpanId(u64::from_be_bytes(context.span().span_context().span_id().to_bytes()));
            shared.child_begins(parent, micros(SystemTime::now()), TimedChild::Span);
            open.insert(id, shared);
        }
    }

    fn on_end(&self, span: SpanData) {
        let id = span.span_context.span_id();
        let Some(shared) = self.open().remove(&id) else { return };
        let record = record(span, &shared);
        shared.span(record);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn record(span: SpanData, shared: &Shared) -> Box<SpanRecord> {
    let ids = shared.ids();
    let id = SpanId(u64::from_be_bytes(span.span_context.span_id().to_bytes()));
    for event in span.events.iter().filter(|event| event.name == "exception") {
        shared.error(Exception::from_event(&event.attributes).into_record(event.timestamp), Some(id));
    }
    Box::new(SpanRecord {
        trace_id: ids.trace_id,
        id,
        parent_id: SpanId(u64::from_be_bytes(span.parent_span_id.to_bytes())),
        transaction_id: Some(ids.id),
        sample_rate: ids.sample_rate,
        timestamp: micros(span.start_time),
        duration: span.end_time.duration_since(span.start_time).unwrap_or_default(),
        name: span.name,
        kind: span.span_kind,
        attributes: span.attributes,
        status: span.status,
        outcome: None,
        links: span.links.iter().filter_map(|link| link_to(&link.span_context)).collect(),
        composite: None,
    })
}

impl fmt::Debug for ApmSpanProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApmSpanProcessor").field("open", &self.open().len()).finish()
    }
}
