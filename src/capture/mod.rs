//! Errors from the code, from `tracing` events, from OpenTelemetry's API and from panics.
//!
//! An error document contains a copy of the transaction's user, labels, custom context and request at the time of the
//! capture, so that a search by user or label finds the document.

mod events;
mod fields;
mod panic;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    borrow::Cow,
    error::Error,
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::SystemTime,
};

use serde::Serialize;

pub use self::panic::install_panic_hook;
pub(crate) use self::{
    events::{ErrorEvents, error_id, is_suppressed},
    fields::{EventFields, redacted},
};
use crate::{
    otel::{link_to, running},
    record::{
        Context, ErrorOrigin, ErrorRecord, Exception, LabelValue, LogMessage, SpanId, Stack, cut, is_nested,
        map_current_context,
    },
    transaction::{
        Handle, Recorder, Transaction, TransactionInner, UserCode, installed_or_warn, run_user_code, set_custom,
        to_json,
    },
};

impl Transaction {
    /// Records an error that was handled, with all its causes and the stack of this call.
    ///
    /// The error does not change the outcome of a request, which depends on the status. Outside of transactions, the
    /// installed agent records the error without a transaction. If no agent is installed, the error is not recorded and
    /// one warning is logged. To use a given agent, call [`Agent::capture_error`](crate::Agent::capture_error).
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # fn announce() -> Result<(), std::io::Error> { Err(std::io::Error::other("no such room")) }
    /// if let Err(error) = announce() {
    ///     Transaction::current().capture_error(&error); // the request succeeds
    /// }
    /// ```
    ///
    /// Pass an `anyhow::Error` or a `Box<dyn Error>` as `&*error`.
    pub fn capture_error<E: Error + 'static + ?Sized>(&self, error: &E) -> &Self {
        self.error(error).capture();
        self
    }

    /// Records a text as an error, with the stack of this call.
    ///
    /// Kibana groups these errors by the text and the calling function if the text is a `&'static str`, and otherwise by the
    /// calling function, because a formatted text contains variable parts. The text is not a log line: nothing is printed.
    /// It is cut to `long_field_max_length` characters.
    ///
    /// If you have an error value, use [`capture_error`](Self::capture_error), which also records the type and the causes.
    /// Otherwise, the two methods behave in the same way: the error does not change the outcome of a request, and the
    /// outcome of background work is `failure` unless the code sets another outcome.
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # let (tx, stock) = (Transaction::current(), -1);
    /// if stock < 0 {
    ///     tx.set_label("stock", stock).capture_message("the stock is negative");
    /// }
    /// ```
    pub fn capture_message(&self, message: impl Into<Cow<'static, str>>) -> &Self {
        let recorder = self.handle().recorder().cloned().or_else(installed_for_errors);
        capture_message(self.handle(), recorder, message.into());
        self
    }

    /// Returns a builder for an error document with labels, custom context and other data. Call
    /// [`capture`](ErrorBuilder::capture) to record the error.
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # let (tx, error) = (Transaction::current(), std::io::Error::other("no such room"));
    /// tx.error(&error).handled(true).label("step", "announce").capture();
    /// ```
    pub fn error<E: Error + 'static + ?Sized>(&self, error: &E) -> ErrorBuilder {
        let recorder = self.handle().recorder().cloned().or_else(installed_for_errors);
        ErrorBuilder::new(self.handle().clone(), recorder, error)
    }
}

/// Returns the installed agent, or warns once.
fn installed_for_errors() -> Option<Arc<Recorder>> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let warning = "an error was captured outside of a transaction, but no agent is installed: it is not recorded";
    installed_or_warn(&WARNED, warning)
}

/// Returns the current transaction if it belongs to this agent.
fn current_of(recorder: &Arc<Recorder>) -> Handle {
    let current = Transaction::current().handle().clone();
    let is_own = current.recorder().is_some_and(|current| Arc::ptr_eq(current, recorder));
    if is_own { current } else { Handle::None }
}

