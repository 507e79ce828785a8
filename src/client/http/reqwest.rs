//! Support for `reqwest::Client`, which has its own request and response types.

use std::{
    any::Any,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::reqwest::{Body, Client, Error, Request, RequestBuilder, Response, ResponseBuilderExt, Url};
use http_body::Body as _;
use tower_service::Service;

use super::{
    ClientBody, ClientError, ClientService,
    call::{self, Call, Protocol},
    future::fail,
    target::Target,
};
use crate::client::{ExitSpan, InExitSpan};

impl<S, K> Service<Request> for ClientService<S, K>
where
    S: Service<Request, Response = Response>,
    S::Error: ClientError<K>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ReqwestFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let span = start(&mut request, &self.target);
        let entered = span.as_ref().map(ExitSpan::enter);
        let future = self.inner.call(request);
        drop(entered);
        ReqwestFuture { call: InExitSpan::new(future, span), omits_path: self.target.omits_path, kind: PhantomData }
    }
}

/// Starts the exit span of a request and injects the trace headers.
pub(super) fn start(request: &mut Request, target: &Target) -> Option<ExitSpan> {
    let span = call::start_span(|| target.http(request.method(), Some(without_credentials(request.url()))));
    call::inject(span.as_ref(), request.headers_mut());
    span
}

/// Returns the URL without user, password and fragment.
fn without_credentials(url: &Url) -> String {
    let url = url.as_str();
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let user = authority.rfind('@').map_or(0, |at| at + 1);
    [scheme, "://", &rest[user..]].concat()
}

/// Records the response. The span ends with its body.
pub(super) fn finish<E: ClientError<K>, K>(
    span: Option<ExitSpan>,
    result: Result<Response, E>,
    omits_path: bool,
) -> Result<Response, E> {
    match (result, span) {
        (Ok(response), Some(span)) => Ok(respond(Call::new(span, Protocol::Http), response)),
        (Ok(response), None) => Ok(response),
        (Err(mut error), span) => {
            let whole = if omits_path { omit_path(&mut error) } else { None };
            fail(span, &error);
            if let (Some(whole), Some(url)) = (whole, url_of(&mut error)) {
                *url = whole;
            }
            Err(error)
        }
    }
}

/// Returns the URL in the message of an error.
fn url_of<E: ClientError<K>, K>(error: &mut E) -> Option<&mut Url> {
    let error: &mut dyn Any = error;
    #[cfg(feature = "reqwest-middleware")]
    if error.is::<::reqwest_middleware::Error>() {
        return match error.downcast_mut()? {
            ::reqwest_middleware::Error::Reqwest(error) => error.url_mut(),
            ::reqwest_middleware::Error::Middleware(_) => None,
        };
    }
    error.downcast_mut::<Error>()?.url_mut()
}

/// Removes the path and the query from the URL in the message of an error. Returns the whole URL.
fn omit_path<E: ClientError<K>, K>(error: &mut E) -> Option<Url> {
    let url = url_of(error)?;
    let whole = url.clone();
    url.set_path("");
    url.set_query(None);
    Some(whole)
}

fn respond(call: Call, response: Response) -> Response {
    if response.content_length() == Some(0) {
        call.head(response.status(), response.headers(), false);
        return response;
    }
    let url = response.url().clone();
    let (mut parts, body) = http::Response::<Body>::from(response).into_parts();
    let call = call.head(parts.status, &parts.headers, !body.is_end_stream());
    // a response that is created from an `http::Response` takes its URL from this extension
    if let Ok(response) = http::Response::builder().url(url).body(()) {
        parts.extensions.extend(response.into_parts().0.extensions);
    }
    http::Response::from_parts(parts, Body::wrap(ClientBody::new(body, call))).into()
}

pin_project_lite::pin_project! {
    /// The response future of [`ClientService`](crate::ClientService) for a `reqwest::Request`.
    ///
    /// A future that is dropped before the response has arrived is recorded as a call with the outcome `unknown`.
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub struct ReqwestFuture<F, K = ()> {
        #[pin]
        call: InExitSpan<F>,
        omits_path: bool,
        kind: PhantomData<fn() -> K>,
    }
}

impl<F, E, K> Future for ReqwestFuture<F, K>
where
    F: Future<Output = Result<Response, E>>,
    E: ClientError<K>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (span, result) = ready!(this.call.poll(cx));
        Poll::Ready(finish(span, result, *this.omits_path))
    }
}

impl<F, K> fmt::Debug for ReqwestFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Sends a request of `reqwest` with an exit span.
pub trait RequestBuilderExt {
    /// Sends the request like `send` and records an exit span. See [`client_layer`](crate::client_layer).
    ///
    /// The agent cannot observe `reqwest::RequestBuilder::send`. A request that cannot be built is returned as an error
    /// and is not recorded.
    ///
    /// ```
    /// use tower_apm::RequestBuilderExt;
    ///
    /// # async fn rates(client: &reqwest::Client) -> Result<(), reqwest::Error> {
    /// let rates = client.get("http://rates.example/v1/rates").send_with_span().await?.text().await?;
    /// # drop(rates);
    /// # Ok(())
    /// # }
    /// ```
    fn send_with_span(self) -> impl Future<Output = Result<Response, Error>> + Send;
}

impl RequestBuilderExt for RequestBuilder {
    async fn send_with_span(self) -> Result<Response, Error> {
        let (client, request): (Client, _) = self.build_split();
        let mut request = request?;
        let span = start(&mut request, &Target::default());
        let (span, result) = InExitSpan::new(client.execute(request), span).await;
        finish(span, result, false)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn url_has_no_credentials_and_no_fragment() {
        for (text, want) in [
            ("http://ada:hunter2@a.example:81/b?c=d#e", "http://a.example:81/b?c=d"),
            ("https://a.example", "https://a.example/"),
            ("http://a.example/b@c", "http://a.example/b@c"),
            ("http://[::1]:81/b", "http://[::1]:81/b"),
        ] {
            assert_eq!(super::without_credentials(&text.parse().unwrap()), want);
        }
    }
}
