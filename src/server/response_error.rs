//! The error that caused a response. A handler attaches the error, and the layer records it.

use std::{
    any::{Any, type_name},
    backtrace::{Backtrace, BacktraceStatus},
    error::Error,
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use http::Response;

use crate::{
    capture::{exception_of, stack_here},
    record::{Exception, Stack, UnformattedError},
    sanitize::Sanitizer,
    transaction::{Handle, Recorder, Transaction, UserCode, run_user_code},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Attaches the error that caused a response.
///
/// The trait is sealed: it is implemented for [`http::Response`] only.
pub trait ResponseExt: sealed::Sealed {
    /// Attaches the error that caused this response.
    ///
    /// If the status is 500 or above, the layer records the error with its causes. Its culprit is the transaction's
    /// name, and Kibana has one group per type (with the variant of an enum) and name. Below 500, the error is only
    /// passed to the hooks ([`ApmLayer::on_error`](crate::ApmLayer::on_error)). A second call replaces the error of the
    /// first call.
    ///
    /// The error can be an `anyhow::Error`, an `eyre::Report` or a boxed error. See the guide
    /// [`errors`](crate::docs::errors).
    ///
    /// ```
    /// use axum::{Json, http::StatusCode, response::{IntoResponse, Response}};
    /// use tower_apm::{ResponseExt, Transaction};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("the chain refused")]
    /// struct AppError;
    ///
    /// impl IntoResponse for AppError {
    ///     fn into_response(self) -> Response {
    ///         let trace_id = Transaction::current().trace_id();
    ///         let body = Json(serde_json::json!({ "error": self.to_string(), "trace_id": trace_id }));
    ///         (StatusCode::BAD_GATEWAY, body).into_response().with_error(self)
    ///     }
    /// }
    /// # let _ = AppError.into_response();
    /// ```
    #[must_use]
    fn with_error<E: Into<Box<dyn Error + Send + Sync>>>(self, error: E) -> Self;
}

impl<B> ResponseExt for Response<B> {
    fn with_error<E: Into<BoxError>>(mut self, error: E) -> Self {
        let transaction = Transaction::current();
        let stack = match transaction.handle().recorder() {
            Some(recorder) if self.status().is_server_error() => stack_here(recorder),
            _ => Stack::None,
        };
        let stack = if let Stack::Captured(stack) = stack { Some(stack) } else { None };
        let attached = Attached { error: error.into().into(), path: type_name::<E>(), stack: stack.into() };
        self.extensions_mut().insert(ResponseError(Arc::new(attached)));
        self
    }
}

mod sealed {
    pub trait Sealed {}

    impl<B> Sealed for http::Response<B> {}
}

/// The extension that carries the error.
#[derive(Clone)]
pub(super) struct ResponseError(Arc<Attached>);

struct Attached {
    error: Arc<dyn Error + Send + Sync>,
    path: &'static str,
    stack: Mutex<Option<Box<backtrace::Backtrace>>>,
}

impl ResponseError {
    pub(super) fn error(&self) -> &(dyn Error + 'static) {
        &*self.0.error
    }

    /// Returns the exception for an error of `handle`, and takes the stack.
    pub(super) fn exception(&self, recorder: &Recorder, handle: &Handle) -> Exception {
        let mut exception = self.without_stack(recorder);
        exception.debug_text = handle.debug_text(self.error());
        let stack = self.0.stack.lock().map_or(None, |mut stack| stack.take());
        // if no stack was captured, stacks are disabled (`stack_trace_limit`)
        if let Some(stack) = stack {
            let has_report = has_backtraces() || self.0.path == "eyre::Report";
            let report = has_report.then(|| UnformattedError(self.0.error.clone()));
            exception.stack = Stack::Attached { stack, report };
        }
        exception
    }

    /// Returns the exception without the stack.
    pub(super) fn without_stack(&self, recorder: &Recorder) -> Exception {
        let mut exception = exception_of(recorder, || match self.0.path {
            path if is_erased(path) => Exception::from_error(self.error()),
            path => Exception::from_boxed(self.error(), path),
        });
        if exception.kind.is_none() && !is_erased(self.0.path) {
            // its `Display` panicked
            exception.set_path(self.0.path);
        }
        exception.handled = false;
        exception
    }
}

/// Types that hold any error, or only text.
fn is_erased(path: &str) -> bool {
    path.contains("dyn ") || ["anyhow::Error", "eyre::Report", "alloc::string::String", "&str"].contains(&path)
}

/// Returns true if errors can contain a stack: `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` is set.
fn has_backtraces() -> bool {
    static ENABLED: LazyLock<bool> = LazyLock::new(|| Backtrace::capture().status() == BacktraceStatus::Captured);
    *ENABLED
}

/// A panic, as [`ApmLayer::on_error`](crate::ApmLayer::on_error) sees it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Panicked {
    /// The message of the panic, if the payload is text.
    pub message: String,
}

/// The text of an error of the wrapped service or of a body that is not a [`std::error::Error`].
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// The `Display` output of the error.
    pub message: String,
}

// A message may quote what the request held: it is shown as it would be sent.
impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked").field("message", &Sanitizer::default().text(&self.message)).finish()
    }
}

impl fmt::Debug for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceError").field("message", &Sanitizer::default().text(&self.message)).finish()
    }
}

/// Looks at an error of unknown kind: boxed errors and the field's usual ones with their causes, others as text.
pub(super) fn with_error_of<E, T>(
    error: &E,
    recorder: &Recorder,
    then: impl FnOnce(&(dyn Error + 'static), Exception) -> T,
) -> T
where
    E: fmt::Display + 'static,
{
    let any: &dyn Any = error;
    let known = any.downcast_ref::<BoxError>().map(|error| &**error as &(dyn Error + 'static));
    #[cfg(feature = "axum")]
    let known = known.or_else(|| any.downcast_ref::<axum_core::Error>().map(|error| error as _));
    let known = known
        .or_else(|| any.downcast_ref::<Box<dyn Error>>().map(|error| &**error))
        .or_else(|| any.downcast_ref::<std::io::Error>().map(|error| error as _));
    match known {
        Some(error) => then(error, exception_of(recorder, || Exception::from_error(error))),
        None => {
            let message = run_user_code(recorder, UserCode::Display, || error.to_string()).unwrap_or_default();
            let error = ServiceError { message };
            let mut exception = Exception::from_error(&error);
            exception.set_path(type_name::<E>());
            then(&error, exception)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no funds")]
    struct NoFunds;

    fn recorder() -> Recorder {
        Recorder::new(crate::config::LiveConfig::default(), crate::pipeline::Queue::new(1, 1024))
    }

    #[test]
    fn attached_error_keeps_its_type() {
        let response = Response::new(()).with_error(NoFunds);
        let attached = response.extensions().get::<ResponseError>().unwrap();
        assert!(attached.error().is::<NoFunds>());
        assert_eq!(attached.exception(&recorder(), &Handle::None).kind.as_deref(), Some("NoFunds"));
        let response = Response::new(()).with_error(BoxError::from(NoFunds));
        assert_eq!(
            response.extensions().get::<ResponseError>().unwrap().exception(&recorder(), &Handle::None).kind.as_deref(),
            Some("NoFunds")
        );
    }

    #[test]
    fn service_errors_of_any_type_are_recorded() {
        with_error_of(&BoxError::from(NoFunds), &recorder(), |error, _| assert!(error.is::<NoFunds>()));
        with_error_of(&"plain text", &recorder(), |error, exception| {
            assert!(error.is::<ServiceError>());
            assert_eq!(exception.message, "plain text");
        });
    }
}
