//! A future of a client that runs in an exit span.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll, ready},
};

use super::ExitSpan;
use crate::record::Outcome;

pin_project_lite::pin_project! {
    /// Runs the call of a client in its exit span, and passes the span to `finish` with the result of the call.
    ///
    /// The span is current while the call is polled and dropped. A call that is dropped before it has a result is recorded
    /// as cancelled, and a call that panics as failed.
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub(crate) struct ExitFuture<F, D> {
        // `None` after it was dropped
        #[pin]
        call: Option<F>,
        span: Option<ExitSpan>,
        finish: Option<D>,
        // true after a panic
        is_polling: bool,
    }

    impl<F, D> PinnedDrop for ExitFuture<F, D> {
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

impl<F, D> ExitFuture<F, D> {
    /// `span`: the exit span, if the call is recorded. `finish` ends the span.
    pub(crate) fn new(call: F, span: Option<ExitSpan>, finish: D) -> Self {
        Self { call: Some(call), span, finish: Some(finish), is_polling: false }
    }
}

impl<F, D, T> Future for ExitFuture<F, D>
where
    F: Future,
    D: FnOnce(Option<ExitSpan>, F::Output) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        let mut this = self.project();
        let entered = this.span.as_ref().map(ExitSpan::enter);
        // after its completion, a future is not polled again
        let Some(call) = this.call.as_mut().as_pin_mut() else { return Poll::Pending };
        *this.is_polling = true;
        let polled = call.poll(cx);
        *this.is_polling = false;
        let output = ready!(polled);
        this.call.set(None);
        drop(entered);
        match this.finish.take() {
            Some(finish) => Poll::Ready(finish(this.span.take(), output)),
            None => Poll::Pending,
        }
    }
}

impl<F, D> fmt::Debug for ExitFuture<F, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitFuture").field("span", &self.span).finish_non_exhaustive()
    }
}
