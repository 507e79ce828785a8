//! What an `on_error` hook may answer.

/// What becomes of an error that a hook of [`ApmLayer::on_error`](crate::ApmLayer::on_error) has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ErrorVerdict {
    /// It is recorded as it would be without the hook.
    #[default]
    Record,
    /// No error document is made of it. The transaction and its outcome stay what they are, and
    /// [`Stats::filtered`](crate::Stats::filtered) counts it.
    Discard,
}

/// What an `on_error` hook returns: nothing, or an [`ErrorVerdict`].
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
