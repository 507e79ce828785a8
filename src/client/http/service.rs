//! The service that handles outgoing requests.

use std::{
    fmt,
    marker::PhantomData,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{ClientError, ClientFuture, call, target::Target};
use crate::client::ExitSpan;

/// A client that is wrapped by a [`ClientLayer`](super::ClientLayer).
///
/// `K` is inferred. See [`ClientError`]. To name the type of a service with boxed errors, write
/// `ClientService<S, Box<dyn Error + Send + Sync>>`.
pub struct ClientService<S, K = ()> {
    pub(super) inner: S,
    pub(super) target: Target,
    kind: PhantomData<fn() -> K>,
}

impl<S, K> ClientService<S, K> {
    pub(super) fn new(inner: S, target: Target) -> Self {
        Self { inner, target, kind: PhantomData }
    }

    /// Returns a reference to the client.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the client.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the client without the layer.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R, K> Service<Request<B>> for ClientService<S, K>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: ClientError<K>,
    R: Body,
{
    type Response = Response<super::ClientBody<R>>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (span, protocol) = call::start(&mut request, &self.target);
        let entered = span.as_ref().map(ExitSpan::enter);
        let future = self.inner.call(request);
        drop(entered);
        ClientFuture::new(future, span, protocol)
    }
}

impl<S: Clone, K> Clone for ClientService<S, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.target.clone())
    }
}

impl<S: fmt::Debug, K> fmt::Debug for ClientService<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService").field("inner", &self.inner).field("target", &self.target).finish()
    }
}
