//! Makes the spans: what `tracing-opentelemetry` and code that uses OpenTelemetry's API call.

use std::{borrow::Cow, sync::Arc, time::Duration};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};

use super::{
    context::{handle_from, link_to, span_context},
    explicit_parent::published_parent,
    other_bridge::answer,
    span::{ApmSpan, Child},
    time::Start,
};
use crate::{
    config::Config,
    propagation::Incoming,
    record::{
        Link, MAX_ATTRIBUTES, MAX_TRANSACTION_LINKS, Name, OtelPart, SpanId, SpanRecord, Stack, cut, is_call,
        is_contained, is_user_attribute, map_current_context, micros,
    },
    transaction::{Handle, Ids, Ignored, Recorder, SpanStart, TransactionInner, installed, new_record},
};

/// For an agent, or (without one) for whichever is installed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApmTracer {
    recorder: Option<Arc<Recorder>>,
    /// True if each span is created after the recorded call has ended.
    is_past: bool,
}

impl ApmTracer {
    pub(crate) fn new(recorder: Option<Arc<Recorder>>) -> Self {
        Self { recorder, is_past: false }
    }

    /// Creates a tracer for spans that are created after the recorded call has ended.
    pub(crate) fn for_past_calls() -> Self {
        Self { recorder: None, is_past: true }
    }

