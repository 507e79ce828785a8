//! Errors of clients.

use std::{any::Any, error::Error, fmt};

use crate::{
    client::{ExitSpan, record_failure},
    record::catch,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// An error of a client: any [`std::error::Error`], or a boxed error. It is recorded with its causes.
///
/// The compiler infers `K`. It is `()` for a type that implements [`std::error::Error`], and
/// `Box<dyn Error + Send + Sync>` for boxed errors, which do not implement the trait. The services of tower's
/// `timeout`, `buffer` and `load_shed` have boxed errors.
pub trait ClientError<K>: 'static {
    /// Returns the error that is recorded.
    fn as_error(&self) -> &(dyn Error + 'static);
}

impl<E: Error + 'static> ClientError<()> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl ClientError<BoxError> for BoxError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }
}

/// An error of a body, recorded as text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BodyError(String);

/// Records the error of a response body. Errors of HTTP clients and boxed errors have causes, others are only text.
pub(super) fn fail_body<E: fmt::Display + 'static>(span: Option<&ExitSpan>, error: &E) {
    let any: &dyn Any = error;
    let known = any.downcast_ref::<BoxError>().map(|error| &**error as &(dyn Error + 'static));
    let known = known.or_else(|| any.downcast_ref::<hyper::Error>().map(|error| error as _));
    let known = known.or_else(|| any.downcast_ref::<std::io::Error>().map(|error| error as _));
    #[cfg(feature = "reqwest")]
    let known = known.or_else(|| any.downcast_ref::<reqwest::Error>().map(|error| error as _));
    #[cfg(feature = "axum")]
    let known = known.or_else(|| any.downcast_ref::<axum_core::Error>().map(|error| error as _));
    match known {
        Some(error) => record_failure(span, error),
        None => record_failure(span, &BodyError(catch(|| error.to_string()).unwrap_or_default())),
    }
}
