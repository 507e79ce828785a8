//! The response future of the client service.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;

use super::{
    ClientBody, ClientError,
    call::{Call, Protocol},
};
use crate::client::{ExitSpan, InExitSpan, record_failure};

pin_project_lite::pin_project! {
    /// The response future of [`ClientService`](super::ClientService) for an `http::Request`.
    ///
    /// A future that is dropped before the response has arrived is recorded as a call with the outcome `unknown`.
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub struct ClientFuture<F, K = ()> {
        #[pin]
        call: InExitSpan<F>,
        protocol: Protocol,
        kind: PhantomData<fn() -> K>,
    }
}

impl<F, K> ClientFuture<F, K> {
    pub(super) fn new(call: F, span: Option<ExitSpan>, protocol: Protocol) -> Self {
        Self { call: InExitSpan::new(call, span), protocol, kind: PhantomData }
    }
}

impl<F, R, E, K> Future for ClientFuture<F, K>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
    E: ClientError<K>,
{
    type Output = Result<Response<ClientBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (span, result) = ready!(this.call.poll(cx));
        let protocol = *this.protocol;
        Poll::Ready(match (result, span) {
            (Ok(response), Some(span)) => Ok(respond(Call::new(span, protocol), response)),
            (Ok(response), None) => Ok(response.map(|body| ClientBody::new(body, None))),
            (Err(error), span) => {
                fail(span, &error);
                Err(error)
            }
        })
    }
}

/// Records the error of the client and ends the span.
pub(super) fn fail<E: ClientError<K>, K>(span: Option<ExitSpan>, error: &E) {
    record_failure(span.as_ref(), error.as_error());
    if let Some(span) = span {
        span.end();
    }
}

fn respond<R: Body>(call: Call, response: Response<R>) -> Response<ClientBody<R>> {
    let call = call.head(response.status(), response.headers(), !response.body().is_end_stream());
    response.map(|body| ClientBody::new(body, call))
}

impl<F, K> fmt::Debug for ClientFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").field("call", &self.call).finish_non_exhaustive()
    }
}