    /// Builds a span that is below no transaction: the span is a transaction itself.
    fn root(&self, builder: SpanBuilder, context: &Context) -> ApmSpan {
        let span = context.span();
        let parent = span.span_context();
        let recorder = self.recorder.clone().or_else(installed).filter(|recorder| recorder.is_recording());
        let Some(recorder) = recorder else { return ApmSpan::off(parent.clone()) };
        let config = recorder.snapshot();
        // an exit span without a transaction is not work of this service, and neither are the spans below it
        let is_lone_exit = builder.span_kind.as_ref().is_some_and(is_call) && !config.root_exit_spans;
        if is_lone_exit || is_ignored(builder.attributes.as_deref(), &config) {
            return ApmSpan::ignored(Arc::new(Ignored::new(recorder, parent.clone())), parent.clone());
        }
        let (ids, link) = match Incoming::of(parent) {
            Some(incoming) if parent.is_remote() => Ids::from_remote(incoming, &config),
            Some(incoming) => (Ids::child_of(incoming), None),
            None => (Ids::new_root(&config), None),
        };
        let start = Start::of(builder.start_time);
        let began = start.monotonic();
        let kind = builder.span_kind.clone().unwrap_or(SpanKind::Internal);
        let attributes = attributes(builder.attributes, context, &recorder, &config);
        let otel = OtelPart { kind, attributes };
        let r#type = Cow::Borrowed(otel.transaction_type());
        let name = Name::Text(cut(builder.name));
        let mut record = new_record(&ids, r#type, name, began);
        record.links = kept(link.into_iter().chain(links(builder.links)), MAX_TRANSACTION_LINKS, &recorder);
        record.otel = Some(Box::new(otel));
        if let Some(otel) = &record.otel
            && otel.attributes.iter().any(|attribute| is_user_attribute(attribute.key.as_str()))
        {
            record.context.propose_user(&otel.attributes);
        }
        let context = span_context(ids.trace_id, ids.id, ids.sampled);
        let shared = TransactionInner::new(recorder, config, ids, began, record).mark_adoptable();
        if let Start::Explicit(start) = start {
            shared.update(|record| record.timestamp = micros(start));
        }
        ApmSpan::root(shared, context, start)
    }

    fn child(&self, shared: Arc<TransactionInner>, builder: SpanBuilder, context: &Context) -> ApmSpan {
        if let Some(attributes) = &builder.attributes {
            shared.find_user(attributes);
        }
        let span = context.span();
        let parent = span.span_context();
        let transaction;
        let parent = if parent.is_remote() {
            // attached below the transaction: the caller's span is no parent within it
            transaction = shared.span_context();
            &transaction
        } else {
            parent
        };
        if !shared.records_spans() {
            return ApmSpan::unrecorded(shared, parent.clone(), false);
        }
        let parent_id = SpanId(u64::from_be_bytes(parent.span_id().to_bytes()));
        if is_ignored(builder.attributes.as_deref(), shared.config()) {
            let nearest = shared.pin(parent_id);
            return ApmSpan::unrecorded(shared, with_id(parent, nearest), false);
        }
        let kind = builder.span_kind.unwrap_or(SpanKind::Internal);
        let attributes = attributes(builder.attributes, context, shared.recorder(), shared.config());
        let start = Start::of(builder.start_time);
        let timestamp = start.micros(&shared);
        let new = SpanStart { parent_id, kind: &kind, attributes: &attributes, timestamp, is_past: self.is_past };
        let Some(place) = shared.place(&new, SpanId::random) else {
            return ApmSpan::inside_exit_span(shared, parent.clone());
        };
        let id = place.id;
        // nothing may hang below a span that is not sent
        let own = with_id(parent, id.unwrap_or(place.parent_id));
        if id.is_none() && !is_call(&kind) {
            return ApmSpan::unrecorded(shared, own, true);
        }
        let ids = shared.ids();
        // written where it stays, as the transaction's
        let room = Box::new_uninit();
        let name = cut(builder.name);
        let links = match builder.links {
            None => Vec::new(),
            told => kept(links(told), MAX_ATTRIBUTES, shared.recorder()),
        };
        let record = Box::write(
            room,
            SpanRecord {
                trace_id: ids.trace_id,
                id: id.unwrap_or(SpanId(0)),
                parent_id: place.parent_id,
                transaction_id: Some(ids.id),
                sample_rate: ids.sample_rate,
                timestamp,
                duration: Duration::ZERO,
                name,
                kind,
                attributes,
                status: Status::Unset,
                outcome: None,
                links,
                composite: None,
                within_call: place.within_call,
                is_retold: false,
                statement: place.statement,
                span_type: None,
                exit_span: None,
                stack: Stack::None,
            },
        );
        ApmSpan::child(shared, own, Child { start, record, beyond_limit: id.is_none() })
    }
}

/// The context of another span in the same trace.
fn with_id(context: &SpanContext, id: SpanId) -> SpanContext {
    let (trace_id, flags) = (context.trace_id(), context.trace_flags());
    SpanContext::new(trace_id, id.0.into(), flags, false, context.trace_state().clone())
}

/// `ignore_message_queues` names the queue or topic that it is about.
pub(super) fn is_ignored(attributes: Option<&[KeyValue]>, config: &Config) -> bool {
    let queues = &config.ignore_message_queues;
    let names = ["messaging.destination.name", "messaging.destination"];
    !queues.is_empty()
        && attributes.unwrap_or_default().iter().any(|attribute| {
            names.contains(&attribute.key.as_str())
                && queues.iter().any(|pattern| pattern.matches(&attribute.value.as_str()))
        })
}

/// Those that the span is made with, and what it carries as baggage.
fn attributes(own: Option<Vec<KeyValue>>, context: &Context, recorder: &Recorder, config: &Config) -> Vec<KeyValue> {
    let mut attributes = own.unwrap_or_default();
    let attached = recorder.baggage(context, config);
    if !attached.is_empty() {
        attributes.extend(attached);
    }
    attributes.truncate(MAX_ATTRIBUTES);
    attributes
}

fn links(links: Option<Vec<opentelemetry::trace::Link>>) -> impl Iterator<Item = Link> {
    links.into_iter().flatten().filter_map(|link| link_to(&link.span_context))
}

/// As many as there is room for; the others are counted.
pub(super) fn kept(mut links: impl Iterator<Item = Link>, limit: usize, recorder: &Recorder) -> Vec<Link> {
    let kept = links.by_ref().take(limit).collect();
    match links.count() {
        0 => {}
        excess => recorder.excess_links(excess as u64),
    }
    kept
}

impl Tracer for ApmTracer {
    type Span = ApmSpan;

    fn build_with_context(&self, mut builder: SpanBuilder, context: &Context) -> ApmSpan {
        if context.is_telemetry_suppressed() || map_current_context(Context::is_telemetry_suppressed) {
            answer();
            return ApmSpan::off(SpanContext::empty_context());
        }
        let supplied = if context.has_active_span() { None } else { published_parent() };
        let context = supplied.as_ref().unwrap_or(context);
        if is_contained() {
            // a filter or hook of the service is no part of what it looks at
            return ApmSpan::not_recorded(handle_from(context), context.span().span_context().clone());
        }
        let events = builder.events.take();
        let span = match handle_from(context) {
            Handle::Transaction(shared) => self.child(shared, builder, context),
            Handle::Ignored(ignored) => ApmSpan::ignored(ignored, context.span().span_context().clone()),
            Handle::None => self.root(builder, context),
        };
        if let Some(events) = events {
            for event in events {
                span.begin_with(event);
            }
        }
        span
    }
}

impl TracerProvider for ApmTracer {
    type Tracer = Self;

    /// The scope is ignored, because Elastic's documents have no field for it.
    fn tracer_with_scope(&self, _: InstrumentationScope) -> Self {
        self.clone()
    }
}
