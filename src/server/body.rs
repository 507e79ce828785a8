//! The response body: its end is the transaction's.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{self, Poll, ready},
};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context;
use tracing::Span;

use super::{guard::Ending, ignored::RequestContext, response_error::with_error_of};
use crate::otel::{enter, enter_own, otel_context};

pin_project_lite::pin_project! {
    /// The body of a response that passed [`ApmService`](super::ApmService). Frames, trailers, size hint and end of
    /// stream are the inner body's.
    pub struct ResponseBody<B> {
        // None: it was dropped as a part of the transaction
        #[pin]
        inner: Option<B>,
        watch: Option<Watch>,
        // the body of an ignored request, or of an event stream
        context: Option<Box<RequestContext>>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let dropped = match (&*this.watch, &*this.context) {
                (Some(watch), _) => watch.drop_within(|| this.inner.set(None)),
                (None, Some(context)) => {
                    let _entered = context.enter();
                    context.within(|| this.inner.set(None))
                }
                (None, None) => return,
            };
            if let Err(panic) = dropped {
                if let Some(watch) = this.watch.take() {
                    watch.ending.panicked(&*panic);
                } else if let Some(context) = this.context {
                    context.panicked(&*panic);
                }
                resume_unwind(panic);
            }
        }
    }
}

struct Watch {
    ending: Ending,
    /// Bytes still to come, where the head or the size hint promised a number: a server stops polling after the last.
    left: Option<u64>,
    /// For a body that is made while it is sent, and may have spans of its own.
    live: Option<Live>,
}

struct Live {
    context: Context,
    span: Span,
}

impl<B> ResponseBody<B> {
    pub(super) fn untouched(inner: B) -> Self {
        Self { inner: Some(inner), watch: None, context: None }
    }

    /// Wraps the streamed body of a request that is ignored, or of a request whose transaction has ended.
    pub(super) fn in_context(inner: B, context: RequestContext) -> Self {
        Self { inner: Some(inner), watch: None, context: Some(Box::new(context)) }
    }

    pub(super) fn wrap_untouched(response: Response<B>) -> Response<Self> {
        response.map(Self::untouched)
    }

    /// A body of known size is usually there already: no need to carry the context along. Dropped before it is polled, by
    /// a middleware that puts another one in its place or by a test that looks at the head only, it counts as delivered;
    /// a server polls at once.
    pub(super) fn known(inner: B, mut ending: Ending, size: u64) -> Self {
        ending.set_handed_out(true);
        Self { inner: Some(inner), watch: Some(Watch { ending, left: Some(size), live: None }), context: None }
    }

    /// A body that is made while it is sent.
    pub(super) fn live(inner: B, ending: Ending, promised: Option<u64>, context: Context, span: Span) -> Self {
        ending.body_follows();
        let watch = Watch { ending, left: promised, live: Some(Live { context, span }) };
        Self { inner: Some(inner), watch: Some(watch), context: None }
    }
}

impl Watch {
    fn within<T>(&self, poll: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
        match self.ending.transaction().shared().zip(self.live.as_ref()) {
            Some((shared, Live { context, span })) => {
                let _entered = enter(shared, context);
                enter_own(span, || catch_unwind(AssertUnwindSafe(poll)))
            }
            None => catch_unwind(AssertUnwindSafe(poll)),
        }
    }

    /// Drops what is left of a body that was not read to its end: as a part of the transaction, whatever the body is.
    fn drop_within(&self, drop: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
        if self.live.is_some() {
            return self.within(drop);
        }
        let entered = self.ending.transaction().shared().map(|shared| enter(shared, &otel_context(shared)));
        let dropped = catch_unwind(AssertUnwindSafe(drop));
        std::mem::drop(entered);
        dropped
    }

    /// True when this was the last frame that the server will ask for.
    fn delivered(&mut self, bytes: usize) -> bool {
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(bytes as u64);
                *left == 0
            }
            None => false,
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: fmt::Display + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        if let Some(context) = this.context {
            let _entered = context.enter();
            return match context.within(|| inner.poll_frame(cx)) {
                Ok(polled) => {
                    if let Poll::Ready(Some(Err(error))) = &polled {
                        context.body_failed(error);
                    }
                    polled
                }
                Err(panic) => {
                    context.panicked(&*panic);
                    resume_unwind(panic)
                }
            };
        }
        let Some(watch) = this.watch else { return inner.poll_frame(cx) };
        watch.ending.set_handed_out(false);
        let mut polled = watch.within(|| inner.as_mut().poll_frame(cx));
        if let (Ok(Poll::Ready(None | Some(Err(_)))), Some(_)) = (&polled, &watch.live)
            && let Err(panic) = watch.within(|| this.inner.set(None))
        {
            // at its end: what the body still holds is dropped as a part of the transaction
            polled = Err(panic);
        }
        let frame = match polled {
            Ok(poll) => ready!(poll),
            Err(panic) => {
                if let Some(watch) = this.watch.take() {
                    watch.ending.panicked(&*panic);
                }
                resume_unwind(panic)
            }
        };
        let is_over = match &frame {
            None => true,
            Some(Err(error)) => {
                if let Some(watch) = this.watch.take() {
                    if let Some(shared) = watch.ending.transaction().shared() {
                        with_error_of(error, shared.recorder(), |_, mut exception| {
                            exception.handled = false;
                            watch.ending.error(exception);
                        });
                    }
                    watch.ending.failed();
                }
                false
            }
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    watch.ending.trailers(trailers);
                }
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                watch.delivered(bytes) || this.inner.as_ref().get_ref().as_ref().is_none_or(Body::is_end_stream)
            }
        };
        if is_over && let Some(watch) = this.watch.take() {
            watch.ending.complete(true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::untouched(B::default())
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("watched", &self.watch.is_some()).finish_non_exhaustive()
    }
}
