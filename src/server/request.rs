//! What is kept of a request when it comes in. Pure.

use std::any::TypeId;

use http::{HeaderMap, HeaderValue, Request, header, uri::Scheme};
use opentelemetry::baggage::KeyValueMetadata;

use crate::{
    config::Config,
    propagation::{self, Incoming},
    record::{Context, Headers, HttpRequest, RequestText, names_origin},
};

/// The headers of a request that the agent looks for.
///
/// One iteration over all headers is faster than a look-up of each of them, because most requests have only `host`.
pub(super) struct Noted<'a> {
    headers: &'a HeaderMap,
    host: Option<&'a HeaderValue>,
    /// True if a header contains the caller's trace context or baggage.
    has_trace: bool,
    /// True if a header of a proxy reports the scheme or the host that the client used.
    has_origin: bool,
}

impl<'a> Noted<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut noted = Self { headers, host: None, has_trace: false, has_origin: false };
        for (name, value) in headers {
            let name = name.as_str();
            // the first letter distinguishes most names from these
            match name.as_bytes() {
                b"host" => noted.host = noted.host.or(Some(value)),
                [b'b' | b'e' | b't', ..] => noted.has_trace |= propagation::is_read(name),
                [b'f' | b'x', ..] => noted.has_origin |= names_origin(name),
                _ => {}
            }
        }
        noted
    }

    /// Returns the caller's trace context and baggage.
    pub(super) fn trace(&self) -> (Option<Incoming>, Vec<KeyValueMetadata>) {
        if self.has_trace { propagation::extract(self.headers) } else { (None, Vec::new()) }
    }
}

/// Records the request of a transaction that begins. `https` is true if the server terminates TLS.
pub(super) fn tell<B: 'static>(
    request: &Request<B>,
    noted: &Noted<'_>,
    config: &Config,
    sampled: bool,
    https: bool,
    context: &mut Context,
) {
    let headers = noted.headers;
    let extensions = request.extensions();
    let uri = original_uri(extensions).unwrap_or(request.uri());
    // an absolute target and HTTP/2's `:authority` win over `Host` (RFC 9112, 3.2.2, and RFC 9113, 8.3.1)
    let host = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => noted.host.map_or(&b""[..], |host| host.as_bytes()),
    };
    // an error of an unsampled request can do without
    let captures_headers = config.capture_headers && sampled;
    let text = RequestText::new(uri.path(), uri.query(), host, route(extensions));
    context.framework = framework::<B>();
    context.request = Some(HttpRequest {
        method: request.method().clone(),
        version: request.version(),
        https: https || uri.scheme() == Some(&Scheme::HTTPS),
        text,
        remote: remote(extensions),
        headers: captures_headers.then(|| Headers::copy(headers)),
        origin: if noted.has_origin && !captures_headers { Headers::copy_origin(headers) } else { None },
        body: None,
    });
}

#[cfg(feature = "axum")]
mod axum_parts {
    use std::net::SocketAddr;

    use axum::extract::{ConnectInfo, MatchedPath, NestedPath, OriginalUri};
    use http::{Extensions, Uri};

    /// The template of the matched route, prefixes of `nest` included.
    pub(crate) fn route(extensions: &Extensions) -> Option<&str> {
        extensions.get::<MatchedPath>().map(MatchedPath::as_str)
    }

    /// The URI before `nest` stripped it.
    pub(crate) fn original_uri(extensions: &Extensions) -> Option<&Uri> {
        extensions.get::<OriginalUri>().map(|uri| &uri.0)
    }

    pub(crate) fn remote(extensions: &Extensions) -> Option<SocketAddr> {
        extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    }

    /// A router has looked at it and has no route. With `merge` its layers are around the fallback of all.
    pub(crate) fn is_nobodys(extensions: &Extensions) -> bool {
        let is_known = || route(extensions).is_some() || extensions.get::<NestedPath>().is_some();
        original_uri(extensions).is_some() && !is_known()
    }
}

#[cfg(not(feature = "axum"))]
mod axum_parts {
    use std::net::SocketAddr;

    use http::{Extensions, Uri};

    pub(crate) fn route(_: &Extensions) -> Option<&str> {
        None
    }

    pub(crate) fn original_uri(_: &Extensions) -> Option<&Uri> {
        None
    }

    pub(crate) fn remote(_: &Extensions) -> Option<SocketAddr> {
        None
    }

    pub(crate) fn is_nobodys(_: &Extensions) -> bool {
        false
    }
}

pub(super) use axum_parts::{is_nobodys, route};
use axum_parts::{original_uri, remote};

/// A request whose body is axum's is on its way through axum. Decided when the code is compiled.
fn framework<B: 'static>() -> Option<&'static str> {
    #[cfg(feature = "axum")]
    if TypeId::of::<B>() == TypeId::of::<axum_core::body::Body>() {
        return Some("axum");
    }
    let _ = TypeId::of::<B>();
    None
}

/// As the caller wrote it.
pub(super) fn path<B>(request: &Request<B>) -> &str {
    original_uri(request.extensions()).unwrap_or(request.uri()).path()
}

/// Whether a request makes no transaction, by its path or by its `User-Agent`.
pub(super) fn is_ignored<B>(request: &Request<B>, config: &Config) -> bool {
    let user_agent = || request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let (urls, user_agents) = (&config.transaction_ignore_urls, &config.transaction_ignore_user_agents);
    let by_url = || urls.iter().any(|pattern| pattern.matches(path(request)));
    let by_user_agent = || user_agent().is_some_and(|name| user_agents.iter().any(|pattern| pattern.matches(name)));
    !urls.is_empty() && by_url() || !user_agents.is_empty() && by_user_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_by_the_agent_are_noted() {
        let noted = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let noted = Noted::of(&headers);
            (noted.host.cloned(), noted.has_trace, noted.has_origin)
        };
        assert_eq!(noted(&[]), (None, false, false));
        assert_eq!(noted(&[("accept", "a"), ("x-request-id", "1"), ("tracestate", "a=b")]), (None, false, false));
        let first = Some(HeaderValue::from_static("first"));
        assert_eq!(noted(&[("host", "first"), ("accept", "a"), ("host", "second")]), (first, false, false));
        for name in ["traceparent", "elastic-apm-traceparent", "baggage"] {
            assert_eq!(noted(&[("accept", "a"), (name, "a")]), (None, true, false), "{name}");
        }
        assert_eq!(noted(&[("x-forwarded-proto", "https"), ("accept", "a")]), (None, false, true));
    }
}
