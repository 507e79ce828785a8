//! The results of calls and handlers, and the errors in them.

use std::error::Error;

/// Describes what the future of a call or of a message handler can return.
///
/// It is implemented for
///
/// - `()`, which always succeeds,
/// - `Result<T, E>` with an [`Error`], or with `anyhow::Error`, `eyre::Report`, `Box<dyn Error + Send + Sync>` or
///   `Box<dyn Error>`.
///
/// `Kind` distinguishes these implementations. The compiler infers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no outcome that can be recorded",
    label = "neither `()` nor a `Result` with an error",
    note = "return `()` or `Result<T, E>` with `E: std::error::Error + 'static`, `anyhow::Error` or a boxed error"
)]
pub trait CallResult<Kind>: sealed::Sealed<Kind> {
    #[doc(hidden)]
    fn error(&self) -> Option<&(dyn Error + 'static)>;
}

mod sealed {
    pub trait Sealed<Kind> {}
}

mod kind {
    #[derive(Debug)]
    pub struct Nothing;
    #[derive(Debug)]
    pub struct OfError;
    #[derive(Debug)]
    pub struct OfReport;
    #[derive(Debug)]
    pub struct OfLocalBox;
}

impl sealed::Sealed<kind::Nothing> for () {}
impl CallResult<kind::Nothing> for () {
    fn error(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

impl<T, E: Error + 'static> sealed::Sealed<kind::OfError> for Result<T, E> {}
impl<T, E: Error + 'static> CallResult<kind::OfError> for Result<T, E> {
    fn error(&self) -> Option<&(dyn Error + 'static)> {
        self.as_ref().err().map(|error| error as _)
    }
}

impl<T, E: AsRef<dyn Error + Send + Sync>> sealed::Sealed<kind::OfReport> for Result<T, E> {}
impl<T, E: AsRef<dyn Error + Send + Sync>> CallResult<kind::OfReport> for Result<T, E> {
    fn error(&self) -> Option<&(dyn Error + 'static)> {
        self.as_ref().err().map(|error| error.as_ref() as _)
    }
}

impl<T> sealed::Sealed<kind::OfLocalBox> for Result<T, Box<dyn Error>> {}
impl<T> CallResult<kind::OfLocalBox> for Result<T, Box<dyn Error>> {
    fn error(&self) -> Option<&(dyn Error + 'static)> {
        self.as_ref().err().map(|error| &**error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no funds")]
    struct NoFunds;

    fn error<K>(result: &impl CallResult<K>) -> Option<String> {
        result.error().map(|error| format!("{error} {}", error.is::<NoFunds>()))
    }

    #[test]
    fn errors_of_every_kind_keep_their_type() {
        let expected = Some("no funds true".to_owned());
        assert_eq!(error(&Err::<u8, _>(NoFunds)), expected);
        assert_eq!(error(&Err::<u8, Box<dyn Error>>(Box::new(NoFunds))), expected);
        assert_eq!(error(&Err::<u8, Box<dyn Error + Send + Sync>>(Box::new(NoFunds))), expected);
        assert_eq!(error(&Ok::<_, NoFunds>(1)), None);
        assert_eq!(error(&()), None);
    }
}
