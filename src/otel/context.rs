//! The transaction as OpenTelemetry's current span.
//!
//! Each of our spans knows its transaction, and is asked for it through OpenTelemetry's API: by specification, setting the
//! status `Unset` has no effect, so our spans can answer during that call, and other spans ignore it. A request therefore
//! needs no map as for `Context::with_value`, and contexts that the agent has not built work too.

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

use super::current::{running_as, running_if};
use crate::{
    record::{
        Exception, Link, OtelPart, Outcome, SpanId, TraceId, attach, current_context, current_with_span, cut,
        map_current_context, set_attribute,
    },
    transaction::{Handle, Ignored, Transaction, TransactionInner},
};

thread_local! {
    static PROBING: Cell<bool> = const { Cell::new(false) };
    static PROBE_ANSWER: RefCell<Handle> = const { RefCell::new(Handle::None) };
}

/// The transaction that a context belongs to.
pub(crate) fn transaction_from(context: &Context) -> Option<Arc<TransactionInner>> {
    match handle_from(context) {
        Handle::Transaction(shared) => Some(shared),
        Handle::None | Handle::Ignored(_) => None,
    }
}

/// What a context belongs to: a transaction, or a request or message that is ignored.
///
/// A remote context belongs to the transaction that runs on this thread, if there is one: nothing that is attached below a
/// transaction moves spans out of it.
pub(crate) fn handle_from(context: &Context) -> Handle {
    if !context.has_active_span() {
        return Handle::None;
    }
    let span = context.span();
    let trace_id = TraceId(u128::from_be_bytes(span.span_context().trace_id().to_bytes()));
    let running = running_if(|running| running.is_in_trace(trace_id));
    if !running.is_none() {
        return running;
    }
    PROBING.set(true);
    span.set_status(Status::Unset);
    PROBING.set(false);
    let answer = PROBE_ANSWER.try_with(RefCell::take).unwrap_or_default();
    // A middleware below the layer that reads the trace headers again attaches the caller's context.
    if answer.is_none() && span.span_context().is_remote() { running_if(|_| true) } else { answer }
}

/// For `Span::set_status(Unset)` of our spans: answers [`handle_from`].
pub(crate) fn answer_probe(handle: impl FnOnce() -> Handle) {
    if PROBING.get() {
        let _ = PROBE_ANSWER.try_with(|answer| answer.replace(handle()));
    }
}

/// The current context with this transaction as its span.
pub(crate) fn otel_context(shared: &Arc<TransactionInner>) -> Context {
    current_with_span(TransactionSpan::new(shared.clone()))
}

/// The current context with a span that records nothing and says so to every span below it.
pub(crate) fn ignored_context(ignored: &Arc<Ignored>) -> Context {
    let span = IgnoredSpan { ignored: Handle::Ignored(ignored.clone()), context: ignored.context().clone() };
    current_with_span(span)
}

/// In place of the transaction of a request that is ignored.
#[derive(Debug)]
struct IgnoredSpan {
    ignored: Handle,
    context: SpanContext,
}

impl Span for IgnoredSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if name.into() == "exception" {
            let error = Exception::from_event(&attributes).into_record(timestamp);
            while_locked(&self.ignored, &self.context, || self.ignored.error(error, None));
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        false
    }

    fn set_attribute(&mut self, _: KeyValue) {}

    fn set_status(&mut self, status: Status) {
        if status == Status::Unset {
            answer_probe(|| self.ignored.clone());
        }
    }

    fn update_name<T>(&mut self, _: T)
    where
        T: Into<Cow<'static, str>>,
    {
    }

    fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {}

    fn end_with_timestamp(&mut self, _: SystemTime) {}
}

/// What user code sets on the current span reaches the transaction. Its end is the layer's.
#[derive(Debug)]
pub(crate) struct TransactionSpan {
    shared: Arc<TransactionInner>,
    context: SpanContext,
}

impl TransactionSpan {
    fn new(shared: Arc<TransactionInner>) -> Self {
        let context = shared.span_context();
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
            let error = Exception::from_event(&attributes).into_record(timestamp);
            let handle = Handle::Transaction(self.shared.clone());
            while_locked(&handle, &self.context, || self.shared.error(error, None));
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.shared.find_user(std::slice::from_ref(&attribute));
        self.shared.update(|record| {
            let kind = record.span_kind(SpanKind::Server);
            let otel = record.otel.get_or_insert_with(|| Box::new(OtelPart { kind, attributes: Vec::new() }));
            set_attribute(&mut otel.attributes, attribute);
        });
    }

    fn set_status(&mut self, status: Status) {
        match status {
            Status::Unset => answer_probe(|| Handle::Transaction(self.shared.clone())),
            Status::Ok => self.shared.set_outcome(Outcome::Success),
            Status::Error { .. } => self.shared.set_outcome(Outcome::Failure),
        }
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.shared.set_name(cut(name.into()));
    }

    fn add_link(&mut self, context: SpanContext, _: Vec<KeyValue>) {
        if let Some(link) = link_to(&context) {
            self.shared.link(link);
        }
    }

    fn end_with_timestamp(&mut self, _: SystemTime) {}
}

/// Runs filters of the user while OpenTelemetry may hold the lock of a span. Within `work` the current span has the same
/// ids and no lock, and the transaction is found without asking a span.
pub(crate) fn while_locked<T>(handle: &Handle, span: &SpanContext, work: impl FnOnce() -> T) -> T {
    let _attached = attach(map_current_context(|context| context.with_remote_span_context(span.clone())));
    running_as(handle, work)
}

impl Transaction {
    /// Returns the transaction of the current task, or a handle that does nothing if there is no transaction.
    ///
    /// The transaction is part of OpenTelemetry's current context, so every function that a handler calls or awaits finds
    /// it. [`ApmFutureExt`](crate::ApmFutureExt) carries it into spawned tasks, [`in_scope`](Self::in_scope) into other threads.
    #[must_use]
    pub fn current() -> Self {
        Self::from_handle(handle_from(&current_context()))
    }
}

impl TransactionInner {
    /// The transaction's place in its trace.
    pub(crate) fn span_context(&self) -> SpanContext {
        let ids = self.ids();
        span_context(ids.trace_id, ids.id, ids.sampled)
    }
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
        transaction.shared().map_or_else(current_context, otel_context)
    }
}
