//! The body of a request, as it arrives.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

/// A body that takes longer than its time must arrive at this rate, in bytes per second.
pub(crate) const MIN_RATE: u32 = 64 * 1024;

/// A body that comes too slowly.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body arrives too slowly")]
pub(crate) struct TooSlow;

/// Reads on for a moment, so that a client that is still writing gets to see the answer and not a reset connection.
pub(crate) async fn drain(mut body: Body) {
    const MOMENT: Duration = Duration::from_secs(1);
    const ENOUGH: usize = 4 * 1024 * 1024;
    let rest = pin!(async {
        let mut read = 0;
        while let Some(Ok(bytes)) = next(&mut body).await {
            read += bytes.len();
            if read > ENOUGH {
                break;
            }
        }
    });
    let _ = tokio::time::timeout(MOMENT, rest).await;
}

pub(crate) async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    return Some(Ok(bytes));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

pin_project! {
    /// A body with a deadline that each byte extends: by a second for [`MIN_RATE`] of them.
    pub(crate) struct Timed<B> {
        #[pin]
        body: B,
        due: Instant,
        timer: Pin<Box<Sleep>>,
    }
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B, time: Duration) -> Self {
        let due = Instant::now() + time;
        Self { body, due, timer: Box::pin(tokio::time::sleep_until(due)) }
    }
}

impl<B> http_body::Body for Timed<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        match this.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    *this.due += Duration::from_secs(1) * u32::try_from(bytes.len()).unwrap_or(u32::MAX) / MIN_RATE;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(other) => Poll::Ready(other.map(|result| result.map_err(Into::into))),
            Poll::Pending => {
                if this.timer.deadline() != *this.due {
                    this.timer.as_mut().reset(*this.due);
                }
                this.timer.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// So many bytes each second.
    struct Trickle {
        bytes: usize,
        timer: tokio::time::Interval,
    }

    impl http_body::Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let bytes = self.bytes;
            self.timer.poll_tick(cx).map(|_| Some(Ok(Frame::data(vec![0; bytes].into()))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn body_timeout_ends_slow_bodies_only() {
        for (bytes, most) in [(1, 31), (MIN_RATE as usize / 2, 61), (MIN_RATE as usize, 1_000)] {
            let timer = tokio::time::interval(Duration::from_secs(1));
            let mut body = Body::new(Timed::new(Trickle { bytes, timer }, Duration::from_secs(30)));
            let mut seconds = 0;
            while seconds < 1_000 && next(&mut body).await.unwrap().is_ok() {
                seconds += 1;
            }
            assert!(seconds <= most && seconds >= most.min(1_000) - 2, "{bytes} bytes a second: {seconds} s");
        }
    }
}
