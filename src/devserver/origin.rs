//! Refuses requests from web pages of other origins.
//!
//! Any web page that the user opens can send requests to this server. Such requests are detected in two ways: browsers send
//! `Origin` or `Sec-Fetch-Site`, which agents never send, and a page whose host name points to this server (DNS rebinding)
//! sends that name in `Host`.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderMap, HeaderName, Method, StatusCode, Version,
    header::{HOST, ORIGIN},
    request::Parts,
    uri::Authority,
};
use tonic::Status;

use super::{body::drain, media, otlp::grpc_refusal, reply, server::Shared};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

const UNKNOWN_HOST: &str = "Host: unknown host name; \
                            allow it with DevServerBuilder::allow_host or `--allow-host NAME`";
const FOREIGN_PAGE: &str = "Origin: requests from pages of another origin are refused";

/// The host names that are accepted in `Host`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// Other machines reach the server, by any of its addresses.
    pub(crate) remote: bool,
    /// Further names, without a port.
    pub(crate) allowed: Vec<String>,
}

/// Refuses requests from pages of other origins, on every route.
pub(crate) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Err(message) = shared.hosts.check(&parts) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    if parts.version == Version::HTTP_2 {
        return if media::is_grpc(&parts.headers) {
            grpc_refusal(Status::permission_denied(message))
        } else {
            reply::error(&parts.headers, StatusCode::FORBIDDEN, message)
        };
    }
    drain(body).await;
    reply::closing(reply::json(StatusCode::FORBIDDEN, &serde_json::json!({ "error": message })))
}

impl Hosts {
    /// Returns an error message if the request is refused.
    fn check(&self, Parts { method, uri, headers, .. }: &Parts) -> Result<(), &'static str> {
        // HTTP/1.0, which no browser speaks, has no `Host`
        let mut hosts = Vec::new();
        for host in headers.get_all(HOST) {
            hosts.push(authority(host.to_str().ok()).ok_or(UNKNOWN_HOST)?);
        }
        hosts.extend(uri.authority().cloned());
        if !hosts.iter().all(|host| self.is_known(host)) {
            return Err(UNKNOWN_HOST);
        }
        let is_own = |origin: &str| {
            let (scheme, origin) = origin.split_once("://").unwrap_or_default();
            let default_port = match scheme {
                "http" => 80,
                "https" => 443,
                _ => return false,
            };
            authority(Some(origin)).is_some_and(|origin| {
                let is_same = |host: &Authority| {
                    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
                    host.host().eq_ignore_ascii_case(origin.host()) && port(host) == port(&origin)
                };
                !hosts.is_empty() && hosts.iter().all(is_same)
            })
        };
        if !all(headers, ORIGIN, is_own) {
            return Err(FOREIGN_PAGE);
        }
        // `none`: the user typed the address; another page of this machine is `same-site`
        let is_own = |site: &str| matches!(site, "same-origin" | "none");
        if !all(headers, SEC_FETCH_SITE, is_own) && !is_link_to_page(method, uri.path(), headers) {
            return Err(FOREIGN_PAGE);
        }
        Ok(())
    }

    /// Names that cannot be registered in public DNS: addresses, `localhost`, names without a dot, `.internal` (`host.docker.internal`).
    fn is_known(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = address.parse::<IpAddr>() {
            return self.remote || address.to_canonical().is_loopback();
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        // a number is an address in another spelling
        let is_name = host.starts_with(|first: char| first.is_ascii_alphabetic()) && !host.starts_with("0x");
        let is_reserved = !host.contains('.') || host.ends_with(".localhost") || host.ends_with(".internal");
        is_name && is_reserved || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host))
    }
}

/// A host with or without a port, and nothing else.
fn authority(text: Option<&str>) -> Option<Authority> {
    let authority = text?.parse::<Authority>().ok()?;
    // what is before an `@` is no part of any host
    (!authority.as_str().contains('@') && !authority.host().is_empty()).then_some(authority)
}

fn all(headers: &HeaderMap, name: HeaderName, is_allowed: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(&is_allowed))
}

/// A followed link to the web page is allowed: opening the page changes nothing, and the page cannot be framed.
fn is_link_to_page(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let is = |name, wanted| headers.get(name).is_some_and(|value| value.as_bytes() == wanted);
    *method == Method::GET
        && matches!(path, "/" | "/ui")
        && is(SEC_FETCH_MODE, &b"navigate"[..])
        && is(SEC_FETCH_DEST, &b"document"[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(hosts: &Hosts, host: &str) -> bool {
        authority(Some(host)).is_some_and(|host| hosts.is_known(&host))
    }

    #[test]
    fn only_unregistrable_host_names_are_allowed_by_default() {
        let local = Hosts::default();
        let remote = Hosts { remote: true, allowed: vec!["apm.example".into()] };
        for host in [
            "localhost",
            "LocalHost:8200",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8200",
            "[::ffff:127.0.0.1]",
            "devserver:8200",
            "host.docker.internal",
            "shop.localhost",
        ] {
            assert!(is_known(&local, host) && is_known(&remote, host), "{host}");
        }
        for host in ["192.168.1.2:8200", "[fe80::1]", "0.0.0.0", "apm.example", "APM.example:80"] {
            assert!(!is_known(&local, host) && is_known(&remote, host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:8200",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "localhost:8200/x",
            "2130706433",
            "0x7f000001",
            "apm.example.evil.example",
            "evil.example.",
        ] {
            assert!(!is_known(&local, host) && !is_known(&remote, host), "{host}");
        }
    }

    fn check(line: (&str, &str), headers: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut request = http::Request::builder().method(line.0).uri(line.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Hosts::default().check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn requests_of_other_origins_are_refused() {
        let get = ("GET", "/api/events");
        let host = ("host", "localhost:8200");
        for (headers, is_allowed) in [
            (&[host][..], true),
            (&[host, ("origin", "http://localhost:8200")], true),
            (&[("host", "localhost"), ("origin", "http://localhost")], true),
            (&[("host", "localhost"), ("origin", "https://localhost:443")], true),
            (&[host, ("origin", "http://localhost:3000")], false),
            (&[host, ("origin", "http://localhost")], false),
            (&[host, ("origin", "http://127.0.0.1:8200")], false),
            (&[host, ("origin", "https://evil.example")], false),
            (&[host, ("origin", "null")], false),
            (&[host, ("origin", "")], false),
            (&[host, ("origin", "file://")], false),
            (&[host, ("origin", "http://localhost:8200"), ("origin", "https://evil.example")], false),
            (&[("origin", "http://localhost:8200")], false),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "none")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host, ("host", "evil.example")], false),
        ] {
            assert_eq!(check(get, headers).is_ok(), is_allowed, "{headers:?}");
        }
        assert!(
            check(("GET", "http://evil.example/api/events"), &[host]).is_err(),
            "the absolute form names a host too"
        );
    }

    #[test]
    fn links_from_other_origins_open_only_the_page() {
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(check(("GET", "/ui"), &link).is_ok() && check(("GET", "/"), &link).is_ok());
        assert!(check(("POST", "/"), &link).is_err() && check(("GET", "/api/events"), &link).is_err());
        assert!(check(("GET", "/ui"), &link[..3]).is_err(), "a frame");
    }
}