/// Records a text as an error in the current transaction of an agent, or without a transaction.
pub(crate) fn capture_message_of_agent(recorder: &Arc<Recorder>, message: Cow<'static, str>) {
    capture_message(&current_of(recorder), Some(recorder.clone()), message);
}

fn capture_message(handle: &Handle, recorder: Option<Arc<Recorder>>, message: Cow<'static, str>) {
    let Some(recorder) = recorder.filter(|recorder| recorder.is_recording()) else { return };
    if is_nested() {
        return recorder.suppressed_error();
    }
    let template = if let Cow::Borrowed(text) = message { Some(cut(text.into())) } else { None };
    let log = LogMessage { message: message.into_owned(), level: "error", logger: None, template, stack: Stack::None };
    let record = ErrorRecord::of_line(log, None, stack_here(&recorder), SystemTime::now());
    send(handle, &recorder, record);
}

fn send(handle: &Handle, recorder: &Recorder, record: Box<ErrorRecord>) {
    match handle {
        Handle::None => recorder.error(record),
        handle => handle.error(record, handle.transaction().and_then(|shared| active_span(shared))),
    }
}

impl ErrorBuilder {
    /// Creates a builder for a given agent. The error belongs to the current transaction if that is the agent's own.
    pub(crate) fn of_agent<E: Error + 'static + ?Sized>(recorder: &Arc<Recorder>, error: &E) -> Self {
        Self::new(current_of(recorder), Some(recorder.clone()), error)
    }

    fn new<E: Error + 'static + ?Sized>(handle: Handle, recorder: Option<Arc<Recorder>>, error: &E) -> Self {
        let recorder = recorder.filter(|recorder| recorder.is_recording());
        if is_nested()
            && let Some(recorder) = &recorder
        {
            recorder.suppressed_error();
            return Self { handle, parts: None };
        }
        let debug_text = recorder.as_ref().and_then(|_| handle.debug_text(error));
        let parts = recorder.map(|recorder| Parts {
            exception: Exception { debug_text, ..exception_of(&recorder, || Exception::from_error(error)) },
            context: Context::default(),
            template: None,
            recorder,
        });
        Self { handle, parts }
    }
}

/// Builds an error document. Nothing is recorded before [`capture`](Self::capture) is called.
#[must_use = "nothing is recorded before `capture()`"]
pub struct ErrorBuilder {
    /// The transaction that it belongs to, if any.
    handle: Handle,
    /// `None` if the error is not recorded.
    parts: Option<Parts>,
}

struct Parts {
    recorder: Arc<Recorder>,
    exception: Exception,
    context: Context,
    template: Option<Cow<'static, str>>,
}

impl ErrorBuilder {
    fn change(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        if let Some(parts) = &mut self.parts {
            change(parts);
        }
        self
    }

    /// Sets whether the code handled the error. The default is `true`.
    pub fn handled(self, handled: bool) -> Self {
        self.change(|parts| parts.exception.handled = handled)
    }

    /// Sets a label on the error only, in addition to the transaction's labels. An error has at most 128 labels, the
    /// transaction's included; further labels are dropped and counted in [`Stats::excess_labels`](crate::Stats::excess_labels).
    pub fn label(self, key: impl Into<Cow<'static, str>>, value: impl Into<LabelValue>) -> Self {
        self.change(|parts| {
            if !parts.context.set_label(key.into(), value.into()) {
                parts.recorder.excess_label();
            }
        })
    }

    /// Sets custom context on the error only, in addition to the transaction's. The limits of
    /// [`Transaction::set_custom_context`](crate::Transaction::set_custom_context) apply to both together.
    pub fn custom(self, key: impl Into<Cow<'static, str>>, value: impl Serialize) -> Self {
        self.change(|parts| {
            let key = cut(key.into());
            if let Some(json) = to_json(&value, parts.context.room_for_custom(&key), &parts.recorder) {
                set_custom(&mut parts.context, key, json, &parts.recorder);
            }
        })
    }

