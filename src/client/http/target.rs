//! The server that a request is sent to, and the URL that is recorded. The functions have no side effects.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, Method, Uri, header};
use opentelemetry::{KeyValue, StringValue, Value};

use crate::record::{cut, known_method};

/// The address of the server that was set on the layer.
#[derive(Debug)]
struct ServerAddress {
    host: Arc<str>,
    port: u16,
}

/// The options of a layer about the server and the URL.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    server: Option<Arc<ServerAddress>>,
    /// Whether URLs are recorded without their path and query.
    pub(super) omits_path: bool,
}

impl Target {
    pub(super) fn set_server(&mut self, host: &str, port: u16) {
        self.server = Some(Arc::new(ServerAddress::new(host, port)));
    }

    /// Returns the name and the attributes of the span for an HTTP request to `url`.
    pub(super) fn http(&self, method: &Method, url: Option<String>) -> Described {
        let url = url.map(|url| if self.omits_path { origin(url) } else { url });
        http(method, url, self.server.as_deref())
    }

    /// Returns the name and the attributes of the span for a gRPC call.
    pub(super) fn grpc(&self, uri: &Uri, headers: &HeaderMap) -> Described {
        grpc(uri, headers, self.server.as_deref())
    }

    /// Returns the URL of a request, without user and password, or `None` if no host is known.
    pub(super) fn url(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        url(uri, headers, self.server.as_deref())
    }
}

/// Returns the scheme, host and port of a URL, followed by `/`.
fn origin(mut url: String) -> String {
    let authority = url.find("://").map_or(0, |scheme| scheme + 3);
    if let Some(end) = url[authority..].find(['/', '?', '#']) {
        url.truncate(authority + end);
    }
    url.push('/');
    url
}

impl ServerAddress {
    fn new(host: &str, port: u16) -> Self {
        Self { host: host.trim_start_matches('[').trim_end_matches(']').into(), port }
    }

    fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    fn attributes(&self) -> [KeyValue; 2] {
        let host = Value::String(StringValue::from(self.host.clone()));
        [KeyValue::new("server.address", host), KeyValue::new("server.port", i64::from(self.port))]
    }
}

/// Returns the name and the attributes of the span for an HTTP request.
///
/// The name is the method, such as `GET`. The exporter adds the host and the port.
fn http(method: &Method, url: Option<String>, server: Option<&ServerAddress>) -> Described {
    let method = method_name(method);
    let mut attributes = Vec::with_capacity(6);
    attributes.push(KeyValue::new("http.request.method", method.clone()));
    attributes.extend(url.map(|url| KeyValue::new("url.full", cut(url.into()))));
    attributes.extend(server.into_iter().flat_map(ServerAddress::attributes));
    (method, attributes)
}

/// The name and the attributes of a span.
pub(super) type Described = (Cow<'static, str>, Vec<KeyValue>);

/// Returns the name and the attributes of the span for a gRPC call.
fn grpc(uri: &Uri, headers: &HeaderMap, server: Option<&ServerAddress>) -> Described {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(KeyValue::new("rpc.system", "grpc"));
    let path = uri.path();
    if let Some((service, method)) = path.trim_start_matches('/').rsplit_once('/') {
        attributes.push(KeyValue::new("rpc.service", service.to_owned()));
        attributes.push(KeyValue::new("rpc.method", method.to_owned()));
    }
    match server {
        Some(server) => attributes.extend(server.attributes()),
        None => attributes.extend(address(uri, headers).into_iter().flatten()),
    }
    (cut(path.to_owned().into()), attributes)
}

/// Returns the host and port of the URI, otherwise of the `Host` header.
fn address(uri: &Uri, headers: &HeaderMap) -> Option<[KeyValue; 2]> {
    let authority = uri.authority().map(http::uri::Authority::as_str).or_else(|| host_header(headers))?;
    let (host, port) = match authority.parse::<http::uri::Authority>() {
        Ok(authority) => (authority.host().to_owned(), authority.port_u16()),
        Err(_) => return None,
    };
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some([KeyValue::new("server.address", host), KeyValue::new("server.port", i64::from(port.unwrap_or(default)))])
}

/// Returns the URL of a request, without user and password, or `None` if no host is known.
///
/// The host is that of the URI, otherwise that of the layer, otherwise that of the `Host` header.
fn url(uri: &Uri, headers: &HeaderMap, server: Option<&ServerAddress>) -> Option<String> {
    let authority = match (uri.authority(), server) {
        (Some(authority), _) => Cow::Borrowed(authority.as_str()),
        (None, Some(server)) => server.authority().into(),
        (None, None) => host_header(headers)?.into(),
    };
    let authority = authority.rsplit_once('@').map_or(&*authority, |(_, host)| host);
    let scheme = uri.scheme_str().unwrap_or(if authority.ends_with(":443") { "https" } else { "http" });
    let target = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    Some([scheme, "://", authority, target].concat())
}

fn host_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok().filter(|host| !host.is_empty())
}

