//! Futures of clients that run in an exit span.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll, ready},
};

use super::ExitSpan;
use crate::record::Outcome;

pin_project_lite::pin_project! {
    /// Runs the call of a client in its exit span and returns the span with the result of the call.
    ///
    /// The span is current while the call is polled and dropped. A call that is dropped before it has a result is recorded
    /// as cancelled, and a call that panics as failed.
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub(crate) struct InExitSpan<F> {
        // `None` after the future was dropped
        #[pin]
        call: Option<F>,
        span: Option<ExitSpan>,
        // true after a panic
        is_polling: bool,
    }

    impl<F> PinnedDrop for InExitSpan<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.span.as_ref().map(ExitSpan::enter);
            this.call.set(None);
            if let (true, Some(span)) = (*this.is_polling, this.span.take()) {
                span.set_outcome(Outcome::Failure);
                span.end();
            }
        }
    }
}

impl<F> InExitSpan<F> {
    /// Creates the future. `span` is the exit span, if the call is recorded.
    pub(crate) fn new(call: F, span: Option<ExitSpan>) -> Self {
        Self { call: Some(call), span, is_polling: false }
    }
}

impl<F: Future> Future for InExitSpan<F> {
    type Output = (Option<ExitSpan>, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let entered = this.span.as_ref().map(ExitSpan::enter);
        // a completed future is not polled again
        let Some(call) = this.call.as_mut().as_pin_mut() else { return Poll::Pending };
        *this.is_polling = true;
        let polled = call.poll(cx);
        *this.is_polling = false;
        let output = ready!(polled);
        this.call.set(None);
        drop(entered);
        Poll::Ready((this.span.take(), output))
    }
}

impl<F> fmt::Debug for InExitSpan<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InExitSpan").field("span", &self.span).finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// Runs a call like [`InExitSpan`] and passes the span and the result of the call to `finish`.
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub(crate) struct ExitFuture<F, D> {
        #[pin]
        call: InExitSpan<F>,
        finish: Option<D>,
    }
}

impl<F, D> ExitFuture<F, D> {
    /// Creates the future. `span` is the exit span, if the call is recorded. `finish` ends the span.
    pub(crate) fn new(call: F, span: Option<ExitSpan>, finish: D) -> Self {
        Self { call: InExitSpan::new(call, span), finish: Some(finish) }
    }
}

impl<F, D, T> Future for ExitFuture<F, D>
where
    F: Future,
    D: FnOnce(Option<ExitSpan>, F::Output) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        let this = self.project();
        let (span, output) = ready!(this.call.poll(cx));
        match this.finish.take() {
            Some(finish) => Poll::Ready(finish(span, output)),
            None => Poll::Pending,
        }
    }
}

impl<F, D> fmt::Debug for ExitFuture<F, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitFuture").field("call", &self.call).finish_non_exhaustive()
    }
}