    /// Sets the message without its variable parts. Errors of one type and template are one group in Kibana.
    pub fn message_template(self, template: impl Into<Cow<'static, str>>) -> Self {
        self.change(|parts| parts.template = Some(cut(template.into())))
    }

    /// Replaces the stack of this call with a stack that was captured where the error occurred, for instance
    /// `anyhow::Error::backtrace()`.
    ///
    /// A backtrace that was not captured (`RUST_BACKTRACE` is off) has no effect. The standard library resolves the frames
    /// during this call, which takes tens of milliseconds the first time in a process.
    pub fn backtrace(self, backtrace: &Backtrace) -> Self {
        self.change(|parts| {
            if backtrace.status() == BacktraceStatus::Captured {
                parts.exception.stack = Stack::Text(backtrace.to_string().into());
            }
        })
    }

    /// Records the error.
    pub fn capture(self) {
        self.capture_from(ErrorOrigin::Code);
    }

    pub(crate) fn capture_from(self, origin: ErrorOrigin) {
        let Some(Parts { recorder, mut exception, context, template }) = self.parts else { return };
        if matches!(exception.stack, Stack::None) {
            exception.stack = stack_here(&recorder);
        }
        let log = template.map(|template| LogMessage {
            message: exception.message.clone(),
            level: "error",
            logger: None,
            template: Some(template),
            stack: Stack::None,
        });
        let mut record = exception.into_record(SystemTime::now());
        *record = ErrorRecord { log, context, origin, ..*record };
        send(&self.handle, &recorder, record);
    }
}

/// An error as its own code tells it; where that panics, there is still an error to tell of.
pub(crate) fn exception_of(recorder: &Recorder, tell: impl FnOnce() -> Exception) -> Exception {
    let silent = || Exception { message: "an error whose Display or Debug panicked".into(), ..Exception::default() };
    run_user_code(recorder, UserCode::Display, tell).unwrap_or_else(silent)
}

/// Returns the active span if it belongs to this transaction, and not to another transaction of the same trace.
/// Does not access the span, whose lock may be held.
fn active_span(shared: &TransactionInner) -> Option<SpanId> {
    use opentelemetry::trace::TraceContextExt;

    if running().transaction().is_some_and(|running| !std::ptr::eq(&**running, shared)) {
        return None;
    }
    let active = map_current_context(|context| {
        let span = context.span();
        // a remote span is the caller's
        link_to(span.span_context()).filter(|_| !span.span_context().is_remote())
    })?;
    shared.is_in_trace(active.trace_id).then_some(active.span_id)
}

/// Addresses only, some 20 µs; nothing when `stack_trace_limit` is 0 or no error is sent anyway.
pub(crate) fn stack_here(recorder: &Recorder) -> Stack {
    let config = recorder.config();
    match config.stack_trace_limit {
        0 => Stack::None,
        _ if config.context_propagation_only => Stack::None,
        _ => Stack::here(),
    }
}

impl fmt::Debug for ErrorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.parts.as_ref().and_then(|parts| parts.exception.kind.as_deref());
        f.debug_struct("ErrorBuilder").field("type", &kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{CodeOptions, EnvVars, LiveConfig},
        pipeline::Queue,
    };

    #[test]
    fn no_stack_is_captured_for_an_error_that_is_not_sent() {
        let taken = |only: bool, frames: i64| {
            let code = CodeOptions {
                context_propagation_only: Some(only),
                stack_trace_limit: Some(frames),
                ..CodeOptions::default()
            };
            let (live, _) = LiveConfig::new(code, EnvVars::empty());
            matches!(stack_here(&Recorder::new(live, Queue::new(8, 1 << 20))), Stack::Captured(_))
        };
        assert!(taken(false, 50) && taken(false, -1));
        assert!(!taken(true, 50) && !taken(false, 0));
    }
}
