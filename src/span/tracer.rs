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
    config::Config,
    propagation::{self, Incoming},
    record::{Link, MAX_ATTRIBUTES, Name, OtelPart, SpanId, SpanRecord, micros},
    transaction::{
        Recorder, Shared, TimedChild, continued, followed, handle_in, installed, link_to, new_record, root,
        span_context, supplied_parent,
    },
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
    fn root(&self, builder: SpanBuilder, context: &Context) -> ApmSpan {
        let span = context.span();
        let parent = span.span_context();
        let recorder = self.recorder.clone().or_else(installed).filter(|recorder| recorder.is_recording());
        let Some(recorder) = recorder else { return ApmSpan::off(parent.clone()) };
        let config = recorder.snapshot();
        if is_ignored(&builder, &config) {
            return ApmSpan::off(parent.clone());
        }
        let (ids, link) = match Incoming::of(parent) {
            Some(incoming) if parent.is_remote() => continued(incoming, &config),
            Some(incoming) => (followed(incoming), None),
            None => (root(&config), None),
        };
        let began = Instant::now();
        let kind = builder.span_kind.clone().unwrap_or(SpanKind::Internal);
        let mut record = new_record(&ids, Cow::Borrowed("custom"), Name::Text(builder.name), began, Default::default());
        if let Some(start) = builder.start_time {
            record.timestamp = micros(start);
        }
        record.links = link.into_iter().chain(links(builder.links)).collect();
        let attributes = attributes(builder.attributes, context, &config);
        record.otel = Some(Box::new(OtelPart { kind, attributes }));
        let context = span_context(ids.trace_id, ids.id, ids.sampled);
        ApmSpan::root(Arc::new(Shared::new(recorder, config, ids, began, record).up_for_adoption()), context)
    }

    fn child(shared: Arc<Shared>, builder: SpanBuilder, context: &Context) -> ApmSpan {
        let span = context.span();
        let parent = span.span_context();
        if !shared.records_spans() || is_ignored(&builder, shared.config()) {
            return ApmSpan::unrecorded(shared, parent.clone(), false);
        }
        let kind = builder.span_kind.unwrap_or(SpanKind::Internal);
        let parent_id = SpanId(u64::from_be_bytes(parent.span_id().to_bytes()));
        let start = builder.start_time.unwrap_or_else(SystemTime::now);
        let beyond_limit = !shared.has_room_for_span();
        if beyond_limit && !matches!(kind, SpanKind::Client | SpanKind::Producer) {
            shared.child_begins(parent_id, micros(start), TimedChild::Unsent);
            return ApmSpan::unrecorded(shared, parent.clone(), true);
        }
        let id = SpanId::random();
        shared.pin(parent_id);
        shared.child_begins(parent_id, micros(start), TimedChild::Span);
        // nothing may hang below a span that is not sent
        let id_below = if beyond_limit { parent.span_id() } else { id.0.into() };
        let own =
            SpanContext::new(parent.trace_id(), id_below, parent.trace_flags(), false, parent.trace_state().clone());
        let ids = shared.ids();
        let record = Box::new(SpanRecord {
            trace_id: ids.trace_id,
            id,
            parent_id,
            transaction_id: Some(ids.id),
            sample_rate: ids.sample_rate,
            timestamp: micros(start),
            duration: Duration::ZERO,
            name: builder.name,
            kind,
            attributes: attributes(builder.attributes, context, shared.config()),
            status: Status::Unset,
            outcome: None,
            links: links(builder.links),
            composite: None,
        });
        ApmSpan::child(shared, own, Child { start, record, beyond_limit })
    }
}

/// `ignore_message_queues` names the queue or topic that it is about.
fn is_ignored(builder: &SpanBuilder, config: &Config) -> bool {
    let queues = &config.ignore_message_queues;
    let names = ["messaging.destination.name", "messaging.destination"];
    !queues.is_empty()
        && builder.attributes.iter().flatten().any(|attribute| {
            names.contains(&attribute.key.as_str())
                && queues.iter().any(|pattern| pattern.matches(&attribute.value.as_str()))
        })
}

/// Those that the span is made with, and what it carries as baggage.
fn attributes(own: Option<Vec<KeyValue>>, context: &Context, config: &Config) -> Vec<KeyValue> {
    let mut attributes = own.unwrap_or_default();
    attributes.extend(propagation::attached(context, &config.baggage_to_attach));
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
        let supplied = if context.has_active_span() { None } else { supplied_parent() };
        let context = supplied.as_ref().unwrap_or(context);
        match handle_in(context) {
            Some(shared) => Self::child(shared, builder, context),
            None => self.root(builder, context),
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
