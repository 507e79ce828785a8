//! The transaction as OpenTelemetry's current span.
//!
//! Every span of ours knows its transaction, and is asked for it through OpenTelemetry's own API: setting the status
//! `Unset` is a no-op for any span by specification, so ours can answer the question on that call and a foreign span
//! ignores it. This spares each request the map that `Context::with_value` keeps, and works for a context that we did
//! not build, under a root span that somebody else opened.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    sync::Arc,
    time::SystemTime,
};

use opentelemetry::{
    Context, KeyValue, TraceFlags,
    trace::{Span, SpanContext, SpanKind, Status, TraceContextExt, TraceState},
};

use super::{Shared, Transaction, current::running_if};
use crate::record::{Exception, Link, OtelPart, Outcome, SpanId, TraceId, set_attribute};

thread_local! {
    static ASKED: Cell<bool> = const { Cell::new(false) };
    static ANSWER: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The transaction that a context belongs to.
pub(crate) fn handle_in(context: &Context) -> Option<Arc<Shared>> {
    if !context.has_active_span() {
        return None;
    }
    let span = context.span();
    let trace_id = TraceId(u128::from_be_bytes(span.span_context().trace_id().to_bytes()));
    let running = running_if(|shared| shared.is_in_trace(trace_id));
    if running.is_some() {
        return running;
    }
    ASKED.set(true);
    span.set_status(Status::Unset);
    ASKED.set(false);
    ANSWER.try_with(RefCell::take).ok().flatten()
}

/// Within a request that `transaction_ignore_urls` or `transaction_ignore_user_agents` names.
#[derive(Debug)]
struct Ignored;

/// The current context, for a request that is to make no transaction: what begins in it makes none either.
pub(crate) fn ignored() -> Context {
    Context::current_with_value(Ignored)
}

pub(crate) fn is_ignored() -> bool {
    Context::map_current(|context| context.get::<Ignored>().is_some())
}

/// For `Span::set_status(Unset)` of our spans: answers [`handle_in`].
pub(crate) fn answer_handle(shared: &Arc<Shared>) {
    if ASKED.get() {
        let _ = ANSWER.try_with(|answer| answer.replace(Some(shared.clone())));
    }
}

/// The current context with this transaction as its span.
pub(crate) fn otel_context(shared: &Arc<Shared>) -> Context {
    Context::current_with_span(TransactionSpan::new(shared.clone()))
}

/// What user code sets on the current span reaches the transaction. Its end is the layer's.
#[derive(Debug)]
pub(crate) struct TransactionSpan {
    shared: Arc<Shared>,
    context: SpanContext,
}

impl TransactionSpan {
    fn new(shared: Arc<Shared>) -> Self {
        let ids = shared.ids();
        let context = span_context(ids.trace_id, ids.id, ids.sampled);
        Self { shared, context }
    }
}

pub(crate) fn span_context(trace_id: TraceId, id: SpanId, sampled: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(trace_id.0.into(), id.0.into(), flags, false, TraceState::NONE)
}

impl Span for TransactionSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if name.into() == "exception" {
            self.shared.error(Exception::from_event(&attributes).into_record(timestamp), None);
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.shared.update(|record| {
            let otel = record
                .otel
                .get_or_insert_with(|| Box::new(OtelPart { kind: SpanKind::Server, attributes: Vec::new() }));
            set_attribute(&mut otel.attributes, attribute);
        });
    }

    fn set_status(&mut self, status: Status) {
        match status {
            Status::Unset => answer_handle(&self.shared),
            Status::Ok => self.shared.set_outcome(Outcome::Success),
            Status::Error { .. } => self.shared.set_outcome(Outcome::Failure),
        }
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.shared.set_name(name.into());
    }

    fn add_link(&mut self, context: SpanContext, _: Vec<KeyValue>) {
        if let Some(link) = link_to(&context) {
            self.shared.update(|record| record.add_link(link));
        }
    }

    fn end_with_timestamp(&mut self, _: SystemTime) {}
}

/// None for a context that points nowhere.
pub(crate) fn link_to(context: &SpanContext) -> Option<Link> {
    let trace_id = TraceId(u128::from_be_bytes(context.trace_id().to_bytes()));
    let span_id = SpanId(u64::from_be_bytes(context.span_id().to_bytes()));
    context.is_valid().then_some(Link { trace_id, span_id })
}

impl From<Transaction> for Context {
    /// A context whose current span is the transaction, to be carried where a task does not carry it by itself.
    fn from(transaction: Transaction) -> Self {
        transaction.shared().map_or_else(Context::current, otel_context)
    }
}
