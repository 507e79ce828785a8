//! Connects to a server: directly, or through the proxy that the environment names.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Uri, uri::Scheme};
use hyper_rustls::HttpsConnector;
use hyper_util::client::{
    legacy::connect::{HttpConnector, proxy::Tunnel},
    proxy::matcher::{Intercept, Matcher},
};
use rustls::ClientConfig;
use tower_service::Service;

use super::{stream::Stream, tls::Tls};

/// A dead peer is noticed between two requests.
const KEEPALIVE: Duration = Duration::from_secs(15);

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// The version of HTTP that is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    Http1,
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "only gRPC uses HTTP/2"))]
    Http2,
}

impl HttpVersion {
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// The proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case. As
/// with curl, `HTTP_PROXY` is ignored in a CGI process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Proxies {
    matcher: Option<Arc<Matcher>>,
}

impl Proxies {
    pub(crate) fn from_env() -> Self {
        Self { matcher: Some(Arc::new(Matcher::from_env())) }
    }

    pub(crate) fn none() -> Self {
        Self { matcher: None }
    }

    #[cfg(test)]
    pub(super) fn matching(matcher: Matcher) -> Self {
        Self { matcher: Some(Arc::new(matcher)) }
    }

    fn of(&self, url: &Uri) -> Option<Intercept> {
        self.matcher.as_ref()?.intercept(url)
    }

    /// Returns the credentials that each request to this URL carries for a proxy. Requests in a tunnel carry none: the
    /// tunnel's own request does.
    pub(super) fn authorization(&self, url: &Uri) -> Option<HeaderValue> {
        let is_forwarded = url.scheme() == Some(&Scheme::HTTP);
        self.of(url).filter(|_| is_forwarded)?.basic_auth().cloned()
    }
}

/// Makes connections within a time limit. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    proxies: Proxies,
    tls: Tls,
    version: HttpVersion,
    limit: Duration,
}

impl Connector {
    /// `limit` is the longest that a connection may take, from the name's resolution to the end of the TLS handshake.
    pub(crate) fn new(proxies: Proxies, tls: Tls, version: HttpVersion, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_connect_timeout(Some(limit));
        Self { tcp, proxies, tls, version, limit }
    }

    async fn connect(self, url: Uri) -> Result<Stream, BoxError> {
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        match tokio::time::timeout(self.limit, self.establish(&url)).await {
            Ok(connected) => connected,
            Err(_) if is_https && !Tls::has_provider() => Err(BoxError::from("there is no TLS provider")),
            Err(_) => Err(format!("no connection within {:?}", self.limit).into()),
        }
    }

    async fn establish(&self, url: &Uri) -> Result<Stream, BoxError> {
        match self.proxies.of(url) {
            None => self.hop(url, self.version).await?.call(url.clone()).await,
            Some(proxy) => self.through(&proxy, url).await.map_err(|source| {
                let proxy = proxy.uri().clone();
                ProxyError { proxy, source }.into()
            }),
        }
    }

    /// Plain HTTP/1 is forwarded by the proxy. All else goes through a tunnel.
    async fn through(&self, proxy: &Intercept, url: &Uri) -> Result<Stream, BoxError> {
        let address = proxy.uri();
        if !matches!(address.scheme_str(), Some("http" | "https")) {
            return Err("only http and https proxies are supported".into());
        }
        let mut hop = self.hop(address, HttpVersion::Http1).await?;
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        if !is_https && self.version == HttpVersion::Http1 {
            return Ok(hop.call(address.clone()).await?.forwarded());
        }
        let mut tunnel = Tunnel::new(address.clone(), hop);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        if !is_https {
            return Ok(tunnel.call(with_port(url)?).await?);
        }
        let tls = self.config(self.version).await?;
        Ok(Stream::new(HttpsConnector::from((tunnel, tls)).call(url.clone()).await?))
    }

    /// Prepares a connection without a proxy.
    async fn hop(&self, url: &Uri, version: HttpVersion) -> Result<Hop, BoxError> {
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        let tls = if is_https { Some(self.config(version).await?) } else { None };
        Ok(Hop { tcp: self.tcp.clone(), tls })
    }

    async fn config(&self, version: HttpVersion) -> Result<Arc<ClientConfig>, BoxError> {
        let mut config = self.tls.config().await?;
        if version != self.version {
            Arc::make_mut(&mut config).alpn_protocols = vec![version.alpn().to_vec()];
        }
        Ok(config)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Connecting {
        Box::pin(self.clone().connect(url))
    }
}

/// A connection to the server, or to the proxy: TCP, and TLS where the URL is https.
#[derive(Clone)]
struct Hop {
    tcp: HttpConnector,
    tls: Option<Arc<ClientConfig>>,
}

impl Service<Uri> for Hop {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Connecting {
        let Self { mut tcp, tls } = self.clone();
        Box::pin(async move {
            Ok(match tls {
                Some(tls) => Stream::new(HttpsConnector::from((tcp, tls)).call(url).await?),
                None => Stream::new(tcp.call(url).await?),
            })
        })
    }
}

/// A tunnel assumes port 443 where the URL has none.
fn with_port(url: &Uri) -> Result<Uri, http::Error> {
    let (Some(host), None) = (url.host(), url.port()) else { return Ok(url.clone()) };
    Uri::builder().scheme(Scheme::HTTP).authority(format!("{host}:80")).path_and_query("/").build()
}

/// Names the proxy that a connection failed at.
#[derive(Debug)]
struct ProxyError {
    /// Without credentials.
    proxy: Uri,
    source: BoxError,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "through the proxy {}", self.proxy)
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
