//! What running code belongs to: a transaction, work that is to be ignored, or nothing that is known.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use opentelemetry::trace::SpanContext;

use super::{Recorder, Shared, current::release_held, errors::Told};
use crate::record::{ErrorRecord, Exception, SpanId, TraceId};

#[derive(Clone, Default)]
pub(crate) enum Handle {
    #[default]
    None,
    Transaction(Arc<Shared>),
    Ignored(Arc<Ignored>),
}

/// A request or a message that makes no transaction and no spans, as `transaction_ignore_urls` and its siblings say.
/// Errors are sent all the same, without a transaction (agent-spec 5.5), and the caller's trace goes on below.
pub(crate) struct Ignored {
    recorder: Arc<Recorder>,
    /// The caller's place in its trace, for the services that are called.
    context: SpanContext,
    told: Mutex<Told>,
}

impl Ignored {
    pub(crate) fn new(recorder: Arc<Recorder>, context: SpanContext) -> Self {
        Self { recorder, context, told: Mutex::default() }
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    pub(crate) fn context(&self) -> &SpanContext {
        &self.context
    }

    /// Sends an error, without a transaction; one that was met before is counted.
    pub(crate) fn error(&self, error: Box<ErrorRecord>) {
        let verdict = self.told.lock().unwrap_or_else(PoisonError::into_inner).judge(error.exception.as_ref());
        if verdict.is_to_be_told(&self.recorder) {
            self.recorder.error(error);
        }
    }
}

impl Handle {
    pub(crate) fn transaction(&self) -> Option<&Arc<Shared>> {
        match self {
            Handle::Transaction(shared) => Some(shared),
            Handle::None | Handle::Ignored(_) => None,
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Handle::None)
    }

    /// Whom errors go to. None where only the installed agent could be meant.
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

    /// A panic went through; the panic hook may have more to tell of it.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) {
        if !release_held() {
            self.error(Exception::from_panic(panic).into_record(SystemTime::now()), None);
        }
    }

    /// A hook does not want this error to be told, now or later.
    pub(crate) fn veto(&self, exception: &Exception) {
        match self {
            Handle::None => {}
            Handle::Transaction(shared) => shared.lock().seldom().told.veto(exception),
            Handle::Ignored(ignored) => {
                ignored.told.lock().unwrap_or_else(PoisonError::into_inner).veto(exception);
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