/// Returns the method as a part of a name. A proxy may pass on a method that its client invented.
fn method_name(method: &Method) -> Cow<'static, str> {
    Cow::Borrowed(match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => return Cow::Owned(known_method(method).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])
    }

    #[test]
    fn url_has_the_first_known_host_and_no_credentials() {
        let server = ServerAddress::new("orders.internal", 8080);
        let tls = ServerAddress::new("::1", 443);
        for (uri, host, server, want) in [
            ("http://a.example/b?c=d", "h", Some(&server), Some("http://a.example/b?c=d")),
            ("https://ada:hunter2@a.example:8443/b", "", None, Some("https://a.example:8443/b")),
            ("https://ada:p@ss@a.example", "", None, Some("https://a.example/")),
            ("/b?c", "h.example:81", Some(&server), Some("http://orders.internal:8080/b?c")),
            ("/b", "h.example:81", None, Some("http://h.example:81/b")),
            ("/b", "ada:hunter2@h.example", None, Some("http://h.example/b")),
            ("/b", "h.example:443", None, Some("https://h.example:443/b")),
            ("/b", "", Some(&tls), Some("https://[::1]:443/b")),
            ("h.example:443", "", None, Some("https://h.example:443")),
            ("/b", "", None, None),
        ] {
            let uri = uri.parse::<Uri>().unwrap();
            assert_eq!(url(&uri, &headers(host), server).as_deref(), want, "{uri}");
        }
    }

    #[test]
    fn origin_has_no_path_and_no_query() {
        for (url, want) in [
            ("https://a.example:8443/v3/key?x=y", "https://a.example:8443/"),
            ("https://a.example?key=x", "https://a.example/"),
            ("https://[::1]:443#key", "https://[::1]:443/"),
            ("https://a.example", "https://a.example/"),
        ] {
            assert_eq!(origin(url.to_owned()), want);
        }
    }

    #[test]
    fn made_up_methods_share_one_name() {
        let name = |method: &str| method_name(&Method::from_bytes(method.as_bytes()).unwrap());
        assert_eq!(["GET", "PROPFIND", "X-17"].map(name), ["GET", "PROPFIND", "OTHER"]);
    }

    #[test]
    fn grpc_address_is_that_of_the_layer_or_of_the_uri() {
        let server = ServerAddress::new("orders.internal", 50051);
        for (uri, server, want) in [
            ("/shop.Market/Buy", None, "grpc shop.Market Buy"),
            ("/shop.Market/Buy", Some(&server), "grpc shop.Market Buy orders.internal 50051"),
            ("https://a.example/shop.Market/Buy", None, "grpc shop.Market Buy a.example 443"),
            ("http://[::1]:9000/shop.Market/Buy", None, "grpc shop.Market Buy ::1 9000"),
            ("/", None, "grpc  "),
        ] {
            let (name, attributes) = grpc(&uri.parse().unwrap(), &HeaderMap::new(), server);
            let values: Vec<_> = attributes.iter().map(|attribute| attribute.value.as_str()).collect();
            assert_eq!(values.join(" ").trim_end(), want.trim_end(), "{uri}");
            assert_eq!(name, uri.parse::<Uri>().unwrap().path());
        }
    }
}
