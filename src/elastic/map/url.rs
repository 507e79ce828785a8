//! The URL of a request as the client wrote it: parts, and the whole put together again.

use std::borrow::Cow;

use super::origin::{Origin, parts};
use crate::{
    elastic::model::Url,
    record::HttpRequest,
    sanitize::Sanitizer,
    semconv::{Text, joined, keyword},
};

pub(super) fn url<'a>(request: &'a HttpRequest, origin: Origin, sanitizer: &Sanitizer) -> Url<'a> {
    let protocol = origin.reported_scheme().unwrap_or(if request.https { "https" } else { "http" });
    let host = origin.authority(request.text.host(), protocol);
    let path = sanitizer.path(request.text.path());
    // `OPTIONS *` is about the whole server (RFC 9112, 3.2.4)
    let path_of_full = if path == "*" { Cow::Borrowed("") } else { path.clone() };
    let query = request.text.query().filter(|query| !query.is_empty());
    let query = query.map(|query| sanitizer.query(query));
    let (mark, query): (Cow<'_, str>, _) = match query {
        Some(query) => ("?".into(), query),
        None => ("".into(), "".into()),
    };
    let none = || Cow::Borrowed("");
    let (hostname, port) = match &host {
        Cow::Borrowed(host) => {
            let (name, port) = parts(host);
            (Cow::Borrowed(name), port)
        }
        Cow::Owned(host) => {
            let (name, port) = parts(host);
            (Cow::Owned(name.to_owned()), port)
        }
    };
    Url {
        raw: Some(joined([path.clone(), mark.clone(), query.clone(), none(), none(), none()])),
        full: (!host.is_empty())
            .then(|| joined([protocol.into(), "://".into(), host, path_of_full, mark.clone(), query.clone()])),
        protocol: Some(protocol.into()),
        hostname: (!hostname.is_empty()).then(|| keyword(hostname)),
        port: port.map(u32::from),
        search: (!mark.is_empty()).then(|| joined([mark, query, none(), none(), none(), none()])),
        pathname: Some(Text::One(keyword(path))),
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
            origin: None,
            body: None,
        };
        serde_json::to_value(super::super::request::request(&request, &Sanitizer::default()).url.unwrap()).unwrap()
    }

    #[test]
    fn url_parts_are_those_of_the_node_agent() {
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
    fn scheme_and_host_of_the_client_are_found_behind_proxies() {
        let url = of("/a", "h:1", &[("x-forwarded-host", "shop.example:8443"), ("x-forwarded-proto", "https")]);
        assert_eq!(url["full"], "https://shop.example:8443/a");
        assert_eq!(
            (&url["protocol"], &url["hostname"], &url["port"]),
            (&"https".into(), &"shop.example".into(), &8443.into())
        );
    }

    #[test]
    fn options_asterisk_has_a_url_without_path() {
        let url = of("*", "h:1", &[]);
        let want = serde_json::json!({
            "raw": "*", "protocol": "http", "hostname": "h", "port": 1, "pathname": "*", "full": "http://h:1",
        });
        assert_eq!(url, want);
    }

    #[test]
    fn malformed_hosts_do_not_panic() {
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
