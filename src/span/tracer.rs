//! Makes the spans: what `tracing-opentelemetry` and code that uses OpenTelemetry's API call.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};

use super::span::{ApmSpan, Child};
use crate::{
    propagation::Tracestate,
    record::{Link, MAX_ATTRIBUTES, Name, OtelPart, SpanId, SpanRecord, micros},
    transaction::{Ids, Recorder, Shared, handle_in, installed, link_to, new_record, root, span_context},
};

/// For an agent, or (without one) for whichever is installed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApmTracer {
    recorder: Option<Arc<Recorder>>,
}

impl ApmTracer {
    pub(crate) fn new(recorder: Option<Arc<Recorder>>) -> Self {
        Self { recorder }
    }

    /// A span that nobody's transaction is above: a transaction itself.
    fn root(&self, builder: SpanBuilder, parent: &SpanContext) -> ApmSpan {
        let recorder = self.recorder.clone().or_else(installed).filter(|recorder| recorder.is_recording());
        let Some(recorder) = recorder else { return ApmSpan::off(parent.clone()) };
        let config = recorder.snapshot();
        let ids = match link_to(parent) {
            Some(Link { trace_id, span_id }) => Ids {
                trace_id,
                id: SpanId::random(),
                parent_id: Some(span_id),
                sampled: parent.is_sampled(),
                sample_rate: None,
                tracestate: Tracestate::None,
            },
            None => root(&config),
        };
        let began = Instant::now();
        let kind = builder.span_kind.clone().unwrap_or(SpanKind::Internal);
        let mut record = new_record(&ids, Cow::Borrowed("custom"), Name::Text(builder.name), began, Default::default());
        if let Some(start) = builder.start_time {
            record.timestamp = micros(start);
        }
        record.links = links(builder.links);
        record.otel = Some(Box::new(OtelPart { kind, attributes: bounded(builder.attributes) }));
        let context = span_context(ids.trace_id, ids.id, ids.sampled);
        ApmSpan::root(Arc::new(Shared::new(recorder, config, ids, began, record).up_for_adoption()), context)
    }

    fn child(shared: Arc<Shared>, builder: SpanBuilder, parent: &SpanContext) -> ApmSpan {
        if !shared.ids().sampled || !shared.has_room_for_span() {
            return ApmSpan::unrecorded(shared, parent.clone());
        }
        let id = SpanId::random();
        let context =
            SpanContext::new(parent.trace_id(), id.0.into(), parent.trace_flags(), false, parent.trace_state().clone());
        let start = builder.start_time.unwrap_or_else(SystemTime::now);
        let ids = shared.ids();
        let record = Box::new(SpanRecord {
            trace_id: ids.trace_id,
            id,
            parent_id: SpanId(u64::from_be_bytes(parent.span_id().to_bytes())),
            transaction_id: Some(ids.id),
            sample_rate: ids.sample_rate,
            timestamp: micros(start),
            duration: Duration::ZERO,
            name: builder.name,
            kind: builder.span_kind.unwrap_or(SpanKind::Internal),
            attributes: bounded(builder.attributes),
            status: Status::Unset,
            outcome: None,
            links: links(builder.links),
        });
        ApmSpan::child(shared, context, Child { start, record })
    }
}

fn bounded(attributes: Option<Vec<KeyValue>>) -> Vec<KeyValue> {
    let mut attributes = attributes.unwrap_or_default();
    attributes.truncate(MAX_ATTRIBUTES);
    attributes
}

fn links(links: Option<Vec<opentelemetry::trace::Link>>) -> Vec<Link> {
    links.into_iter().flatten().filter_map(|link| link_to(&link.span_context)).take(MAX_ATTRIBUTES).collect()
}

impl Tracer for ApmTracer {
    type Span = ApmSpan;

    fn build_with_context(&self, builder: SpanBuilder, context: &Context) -> ApmSpan {
        if context.is_telemetry_suppressed() || Context::is_current_telemetry_suppressed() {
            return ApmSpan::off(SpanContext::empty_context());
        }
        let span = context.span();
        let parent = span.span_context();
        match handle_in(context) {
            Some(shared) => Self::child(shared, builder, parent),
            None => self.root(builder, parent),
        }
    }
}

impl TracerProvider for ApmTracer {
    type Tracer = Self;

    /// The scope is not told apart: Elastic has no place for it.
    fn tracer_with_scope(&self, _: InstrumentationScope) -> Self {
        self.clone()
    }
}
