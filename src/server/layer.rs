//! The layer and what can be set on it.

use std::{borrow::Cow, error::Error, sync::Arc};

use http::{HeaderName, request, response};
use tower_layer::Layer;

use super::{ApmService, IntoErrorVerdict, hooks::Options};
use crate::transaction::{Recorder, Transaction};

/// The layer of the installed agent, for any router or service.
///
/// The agent is looked up when a request comes: the transaction that the request already has, else the agent that
/// [`AgentBuilder::install`](crate::AgentBuilder::install) set up, else the layer does nothing. So a module's
/// `fn router() -> Router` needs no argument, and under a test's own agent nothing changes.
///
/// ```
/// use axum::{Router, routing::get};
///
/// pub fn router() -> Router {
///     Router::new().route("/listings", get(async || "[]")).layer(tower_apm::layer().module("market"))
/// }
/// # let _ = router();
/// ```
#[must_use]
pub fn layer() -> ApmLayer {
    ApmLayer::new(None)
}

/// Records a transaction for each request; see [`layer`] and [`Agent::layer`](crate::Agent::layer).
///
/// It wraps an axum `Router` (`layer`, `route_layer`), a `MethodRouter`, a `ServiceBuilder` stack or any
/// `Service<http::Request<B>>`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApmLayer {
    options: Arc<Options>,
}

impl ApmLayer {
    pub(crate) fn new(recorder: Option<Arc<Recorder>>) -> Self {
        Self { options: Arc::new(Options { recorder, ..Options::default() }) }
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    /// Names the module that the routes belong to: the label `module`. The innermost layer's name stays.
    ///
    /// A request for which an axum router has no route is no module's, though axum gives it to the layers of the router
    /// that was put in last by `merge`.
    #[must_use]
    pub fn module(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|options| options.module = Some(name.into()))
    }

    /// Adds a hook that runs before the inner service is called.
    ///
    /// The hook must be quick. A panic in the hook is contained and counted. Spans that a hook enters are not recorded,
    /// and no hook runs for a request that a hook or filter makes.
    ///
    /// ```
    /// let layer = tower_apm::layer().on_request(|tx, parts| {
    ///     if let Some(chain) = parts.headers.get("x-chain").and_then(|value| value.to_str().ok()) {
    ///         tx.set_label("chain", chain);
    ///     }
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_request<F>(self, hook: F) -> Self
    where
        F: Fn(&Transaction, &request::Parts) + Send + Sync + 'static,
    {
        self.with(|options| options.on_request.push(Arc::new(hook)))
    }

    /// Runs when the head of the response is there; its extensions are a way for a handler to hand something over.
    ///
    /// ```
    /// #[derive(Clone, serde::Serialize)]
    /// struct Page {
    ///     size: usize,
    /// }
    ///
    /// let layer = tower_apm::layer().on_response(|tx, parts| {
    ///     if let Some(page) = parts.extensions.get::<Page>() {
    ///         tx.set_custom_context("page", page);
    ///     }
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_response<F>(self, hook: F) -> Self
    where
        F: Fn(&Transaction, &response::Parts) + Send + Sync + 'static,
    {
        self.with(|options| options.on_response.push(Arc::new(hook)))
    }

    /// Runs for an error that a response carries ([`ResponseExt::with_error`](crate::ResponseExt::with_error)), of
    /// whatever status, for an error of the service itself, and for a panic ([`Panicked`](crate::Panicked)).
    ///
    /// ```
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("out of stock")]
    /// struct OutOfStock;
    ///
    /// let layer = tower_apm::layer().on_error(|tx, error| {
    ///     if error.is::<OutOfStock>() {
    ///         tx.set_label("reason", "out of stock");
    ///     }
    /// });
    /// # let _ = layer;
    /// ```
    ///
    /// A hook may have the error left out by returning [`ErrorVerdict::Discard`](crate::ErrorVerdict::Discard): no
    /// error document is made of it in this request, and the outcome stays what the status says.
    ///
    /// ```
    /// use tower_apm::ErrorVerdict;
    ///
    /// let layer = tower_apm::layer().on_error(|_, error| {
    ///     if error.is::<std::io::Error>() { ErrorVerdict::Discard } else { ErrorVerdict::Record }
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_error<F, V>(self, hook: F) -> Self
    where
        F: Fn(&Transaction, &(dyn Error + 'static)) -> V + Send + Sync + 'static,
        V: IntoErrorVerdict,
    {
        let hook =
            move |transaction: &Transaction, error: &(dyn Error + 'static)| hook(transaction, error).into_verdict();
        self.with(|options| options.on_error.push(Arc::new(hook)))
    }

    /// Lets every response carry the trace id in this header, for a user to quote. Off by default; a name that no
    /// header can have leaves it off, with a warning.
    #[must_use]
    pub fn response_trace_id_header(self, name: &str) -> Self {
        let header = HeaderName::try_from(name);
        if header.is_err() {
            tracing::warn!(target: "tower_apm", name, "response_trace_id_header is off: it must be the name of a header");
        }
        self.with(|options| options.response_trace_id_header = header.ok())
    }

    /// States that the server itself terminates TLS, so that recorded URLs begin with `https`. Default: off.
    ///
    /// An HTTP/1.1 request does not contain its scheme. The agent uses the first of these sources that contains a scheme,
    /// and `http` if none does:
    ///
    /// 1. The headers of a proxy: `Forwarded`, `X-Forwarded-Proto`, `X-Forwarded-Protocol`, `X-Url-Scheme`,
    ///    `Front-End-Https` and `X-Forwarded-Ssl`.
    /// 2. This setting.
    /// 3. The request itself: an HTTP/2 request contains its scheme.
    ///
    /// The host is taken from `Forwarded` or `X-Forwarded-Host` (with `X-Forwarded-Port`), else from the target of the
    /// request (over HTTP/2 `:authority`), else from the `Host` header. Only the first element of a list is used. Invalid
    /// values are ignored. `capture_headers` has no influence on these rules.
    ///
    /// ```
    /// # let app = axum::Router::new();
    /// // axum-server, tokio-rustls, …
    /// let app = app.layer(tower_apm::layer().https());
    /// # let _: axum::Router = app;
    /// ```
    #[must_use]
    pub fn https(self) -> Self {
        self.with(|options| options.https = true)
    }

    /// Enables or disables the `tracing` span of each request: `request`, level INFO, target `tower_apm::request`.
    ///
    /// With the span, `tokio::spawn(work().in_current_span())` carries the transaction. A request then costs about 15 %
    /// more time on its thread. Layers of your subscriber that have no filter see the span: printers add it to each line,
    /// and layers of other vendors record their own span or transaction for it.
    ///
    /// Default: on with the subscribers of [`install`](crate::AgentBuilder::install), whose filter hides the span, and of
    /// the test kit. Off with every other subscriber. Without the span, use
    /// [`ApmFutureExt::in_current_transaction`](crate::ApmFutureExt::in_current_transaction) for spawned tasks: it works
    /// with any subscriber.
    #[must_use]
    pub fn request_span(self, on: bool) -> Self {
        self.with(|options| options.request_span = Some(on))
    }
}

impl<S> Layer<S> for ApmLayer {
    type Service = ApmService<S>;

    fn layer(&self, inner: S) -> ApmService<S> {
        ApmService::new(inner, self.options.clone())
    }
}
