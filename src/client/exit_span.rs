//! An exit span from its start to its end.

use std::{borrow::Cow, cell::Cell, error::Error, time::SystemTime};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};

use crate::{
    otel::ApmTracer,
    otel::{Entered, enter_handle, handle_from},
    record::{ErrorOrigin, OUTCOME, Outcome, current_context},
    trace_context,
    transaction::{Handle, Transaction},
};

thread_local! {
    /// The exit spans of databases that are entered on this thread.
    static DATABASE_CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Whether the exit span of a database call is entered on this thread, even if a `tracing` span was entered within it.
pub(super) fn is_in_database_call() -> bool {
    DATABASE_CALLS.get() > 0
}

/// An exit span that is the current span until this guard is dropped.
pub(crate) struct EnteredExitSpan {
    is_database: bool,
    _entered: Entered,
}

impl Drop for EnteredExitSpan {
    fn drop(&mut self) {
        if self.is_database {
            DATABASE_CALLS.set(DATABASE_CALLS.get().saturating_sub(1));
        }
    }
}

/// The span of a running call of another service.
///
/// A span that is dropped without [`end`](Self::end) was cancelled: it is recorded with the outcome `unknown`.
#[derive(Debug)]
pub(crate) struct ExitSpan {
    handle: Handle,
    context: Context,
    is_database: bool,
    has_ended: bool,
}

impl ExitSpan {
    /// Starts an exit span below the current span.
    ///
    /// Returns `None` outside of a transaction and in a transaction that records no spans. `describe` returns the
    /// name and the attributes, and runs only if there is a span.
    pub(crate) fn start(kind: SpanKind, describe: impl FnOnce() -> (Cow<'static, str>, Vec<KeyValue>)) -> Option<Self> {
        Self::start_at(&current_context(), kind, None, describe)
    }

    /// Starts an exit span below the span of `parent`. For a call that has already ended, `start` is its start time.
    pub(crate) fn start_at(
        parent: &Context,
        kind: SpanKind,
        start: Option<SystemTime>,
        describe: impl FnOnce() -> (Cow<'static, str>, Vec<KeyValue>),
    ) -> Option<Self> {
        let handle = handle_from(parent);
        if !handle.transaction().is_some_and(|shared| shared.records_spans()) {
            return None;
        }
        let (name, attributes) = describe();
        let is_database = attributes.iter().any(|attribute| attribute.key.as_str() == "db.system.name");
        let mut builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        builder.start_time = start;
        let tracer = if start.is_some() { ApmTracer::for_past_calls() } else { ApmTracer::default() };
        let span = tracer.build_with_context(builder, parent);
        Some(Self { handle, context: parent.with_span(span), is_database, has_ended: false })
    }

    /// Sets an attribute, named by OpenTelemetry's semantic conventions.
    pub(crate) fn set_attribute(&self, key: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Sets the outcome, which replaces the outcome that follows from the attributes.
    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        self.set_attribute(OUTCOME, outcome.as_str());
        if outcome == Outcome::Failure {
            // a failed span is neither compressed nor dropped for its short duration
            self.context.span().set_status(Status::error(""));
        }
    }

    /// Sets the outcome to `failure` and records the error with its causes as a child of this span.
    pub(crate) fn fail<E: Error + 'static + ?Sized>(&self, error: &E) {
        self.set_outcome(Outcome::Failure);
        let _entered = self.enter();
        Transaction::current().error(error).capture_from(ErrorOrigin::ExitSpan);
    }

    /// Writes `traceparent`, `tracestate` and `baggage` of this span into the headers of the call.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        trace_context::inject_from(&self.context, headers);
    }

    /// Returns a context in which this span is current.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Makes the span the current one until the guard is dropped.
    pub(crate) fn enter(&self) -> EnteredExitSpan {
        if self.is_database {
            DATABASE_CALLS.set(DATABASE_CALLS.get() + 1);
        }
        EnteredExitSpan { is_database: self.is_database, _entered: enter_handle(self.handle.clone(), &self.context) }
    }

    /// Returns the options of the span's transaction.
    #[cfg(feature = "mongodb")]
    pub(crate) fn config(&self) -> Option<&crate::config::Config> {
        self.handle.transaction().map(|shared| shared.config())
    }

    #[cfg(feature = "mongodb")]
    pub(crate) fn has_transaction_ended(&self) -> bool {
        self.handle.transaction().is_none_or(|shared| shared.read(|_| ()).is_none())
    }

    /// Returns true if the span belongs to the current transaction.
    #[cfg(feature = "diesel")]
    pub(crate) fn is_in_current_transaction(&self) -> bool {
        match (self.handle.transaction(), Transaction::current().handle().transaction()) {
            (Some(own), Some(current)) => std::sync::Arc::ptr_eq(own, current),
            _ => false,
        }
    }

    /// Ends the span now.
    pub(crate) fn end(mut self) {
        self.has_ended = true;
        self.context.span().end();
    }

    /// Ends the span at its start time, for a call whose end is not known. The span has no duration.
    #[cfg(any(feature = "diesel", feature = "mongodb"))]
    pub(crate) fn cancel_at(self, start: SystemTime) {
        self.set_outcome(Outcome::Unknown);
        self.end_at(start);
    }

    /// Ends the span at a time in the past.
    pub(crate) fn end_at(mut self, end: SystemTime) {
        self.has_ended = true;
        self.context.span().end_with_timestamp(end);
    }
}

/// Records the error of a call, with its causes.
///
/// `span` is `None` if the call has no span, because the transaction is unsampled or the request is ignored. The error
/// is recorded nevertheless. Outside of a transaction, the error is not recorded.
pub(crate) fn record_failure<E: Error + 'static + ?Sized>(span: Option<&ExitSpan>, error: &E) {
    match span {
        Some(span) => span.fail(error),
        None => {
            let current = Transaction::current();
            if !current.handle().is_none() {
                current.error(error).capture_from(ErrorOrigin::ExitSpan);
            }
        }
    }
}

impl Drop for ExitSpan {
    fn drop(&mut self) {
        if !self.has_ended {
            self.set_outcome(Outcome::Unknown);
            self.context.span().end();
        }
    }
}
