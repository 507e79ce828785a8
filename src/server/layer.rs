//! The layer and what can be set on it.

use std::{borrow::Cow, error::Error, sync::Arc};

use http::{HeaderName, request, response};
use tower_layer::Layer;

use super::{ApmService, IntoErrorVerdict, hooks::Options};
use crate::transaction::{Recorder, Transaction};

/// Returns the layer of the installed agent, for any router or service.
///
/// The layer looks up the agent for each request. If the request already has a transaction, the layer uses the agent of that
/// transaction. Otherwise, it uses the agent of [`AgentBuilder::install`](crate::AgentBuilder::install). If no agent is
/// installed, the layer does nothing. A module's `fn router() -> Router` therefore needs no argument, also in tests.
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

/// Records a transaction for each request. See [`layer`] and [`Agent::layer`](crate::Agent::layer).
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

    /// Sets the label `module` of all requests. If several layers set a module, the name of the innermost layer is used.
    ///
    /// Requests that match no route of an axum router get no `module` label, although axum passes them to the layers of the
    /// router that was merged last.
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

    /// Adds a hook that runs when the response head is complete.
    ///
    /// A handler can pass data to the hook in the extensions of the response.
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

    /// Adds a hook that runs for errors.
    ///
    /// The hook is called for an error that is attached to a response
    /// ([`ResponseExt::with_error`](crate::ResponseExt::with_error)) of any status, for an error of the service itself, and
    /// for a panic ([`Panicked`](crate::Panicked)).
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
    /// If the hook returns [`ErrorVerdict::Discard`](crate::ErrorVerdict::Discard), no error document is sent for the error
    /// in this request. The outcome still depends on the status.
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

    /// Adds the trace id to every response, in the given header. A user can send the trace id to your support team.
    ///
    /// By default, no header is added. If `name` is not a valid header name, no header is added, and a warning is logged.
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
