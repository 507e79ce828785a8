//! Closures that a module's layer runs, and the settings beside them.

use std::{any::Any, borrow::Cow, error::Error, fmt, sync::Arc};

use http::{HeaderName, request, response};

use super::{ErrorVerdict, Panicked};
use crate::{
    record::{Exception, is_contained},
    transaction::{Recorder, Transaction, UserCode, run_user_code},
};

type OnRequest = Arc<dyn Fn(&Transaction, &request::Parts) + Send + Sync>;
type OnResponse = Arc<dyn Fn(&Transaction, &response::Parts) + Send + Sync>;
type OnError = Arc<dyn Fn(&Transaction, &(dyn Error + 'static)) -> ErrorVerdict + Send + Sync>;

/// What a layer was told by its builder methods.
#[derive(Clone, Default)]
pub(super) struct Options {
    /// None: the installed agent's, looked up for each request.
    pub(super) recorder: Option<Arc<Recorder>>,
    pub(super) module: Option<Cow<'static, str>>,
    /// The server itself terminates TLS.
    pub(super) https: bool,
    /// None: where the subscriber hides the span.
    pub(super) request_span: Option<bool>,
    pub(super) response_trace_id_header: Option<HeaderName>,
    pub(super) on_request: Vec<OnRequest>,
    pub(super) on_response: Vec<OnResponse>,
    pub(super) on_error: Vec<OnError>,
}

impl Options {
    pub(super) fn run_on_request(&self, transaction: &Transaction, parts: &request::Parts) {
        if transaction.is_active() {
            self.on_request.iter().for_each(|hook| _ = run(transaction, || hook(transaction, parts)));
        }
    }

    pub(super) fn run_on_response(&self, transaction: &Transaction, parts: &response::Parts) {
        if transaction.is_active() {
            self.on_response.iter().for_each(|hook| _ = run(transaction, || hook(transaction, parts)));
        }
    }

    /// All of them see the error, and any may have it left out; `exception` is what would be told of it. The hooks see
    /// errors of ignored requests too, with a transaction that does nothing.
    pub(super) fn run_on_error(
        &self,
        transaction: &Transaction,
        error: &(dyn Error + 'static),
        exception: impl FnOnce() -> Exception,
    ) {
        let discarded = |hook: &&OnError| run(transaction, || hook(transaction, error)) == Some(ErrorVerdict::Discard);
        if self.on_error.iter().filter(discarded).count() > 0 {
            transaction.handle().veto(&exception());
        }
    }

    pub(super) fn run_on_panic(&self, transaction: &Transaction, panic: &(dyn Any + Send)) {
        if !self.on_error.is_empty() {
            let exception = Exception::from_panic(panic);
            let panicked = Panicked { message: exception.message.clone() };
            self.run_on_error(transaction, &panicked, || exception);
        }
    }
}

/// A hook that panics loses its own work only. For a request that a hook or filter makes itself no hook runs.
fn run<T>(transaction: &Transaction, hook: impl FnOnce() -> T) -> Option<T> {
    if is_contained() {
        return None;
    }
    run_user_code(transaction.handle().recorder()?, UserCode::Hook, hook)
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("module", &self.module)
            .field("response_trace_id_header", &self.response_trace_id_header)
            .finish_non_exhaustive()
    }
}
