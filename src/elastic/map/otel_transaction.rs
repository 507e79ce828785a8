//! A transaction that is a span of OpenTelemetry's: what its attributes tell of the request, the response and the
//! message where no layer has told it, and labels for what no native field holds (agent-spec 7.1-7.3, 7.5).
//!
//! Nothing goes by `otel.attributes`: the server translates those over the native fields.

use std::{borrow::Cow, net::IpAddr};

use opentelemetry::KeyValue;

use super::labels::{self, is_shown};
use crate::{
    elastic::model::{Context, HeaderValue, Headers, Message, Queue, Request, Response, Socket, Tags, Url},
    sanitize::Sanitizer,
    semconv::{
        Attributes, Language, Text, database, free_keyword, is_noise, is_user, keyword, language, map_text, split_port,
        without_userinfo,
    },
};

/// What the request tells, and its response.
const OF_HTTP: &[&str] = &[
    "http.request.method",
    "http.method",
    "url.full",
    "http.url",
    "url.scheme",
    "http.scheme",
    "http.host",
    "url.path",
    "http.target",
    "http.path",
    "url.query",
    "server.address",
    "server.port",
    "net.host.name",
    "net.host.port",
    "http.server_name",
    "network.peer.address",
    "network.peer.port",
    "net.sock.peer.addr",
    "net.sock.peer.port",
    "net.peer.ip",
    "net.peer.port",
    "user_agent.original",
    "http.user_agent",
    "network.protocol.name",
    "network.protocol.version",
    "http.flavor",
    "http.response.status_code",
    "http.status_code",
];
const OF_MESSAGES: &[&str] = &[
    "messaging.destination.name",
    "messaging.destination",
    "messaging.rabbitmq.destination.routing_key",
    "messaging.rabbitmq.routing_key",
];

/// Adds to the context what the attributes tell, which never replaces what is there.
pub(super) fn add<'a>(context: &mut Context<'a>, attributes: &Attributes<'a>, sanitizer: &Sanitizer) {
    if context.request.is_none() {
        context.request = request(attributes, sanitizer);
        if let Some(status) = attributes.status().and_then(|status| u32::try_from(status).ok())
            && context.response.is_none()
        {
            context.response = Some(Response { status_code: Some(status), ..Response::default() });
        }
    }
    if context.message.is_none() {
        context.message = message(attributes, sanitizer);
    }
    let told_by_http = context.request.is_some();
    let told_by_message = context.message.is_some();
    let is_told = |key: &str| {
        is_noise(key)
            || is_user(key)
            || told_by_http && OF_HTTP.contains(&key)
            || told_by_message && OF_MESSAGES.contains(&key)
    };
    let is_label = |key: &str| !is_told(key) && is_shown(key, sanitizer);
    for attribute in attributes.all().iter().filter(|attribute| is_label(attribute.key.as_str())) {
        // what the developer set through our own handle stands
        if labels::index_key(attribute.key.as_str()).is_some_and(|key| context.tags.get(&key).is_none()) {
            label(&mut context.tags, attribute, attributes, sanitizer);
        }
    }
}

fn label<'a>(tags: &mut Tags<'a>, attribute: &'a KeyValue, all: &Attributes<'a>, sanitizer: &Sanitizer) {
    let is_command = || all.db_system().map(database).is_some_and(|system| language(&system) == Language::Commands);
    match attribute.key.as_str() {
        // commands carry values
        "db.query.text" | "db.statement" if is_command() => {}
        // no URLs by themselves, but with secrets all the same
        "url.query" => {
            labels::set_text(tags, attribute, map_text(attribute.value.as_str(), |query| sanitizer.query(query)));
        }
        "http.target" | "http.path" | "url.path" => {
            let clean = match attribute.value.as_str() {
                target if !target.contains('?') => map_text(target, |path| sanitizer.path(path)),
                target => {
                    let (path, query) = target.split_once('?').unwrap_or_default();
                    format!("{}?{}", sanitizer.path(path), sanitizer.query(query)).into()
                }
            };
            labels::set_text(tags, attribute, clean);
        }
        _ => labels::set_attribute(tags, attribute, sanitizer),
    }
}

fn message<'a>(attributes: &Attributes<'a>, sanitizer: &Sanitizer) -> Option<Message<'a>> {
    let queue = attributes.messaging_destination().map(|name| Queue { name: free_keyword(name, sanitizer) });
    let routing_key = attributes.messaging_routing_key().map(|key| free_keyword(key, sanitizer));
    let is_there = queue.is_some() || routing_key.is_some();
    is_there.then(|| Message { queue, routing_key, ..Message::default() })
}

