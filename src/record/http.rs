//! The request and the response of an HTTP transaction.

use std::net::SocketAddr;

use http::{Method, Version};

use super::{Headers, ShortText};

/// What is kept of a request.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The client's connection is encrypted, as far as the server itself knows.
    pub(crate) https: bool,
    pub(crate) text: RequestText,
    /// The peer of the connection, not what a proxy claims.
    pub(crate) remote: Option<SocketAddr>,
    /// None when `capture_headers` is off, or the request is not sampled.
    pub(crate) headers: Option<Headers>,
    /// Without `headers`: those in which proxies report the scheme and the host that the client used.
    pub(crate) origin: Option<Box<Headers>>,
    pub(crate) body: Option<Box<Body>>,
}

/// What is kept of a response.
#[derive(Debug, Clone)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: Option<Headers>,
    /// The body reached its end.
    pub(crate) finished: bool,
}

/// The captured body of a request or a message: at most four bytes for each character that is sent.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// The media type without parameters, lower case.
    pub(crate) content_type: String,
    /// More came than was kept.
    pub(crate) truncated: bool,
}

/// Returns the media type of a `Content-Type` in lower case if it is text, JSON, XML, GraphQL or a form.
pub(crate) fn text_type(content_type: &str) -> Option<String> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            &*media_type,
            "application/json" | "application/xml" | "application/graphql" | "application/x-www-form-urlencoded"
        );
    is_text.then_some(media_type)
}

/// Path, query, host and route in one buffer: at most one allocation, and nothing that pins the connection's.
#[derive(Clone, Default)]
pub(crate) struct RequestText {
    text: ShortText,
    path: u32,
    query: Option<u32>,
    host: u32,
    route: Option<u32>,
}

impl RequestText {
    /// `path` may be percent-encoded as it came; `query` is without its `?`.
    pub(crate) fn new(path: &str, query: Option<&str>, host: &[u8], route: Option<&str>) -> Self {
        let length = path.len() + query.map_or(0, str::len) + host.len() + route.map_or(0, str::len);
        let mut text = ShortText::with_capacity(length);
        let mut push = |part: &str| {
            text.push_str(part);
            text.len() as u32
        };
        let path = push(path);
        let query = query.map(&mut push);
        let host = push(&super::text(host));
        let route = route.map(push);
        Self { text, path, query, host, route }
    }

    fn part(&self, from: u32, to: u32) -> &str {
        self.text.as_str().get(from as usize..to as usize).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &str {
        self.part(0, self.path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        Some(self.part(self.path, self.query?))
    }

    /// The authority of the request line or the `Host` header; empty when there was neither.
    pub(crate) fn host(&self) -> &str {
        self.part(self.query.unwrap_or(self.path), self.host)
    }

    pub(crate) fn route(&self) -> Option<&str> {
        Some(self.part(self.host, self.route?))
    }

    /// A later layer knows the route, or a better one.
    pub(crate) fn set_route(&mut self, route: &str) {
        self.text.truncate(self.host as usize);
        self.text.push_str(route);
        self.route = Some(self.text.len() as u32);
    }

    fn heap_size(&self) -> usize {
        self.text.heap_size()
    }
}

impl HttpRequest {
    pub(crate) fn heap_size(&self) -> usize {
        let headers = self.headers.as_ref().map_or(0, Headers::heap_size);
        let body = self.body.as_ref().map_or(0, |body| size_of::<Body>() + body.heap_size());
        let origin = self.origin.as_ref().map_or(0, |origin| size_of::<Headers>() + origin.heap_size());
        self.text.heap_size() + headers + origin + body
    }
}

impl Body {
    pub(super) fn heap_size(&self) -> usize {
        self.bytes.capacity() + self.content_type.capacity()
    }
}

impl HttpResponse {
    pub(crate) fn heap_size(&self) -> usize {
        self.headers.as_ref().map_or(0, Headers::heap_size)
    }
}

// Neither query nor body may reach a log line through `{:?}`.
impl std::fmt::Debug for RequestText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestText").field("route", &self.route()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("bytes", &self.bytes.len()).field("truncated", &self.truncated).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_of_text_json_xml_graphql_and_forms_are_known() {
        for (content_type, expected) in [
            ("application/json; charset=utf-8", Some("application/json")),
            ("Text/Plain", Some("text/plain")),
            ("application/problem+json", Some("application/problem+json")),
            ("application/x-www-form-urlencoded", Some("application/x-www-form-urlencoded")),
            ("text/json", Some("text/json")),
            ("application/xml", Some("application/xml")),
            ("application/soap+xml; charset=utf-8", Some("application/soap+xml")),
            ("application/graphql", Some("application/graphql")),
            ("application/octet-stream", None),
            ("image/png", None),
            ("multipart/form-data; boundary=x", None),
            ("", None),
        ] {
            assert_eq!(text_type(content_type).as_deref(), expected, "{content_type}");
        }
    }

    #[test]
    fn request_text_returns_its_parts_unchanged() {
        let text = RequestText::new("/a/1", Some("x=1"), b"host:1", Some("/a/{id}"));
        assert_eq!((text.path(), text.host()), ("/a/1", "host:1"));
        assert_eq!((text.query(), text.route()), (Some("x=1"), Some("/a/{id}")));
        let text = RequestText::new("/", None, b"", None);
        assert_eq!((text.query(), text.route(), text.host()), (None, None, ""));
        let text = RequestText::new("/", Some(""), b"\xff", None);
        assert_eq!((text.query(), text.host()), (Some(""), "\u{fffd}"));
    }

    #[test]
    fn route_can_be_replaced() {
        let mut text = RequestText::new("/a/1", None, b"h", None);
        text.set_route("/a/{id}/longer");
        text.set_route("/a/{id}");
        assert_eq!(text.route(), Some("/a/{id}"));
        let long = "/{segment}".repeat(30);
        text.set_route(&long);
        assert_eq!((text.path(), text.host(), text.route()), ("/a/1", "h", Some(&*long)));
        text.set_route("/a/{id}");
        assert_eq!((text.host(), text.route()), ("h", Some("/a/{id}")));
    }

    #[test]
    fn debug_shows_no_query() {
        let text = RequestText::new("/a", Some("token=hunter2"), b"h", Some("/a"));
        assert!(!format!("{text:?}").contains("hunter2"));
    }
}
