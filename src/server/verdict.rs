//! What an `on_error` hook may answer.

/// The decision of an [`ApmLayer::on_error`](crate::ApmLayer::on_error) hook about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ErrorVerdict {
    /// The error is recorded, as without the hook.
    #[default]
    Record,
    /// No error document is sent. The transaction and its outcome do not change.
    /// [`Stats::filtered`](crate::Stats::filtered) counts the error.
    Discard,
}

/// The return type of an `on_error` hook: `()` or an [`ErrorVerdict`].
pub trait IntoErrorVerdict: sealed::Sealed {
    #[doc(hidden)]
    fn into_verdict(self) -> ErrorVerdict;
}

impl IntoErrorVerdict for () {
    fn into_verdict(self) -> ErrorVerdict {
        ErrorVerdict::Record
    }
}

impl IntoErrorVerdict for ErrorVerdict {
    fn into_verdict(self) -> ErrorVerdict {
        self
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for () {}
    impl Sealed for super::ErrorVerdict {}
}