/// None where the method is not told: without it there is no request for the server.
fn request<'a>(attributes: &Attributes<'a>, sanitizer: &Sanitizer) -> Option<Request<'a>> {
    let method = free_keyword(attributes.http_method()?, sanitizer);
    let mut headers = Headers::default();
    if let Some(agent) = attributes.first(&["user_agent.original", "http.user_agent"]) {
        headers.set(Cow::Borrowed("user-agent"), HeaderValue::One(free_keyword(agent, sanitizer)));
    }
    let client = || attributes.first(&["client.address", "http.client_ip"]);
    let peer = attributes.peer_ip().and_then(|peer| peer.parse::<IpAddr>().ok());
    let peer = peer.or_else(|| client()?.parse().ok());
    Some(Request {
        method,
        http_version: version(attributes),
        url: Some(url(attributes, sanitizer)),
        headers,
        cookies: Default::default(),
        body: None,
        socket: peer.map(|peer| Socket { remote_address: Some(peer.to_canonical()) }),
    })
}

fn version(attributes: &Attributes<'_>) -> Option<&'static str> {
    let is_http = attributes.first(&["network.protocol.name"]).is_none_or(|name| name.eq_ignore_ascii_case("http"));
    let version = attributes.first(&["network.protocol.version", "http.flavor"]).filter(|_| is_http)?;
    Some(match version.trim_start_matches("HTTP/") {
        "0.9" => "0.9",
        "1.0" => "1.0",
        "1.1" => "1.1",
        "2" | "2.0" => "2.0",
        "3" | "3.0" => "3.0",
        _ => return None,
    })
}

/// Out of the whole, or else out of the parts.
fn url(attributes: &Attributes<'_>, sanitizer: &Sanitizer) -> Url<'static> {
    let whole = attributes.http_url().map(|url| sanitizer.text(&url).into_owned());
    let (scheme, authority, target) = match whole.as_deref().and_then(|url| url.split_once("://")) {
        Some((scheme, rest)) => {
            let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some(scheme.to_owned()), rest[..at].to_owned(), rest[at..].to_owned())
        }
        None => {
            (None, sanitizer.text(&authority(attributes)).into_owned(), target(attributes, whole.as_deref(), sanitizer))
        }
    };
    let of_attribute = || attributes.http_scheme().map(|scheme| sanitizer.text(&scheme).into_owned());
    let scheme = scheme.or_else(of_attribute);
    let target = target.split('#').next().unwrap_or_default();
    let (path, search) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (hostname, port) = split_port(authority);
    let text = |text: &str| Some(keyword(text.to_owned())).filter(|text| !text.is_empty());
    let full =
        (!authority.is_empty()).then(|| format!("{}://{authority}{path}{search}", scheme.as_deref().unwrap_or("http")));
    Url {
        raw: text(target).map(Text::One),
        full: full.map(|full| Text::One(keyword(full))),
        hostname: text(hostname),
        port: port.map(u32::from),
        search: (search.len() > 1).then(|| Text::One(keyword(search.to_owned()))),
        pathname: text(path).map(Text::One),
        protocol: scheme.map(keyword),
    }
}

/// The host that was asked for, with its port.
fn authority(attributes: &Attributes<'_>) -> String {
    let port = || attributes.first(&["server.port", "net.host.port"]).and_then(|port| port.parse::<u16>().ok());
    let Some(host) =
        attributes.http_host().or_else(|| attributes.first(&["server.address", "net.host.name", "http.server_name"]))
    else {
        return String::new();
    };
    let host = without_userinfo(host);
    match (split_port(&host).1, port()) {
        (None, Some(port)) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        (None, Some(port)) => format!("{host}:{port}"),
        _ => host.into_owned(),
    }
}

/// Path and query, the query without its secrets. `relative` is a URL without a host.
fn target(attributes: &Attributes<'_>, relative: Option<&str>, sanitizer: &Sanitizer) -> String {
    let told = attributes.http_path();
    let target = told.as_deref().or(relative).unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let own = attributes.http_query();
    let path = sanitizer.path(path);
    match own.as_deref().or(query).filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{}", sanitizer.query(query)),
        None => path.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(pairs: &[(&'static str, &'static str)]) -> serde_json::Value {
        let all: Vec<_> = pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
        let mut context = Context::default();
        add(&mut context, &Attributes::of(&all), &Sanitizer::default());
        serde_json::to_value(context).unwrap()
    }

    // spec: tracing-api-otel.md
    #[test]
    fn request_attributes_of_old_and_new_conventions_are_mapped() {
        let old = told(&[
            ("http.method", "POST"),
            ("http.scheme", "https"),
            ("http.host", "shop.example:8443"),
            ("http.target", "/buy?dry=1&token=hunter2"),
            ("http.flavor", "1.1"),
            ("http.user_agent", "curl/8"),
            ("http.status_code", "201"),
            ("net.sock.peer.addr", "192.0.2.7"),
            ("http.route", "/buy"),
        ]);
        let new = told(&[
            ("http.request.method", "POST"),
            ("url.scheme", "https"),
            ("server.address", "shop.example"),
            ("server.port", "8443"),
            ("url.path", "/buy"),
            ("url.query", "dry=1&token=hunter2"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "curl/8"),
            ("http.response.status_code", "201"),
            ("network.peer.address", "192.0.2.7"),
            ("http.route", "/buy"),
        ]);
        let want = json!({
            "request": {
                "method": "POST", "http_version": "1.1", "headers": { "user-agent": "curl/8" },
                "socket": { "remote_address": "192.0.2.7" },
                "url": {
                    "raw": "/buy?dry=1&token=[REDACTED]", "protocol": "https", "hostname": "shop.example", "port": 8443,
                    "full": "https://shop.example:8443/buy?dry=1&token=[REDACTED]", "pathname": "/buy",
                    "search": "?dry=1&token=[REDACTED]",
                },
            },
            "response": { "status_code": 201 },
            "tags": { "http_route": "/buy" },
        });
        assert_eq!(old, want);
        assert_eq!(new, want);
    }

    #[test]
    fn full_url_is_split_into_its_parts() {
        for (url, want) in [
            (
                "https://ada:hunter2@[::1]:8443/a?b=1#c",
                json!({
                    "raw": "/a?b=1", "protocol": "https", "hostname": "::1", "port": 8443, "pathname": "/a",
                    "search": "?b=1", "full": "https://[::1]:8443/a?b=1",
                }),
            ),
            ("http://h", json!({ "protocol": "http", "hostname": "h", "full": "http://h" })),
            (
                "http://h?a=1",
                json!({
                    "raw": "?a=1", "protocol": "http", "hostname": "h", "full": "http://h?a=1", "search": "?a=1",
                }),
            ),
            (
                "/a?token=hunter2",
                json!({ "raw": "/a?token=[REDACTED]", "pathname": "/a", "search": "?token=[REDACTED]" }),
            ),
            ("://", json!({ "protocol": "" })),
        ] {
            let mut told = told(&[("http.method", "GET"), ("http.url", url)])["request"]["url"].take();
            if url == "://" {
                told = json!({ "protocol": told["protocol"] });
            }
            assert!(!told.to_string().contains("hunter2"), "{told}");
            assert_eq!(told, want, "{url}");
        }
    }

    #[test]
    fn attributes_without_a_field_become_redacted_labels() {
        let told = told(&[
            ("db.system", "redis"),
            ("db.statement", "SET k hunter2"),
            ("rpc.service", "shop.Market"),
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "orders"),
            ("messaging.rabbitmq.destination.routing_key", "eu"),
            ("url.query", "a=1&token=hunter2"),
            ("http.target", "/x?token=hunter2"),
            ("url.full", "https://ada:hunter2@h/?token=hunter2"),
            ("password", "hunter2"),
            ("db.connection_string", "host=h password=hunter2"),
            ("busy_ns", "1"),
            ("code.namespace", "shop"),
            ("http.request.header.cookie", "hunter2"),
        ]);
        assert!(!told.to_string().contains("hunter2"), "{told}");
        let message = json!({ "queue": { "name": "orders" }, "routing_key": "eu" });
        assert_eq!(told["message"], message);
        let tags = told["tags"].as_object().unwrap();
        let keys: Vec<_> = tags.keys().map(String::as_str).collect();
        let want = ["db_system", "rpc_service", "messaging_system", "url_query", "http_target", "url_full", "password"];
        assert!(want.iter().all(|key| keys.contains(key)) && keys.len() == want.len(), "{keys:?}");
        assert_eq!(
            (&tags["url_query"], &tags["http_target"]),
            (&json!("a=1&token=[REDACTED]"), &json!("/x?token=[REDACTED]"))
        );
        assert_eq!(told.get("request"), None);
    }
}
