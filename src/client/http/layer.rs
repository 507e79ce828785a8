//! The layer for clients, and its options.

use std::{fmt, marker::PhantomData};

use tower_layer::Layer;

use super::{ClientService, target::Target};

/// Returns a tower layer that records an exit span for each outgoing HTTP request and gRPC call.
///
/// The layer wraps any client that is a `Service<http::Request<B>>`, such as the client of `hyper-util`, a `Channel` of
/// `tonic`, or a stack of `ServiceBuilder`. With the feature `reqwest` it wraps `reqwest::Client` too.
///
/// ```
/// use http::Request;
/// use http_body_util::Empty;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # async fn rates() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
/// let mut client = ServiceBuilder::new().layer(tower_apm::client_layer()).service(client);
///
/// // in a request: the span `GET rates.example`, and a `traceparent` header
/// let request = Request::get("http://rates.example/v1/rates").body(Empty::new())?;
/// let response = client.ready().await?.call(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// # What is recorded
///
/// | | HTTP | gRPC (content type `application/grpc`) |
/// |---|---|---|
/// | name | `GET host:port`, without the scheme's default port | `/package.Service/Method` |
/// | type, subtype | `external`, `http` | `external`, `grpc` |
/// | destination, service target | host and port of the URI, otherwise of the `Host` header | as HTTP |
/// | other fields | method, status, URL without secrets (see [`omit_url_path`](ClientLayer::omit_url_path)) | |
/// | outcome | `failure` for status 400 and above | `success` only for status `OK` |
///
/// The span starts with the request and ends with the response body: at its end, at its error, or when it is dropped. A
/// body that is dropped early does not change the outcome of an HTTP request. A gRPC call whose body is dropped before
/// the status arrives has the outcome `unknown`. If the future of a request is dropped before the response arrives, the
/// request is cancelled and has the outcome `unknown`.
///
/// An error of the client or of the body is recorded with its causes, and the outcome is `failure`.
///
/// Nothing is recorded outside of a transaction. The trace headers (`traceparent`, `tracestate`, `baggage`) are
/// injected whenever there is a trace, including unsampled transactions and ignored requests.
///
/// # The order of layers
///
/// To get one span for each attempt, put the layer below layers that retry requests, such as tower's `retry`. To get
/// one span for all attempts, put it above them. A timeout above the layer drops the request, which is recorded as
/// cancelled. A timeout below the layer is an error of the client, which is recorded with the outcome `failure`.
///
/// Redirects that the client follows on its own are part of one span, with the status of the last response.
#[must_use]
pub fn client_layer<K>() -> ClientLayer<K> {
    ClientLayer { target: Target::default(), kind: PhantomData }
}

/// Records an exit span for each outgoing request. See [`client_layer`].
///
/// The layer is cheap to clone.
///
/// `K` is inferred. See [`ClientError`](super::ClientError).
pub struct ClientLayer<K = ()> {
    pub(super) target: Target,
    kind: PhantomData<fn() -> K>,
}

impl<K> ClientLayer<K> {
    /// Sets the address of the server. Spans record it as their destination instead of the request's address.
    ///
    /// Default: the host and port of the request's URI, otherwise of its `Host` header. Requests that pass a layer on
    /// top of a `tonic` channel contain neither, because the channel adds them later.
    ///
    /// ```
    /// use tonic::transport::Endpoint;
    /// use tower::ServiceBuilder;
    /// use tower_apm::ClientService;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let channel = Endpoint::from_static("http://orders.internal:50051").connect_lazy();
    /// let channel: ClientService<_> = ServiceBuilder::new()
    ///     .layer(tower_apm::client_layer().server_address("orders.internal", 50051))
    ///     .service(channel);
    /// # let _ = channel;
    /// # }
    /// ```
    #[must_use]
    pub fn server_address(mut self, host: &str, port: u16) -> Self {
        self.target.set_server(host, port);
        self
    }

    /// Records URLs without their path and query: `https://node.example/` instead of `https://node.example/v3/KEY`.
    ///
    /// Use this option for services whose key is a part of the path. The path is also removed from the messages of
    /// recorded [`reqwest::Error`](https://docs.rs/reqwest)s. The error that the caller gets still contains the path.
    /// The span name of a gRPC call is its path and does not change.
    ///
    /// Default: the whole URL is recorded, with the values of sensitive query parameters redacted.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    ///
    /// # fn node<S>(client: S) -> tower_apm::ClientService<S> {
    /// let node = ServiceBuilder::new().layer(tower_apm::client_layer().omit_url_path()).service(client);
    /// # node
    /// # }
    /// ```
    #[must_use]
    pub fn omit_url_path(mut self) -> Self {
        self.target.omits_path = true;
        self
    }
}

impl<S, K> Layer<S> for ClientLayer<K> {
    type Service = ClientService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService::new(inner, self.target.clone())
    }
}

impl<K> Clone for ClientLayer<K> {
    fn clone(&self) -> Self {
        Self { target: self.target.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for ClientLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("target", &self.target).finish()
    }
}
