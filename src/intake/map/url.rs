//! The URL of a request as the client wrote it: parts, and the whole put together again.

use std::borrow::Cow;

use super::truncate::{joined, keyword};
use crate::{
    intake::model::{Text, Url},
    record::HttpRequest,
    sanitize::Sanitizer,
};

/// What proxies say of the scheme and host that the client asked for. `Forwarded` wins, then `X-Forwarded-*`.
#[derive(Default)]
pub(super) struct Origin {
    host: Option<(u8, String)>,
    scheme: Option<(u8, &'static str)>,
}

impl Origin {
    pub(super) fn header(&mut self, name: &str, value: &str) {
        let first = || value.split(',').next().unwrap_or_default().trim();
        match name {
            "forwarded" => {
                for pair in first().split(';') {
                    let Some((key, value)) = pair.split_once('=') else { continue };
                    let value = value.trim().trim_matches('"');
                    match key.trim() {
                        key if key.eq_ignore_ascii_case("host") => self.host(0, value),
                        key if key.eq_ignore_ascii_case("proto") => self.scheme(0, value),
                        _ => {}
                    }
                }
            }
            "x-forwarded-host" => self.host(1, first()),
            "x-forwarded-proto" => self.scheme(1, first()),
            "x-forwarded-protocol" => self.scheme(2, first()),
            "x-url-scheme" => self.scheme(3, first()),
            "front-end-https" if value.eq_ignore_ascii_case("on") => self.scheme(4, "https"),
            "x-forwarded-ssl" if value.eq_ignore_ascii_case("on") => self.scheme(5, "https"),
            _ => {}
        }
    }

    fn host(&mut self, rank: u8, host: &str) {
        if !host.is_empty() && self.host.as_ref().is_none_or(|(present, _)| rank < *present) {
            self.host = Some((rank, host.to_owned()));
        }
    }

    fn scheme(&mut self, rank: u8, scheme: &str) {
        let known = ["https", "http", "wss", "ws"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme));
        if let Some(known) = known
            && self.scheme.is_none_or(|(present, _)| rank < present)
        {
            self.scheme = Some((rank, known));
        }
    }
}

pub(super) fn url<'a>(request: &'a HttpRequest, origin: &Origin, sanitizer: &Sanitizer) -> Url<'a> {
    let protocol = origin.scheme.map_or(if request.https { "https" } else { "http" }, |(_, scheme)| scheme);
    let host = match &origin.host {
        Some((_, host)) => Cow::Owned(host.clone()),
        None => Cow::Borrowed(request.text.host()),
    };
    let host = without_userinfo(host);
    let path = Cow::Borrowed(request.text.path());
    let query = request.text.query().filter(|query| !query.is_empty());
    let query = query.map(|query| sanitizer.query(query));
    let (mark, query): (Cow<'_, str>, _) = match query {
        Some(query) => ("?".into(), query),
        None => ("".into(), "".into()),
    };
    let none = || Cow::Borrowed("");
    let (hostname, port) = match &host {
        Cow::Borrowed(host) => {
            let (hostname, port) = split_port(host);
            (Cow::Borrowed(hostname), port)
        }
        Cow::Owned(host) => {
            let (hostname, port) = split_port(host);
            (Cow::Owned(hostname.to_owned()), port)
        }
    };
    Url {
        raw: Some(joined([path.clone(), mark.clone(), query.clone(), none(), none(), none()])),
        full: (!host.is_empty())
            .then(|| joined([protocol.into(), "://".into(), host.clone(), path.clone(), mark.clone(), query.clone()])),
        protocol: Some(protocol.into()),
        hostname: (!hostname.is_empty()).then(|| keyword(hostname)),
        port: port.map(u32::from),
        search: (!mark.is_empty()).then(|| joined([mark, query, none(), none(), none(), none()])),
        pathname: Some(Text::One(keyword(path))),
    }
}

fn without_userinfo(host: Cow<'_, str>) -> Cow<'_, str> {
    match host.rfind('@') {
        None => host,
        Some(at) => match host {
            Cow::Borrowed(host) => Cow::Borrowed(&host[at + 1..]),
            Cow::Owned(host) => Cow::Owned(host[at + 1..].to_owned()),
        },
    }
}

/// `host:port`, `[v6]:port`, or a host alone; the brackets of an IPv6 address are left out.
pub(super) fn split_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Method, Version};

    use super::*;
    use crate::record::{Headers, RequestText};

    fn of(target: &str, host: &str, headers: &[(&str, &str)]) -> serde_json::Value {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let map: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
        let request = HttpRequest {
            method: Method::GET,
            version: Version::HTTP_11,
            https: false,
            text: RequestText::new(path, query, host.as_bytes(), None),
            remote: None,
            headers: Some(Headers::copy(&map)),
            body: None,
        };
        serde_json::to_value(super::super::request::request(&request, &Sanitizer::default()).url.unwrap()).unwrap()
    }

    #[test]
    fn the_parts_are_those_of_the_reference() {
        let url = of("/market/listings?status=open", "127.0.0.1:18300", &[]);
        let want = serde_json::json!({
            "raw": "/market/listings?status=open", "protocol": "http", "hostname": "127.0.0.1", "port": 18300,
            "pathname": "/market/listings", "search": "?status=open",
            "full": "http://127.0.0.1:18300/market/listings?status=open",
        });
        assert_eq!(url, want);
    }

    #[test]
    fn secrets_of_the_query_are_in_no_part() {
        let url = of("/a?x=1&token=hunter2", "h", &[]);
        assert!(!url.to_string().contains("hunter2"), "{url}");
        assert_eq!(url["search"], "?x=1&token=[REDACTED]");
        assert_eq!(url["full"], "http://h/a?x=1&token=[REDACTED]");
    }

    #[test]
    fn the_client_s_host_and_scheme_are_found_behind_proxies() {
        for (headers, full) in [
            (&[("x-forwarded-host", "shop.example, inner")][..], "http://shop.example/a"),
            (&[("x-forwarded-proto", "HTTPS")], "https://h:1/a"),
            (&[("x-forwarded-proto", "javascript")], "http://h:1/a"),
            (&[("x-forwarded-ssl", "on")], "https://h:1/a"),
            (&[("front-end-https", "off")], "http://h:1/a"),
            (
                &[
                    ("x-forwarded-host", "other"),
                    ("forwarded", "for=1.2.3.4;host=\"shop.example:8443\";Proto=https, host=x"),
                    ("x-forwarded-proto", "http"),
                ],
                "https://shop.example:8443/a",
            ),
        ] {
            assert_eq!(of("/a", "h:1", headers)["full"], full, "{headers:?}");
        }
    }

    #[test]
    fn odd_hosts_are_lived_with() {
        let url = of("/a", "[::1]:80", &[]);
        assert_eq!((&url["hostname"], &url["port"]), (&"::1".into(), &80.into()));
        let url = of("/a", "user:hunter2@h", &[]);
        assert_eq!((&url["full"], &url["hostname"]), (&"http://h/a".into(), &"h".into()));
        let url = of("/a?", "", &[]);
        assert_eq!(url, serde_json::json!({ "raw": "/a", "protocol": "http", "pathname": "/a" }));
        let url = of(&format!("/{}", "a".repeat(3000)), "h", &[]);
        for part in ["raw", "full", "pathname"] {
            assert_eq!(url[part].as_str().unwrap().chars().count(), 1024);
        }
    }
}
