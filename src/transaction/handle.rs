//! What running code belongs to: a transaction, work that is to be ignored, or nothing that is known.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry::trace::SpanContext;
use tracing::Level;

use super::{
    error_history::{ErrorHistory, add_labels, replace},
    failures::BoxedError,
    inner::{Handle, Ignored, Recorder, TransactionInner},
    user_code::{UserCode, run_user_code},
};
use crate::record::is_contained;
use crate::record::{ErrorOrigin, ErrorRecord, Exception, SpanId, TraceId, is_debug_of};

impl Ignored {
    pub(crate) fn new(recorder: Arc<Recorder>, context: SpanContext) -> Self {
        Self { recorder, context, errors: Mutex::default() }
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    pub(crate) fn context(&self) -> &SpanContext {
        &self.context
    }

    /// Sends an error, without a transaction; one that was met before is counted.
    pub(crate) fn error(&self, mut error: Box<ErrorRecord>) {
        {
            let mut errors = self.errors();
            if !errors.judge(&error).settle(&self.recorder) {
                return;
            }
            let Some(exception) = &error.exception else { return self.recorder.error(error) };
            // as in a transaction
            if error.is_provisional() && !is_contained() {
                match errors.wait(error) {
                    Some(first) => error = first,
                    None => return,
                }
            } else {
                let mut replaced = errors.take_replaced(exception);
                replaced.iter().for_each(|_| self.recorder.suppressed_error());
                replace(&mut error, &mut None, &mut replaced);
                add_labels(&mut error, replaced);
            }
        }
        self.recorder.error(error);
    }

    pub(super) fn errors(&self) -> MutexGuard<'_, ErrorHistory> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        let waiting = self.errors().take_waiting();
        waiting.into_iter().for_each(|error| self.recorder.error(error));
    }
}

impl Handle {
    pub(crate) fn transaction(&self) -> Option<&Arc<TransactionInner>> {
        match self {
            Handle::Transaction(shared) => Some(shared),
            Handle::None | Handle::Ignored(_) => None,
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Handle::None)
    }

    /// Returns the recorder of errors. `None` means the installed agent.
    pub(crate) fn recorder(&self) -> Option<&Arc<Recorder>> {
        match self {
            Handle::None => None,
            Handle::Transaction(shared) => Some(shared.recorder()),
            Handle::Ignored(ignored) => Some(ignored.recorder()),
        }
    }

    pub(crate) fn is_in_trace(&self, trace_id: TraceId) -> bool {
        match self {
            Handle::None => false,
            Handle::Transaction(shared) => shared.is_in_trace(trace_id),
            Handle::Ignored(ignored) => ignored.context.trace_id().to_bytes() == trace_id.0.to_be_bytes(),
        }
    }

    /// Sends an error with what is known here; `parent` is the active span.
    pub(crate) fn error(&self, error: Box<ErrorRecord>, parent: Option<SpanId>) {
        match self {
            Handle::None => {}
            Handle::Transaction(shared) => shared.error(error, parent),
            Handle::Ignored(ignored) => ignored.error(error),
        }
    }

    /// Drops an error that a hook has discarded, now and when it is captured again.
    pub(crate) fn veto(&self, exception: &Exception) {
        let dropped = match self {
            Handle::None => 0,
            Handle::Transaction(shared) => shared.lock().rare().errors.veto(exception),
            Handle::Ignored(ignored) => ignored.errors().veto(exception),
        };
        if let (Some(recorder), 1..) = (self.recorder(), dropped) {
            recorder.filtered(dropped as u64);
        }
    }

    /// The error's `Debug`, where an error that waits for one that says more consists of that text (`err(Debug)`).
    pub(crate) fn debug_text(&self, error: &(impl fmt::Debug + ?Sized)) -> Option<String> {
        let texts = match self {
            Handle::None => return None,
            Handle::Transaction(shared) => shared.lock().waiting_texts(),
            Handle::Ignored(ignored) => ignored.errors().waiting_texts(),
        };
        let recorder = self.recorder().filter(|_| !texts.is_empty())?;
        // no lock is held: the code is the service's
        let find = || texts.into_iter().find(|text| is_debug_of(text, error));
        run_user_code(recorder, UserCode::Display, find).flatten()
    }
}

impl Handle {
    /// Returns true if a log line of this level can become the error of a failed transaction.
    pub(crate) fn wants_line(&self, level: Level) -> bool {
        match self {
            Handle::None => false,
            Handle::Transaction(shared) => shared.lock().wants_line(level),
            Handle::Ignored(ignored) => ignored.errors().failure.wants_line(level),
        }
    }

    /// Keeps a log line until the end of the transaction.
    pub(crate) fn offer_line(&self, mut error: BoxedError, parent: Option<SpanId>, level: Level) {
        error.origin = ErrorOrigin::FailureLog;
        match self {
            Handle::None => {}
            Handle::Transaction(shared) => shared.lock().offer_line(error, parent, level),
            Handle::Ignored(ignored) => ignored.errors().failure.offer(error, parent, level),
        }
    }

    /// Handles the failure of an ignored request. Sends its log line if nothing else explains the failure.
    pub(crate) fn ignored_request_failed(&self) {
        if let Handle::Ignored(ignored) = self {
            let line = ignored.errors().failure.unexplained().flatten();
            if let Some(line) = line {
                ignored.recorder().error(line.error);
            }
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handle::None => f.write_str("Transaction(none)"),
            Handle::Transaction(shared) => shared.fmt(f),
            Handle::Ignored(_) => f.write_str("Transaction(ignored)"),
        }
    }
}
