//! The response body, which ends the exit span.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};

use super::{call::Call, error::fail_body};

pin_project_lite::pin_project! {
    /// The response body of [`ClientService`](super::ClientService).
    ///
    /// Frames, trailers and the size hint are passed through from the inner body.
    ///
    /// The exit span ends with the body: at its end, at its error, or when it is dropped.
    pub struct ClientBody<R> {
        #[pin]
        inner: R,
        // `None`: the call is not recorded, or the span has ended
        call: Option<Call>,
    }

    impl<R> PinnedDrop for ClientBody<R> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(call) = this.project().call.take() {
                call.abandon();
            }
        }
    }
}

impl<R> ClientBody<R> {
    pub(super) fn new(inner: R, call: Option<Call>) -> Self {
        Self { inner, call }
    }
}

impl<R> Body for ClientBody<R>
where
    R: Body,
    R::Error: fmt::Display + 'static,
{
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let Some(call) = this.call.take() else {
            if let Some(Err(error)) = &frame {
                fail_body(None, error);
            }
            return Poll::Ready(frame);
        };
        match &frame {
            None => call.complete(None),
            Some(Err(error)) => call.fail(error),
            Some(Ok(frame)) if frame.is_trailers() => call.complete(frame.trailers_ref()),
            // a client that knows the length does not poll again
            Some(Ok(_)) if !call.awaits_trailers() && this.inner.is_end_stream() => call.complete(None),
            Some(Ok(_)) => *this.call = Some(call),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R: Default> Default for ClientBody<R> {
    fn default() -> Self {
        Self::new(R::default(), None)
    }
}

impl<R> fmt::Debug for ClientBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").field("call", &self.call).finish_non_exhaustive()
    }
}
