//! Ignored requests. They have no transaction and no spans, and their errors are sent without a transaction
//! (agent-spec 5.5).

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::SystemTime,
};

use opentelemetry::Context;
use tracing::Span;

use super::{hooks::Options, response_error::with_error_of};
use crate::{
    otel::{Entered, enter_handle, enter_own},
    record::Exception,
    transaction::Transaction,
};

/// The context of a request that has no transaction to end.
///
/// This is an ignored request, including a streamed response body, or an event stream, because its transaction ends
/// before its body.
pub(super) struct RequestContext {
    pub(super) transaction: Transaction,
    context: Context,
    span: Span,
    pub(super) options: Arc<Options>,
}

impl RequestContext {
    pub(super) fn new(transaction: Transaction, context: Context, span: Span, options: Arc<Options>) -> Self {
        Self { transaction, context, span, options }
    }

    pub(super) fn enter(&self) -> Entered {
        enter_handle(self.transaction.handle().clone(), &self.context)
    }

    /// Runs code of the service in the request's span.
    pub(super) fn within<T>(&self, work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
        enter_own(&self.span, || catch_unwind(AssertUnwindSafe(work)))
    }

    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) {
        self.options.run_on_panic(&self.transaction, panic);
        self.transaction.handle().panicked(panic);
    }

    pub(super) fn error(&self, mut exception: Exception) {
        exception.handled = false;
        self.transaction.handle().error(exception.into_record(SystemTime::now()), None);
    }

    pub(super) fn failed<E: fmt::Display + 'static>(&self, error: &E) {
        if let Some(recorder) = self.transaction.handle().recorder() {
            with_error_of(error, recorder, |error, exception| {
                self.options.run_on_error(&self.transaction, error, || exception.clone());
                self.error(exception);
            });
        }
    }

    pub(super) fn body_failed<E: fmt::Display + 'static>(&self, error: &E) {
        if let Some(recorder) = self.transaction.handle().recorder() {
            with_error_of(error, recorder, |_, exception| self.error(exception));
        }
    }
}
