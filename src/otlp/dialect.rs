//! Elastic's terms in the attributes that the APM Server reads them from: conventions from 2021 up to 1.27.
//!
//! The server infers a span's type and whom it calls from its attributes, the first that matches counts
//! (`input/otlp/traces.go` of elastic/apm-data). So only those are set that lead to what intake would say, and
//! `peer.service`, which it takes for the destination as it is, holds the resource.

use std::net::{IpAddr, SocketAddr};

use opentelemetry::KeyValue;

use super::{
    flatten::{Attributes, scalar},
    stack_text,
};
use crate::{
    elastic::model::{Entries, Error, HeaderValue, Headers, Request, Response, Scalar, Span, SpanContext, Transaction},
    record::GrpcStatus,
    semconv::Text,
};

/// The attributes of one span, and how many were left out.
pub(super) type Told = (Vec<KeyValue>, u32);

pub(super) fn transaction(told: &Transaction<'_>) -> Told {
    let mut attributes = Attributes::default();
    attributes.text("type", &*told.r#type);
    if let Some(status) = told.result.as_deref().and_then(GrpcStatus::of_name) {
        // the server spells it otherwise: `NotFound`
        attributes.set("rpc.grpc.status_code", status.code());
    }
    if let Some(session) = &told.session {
        attributes.text("session.id", session.id);
    }
    if let Some(otel) = &told.otel {
        foreign(&mut attributes, &otel.attributes);
    }
    if let Some(context) = &told.context {
        if let Some(asked) = &context.request {
            request(&mut attributes, asked);
        }
        if let Some(answer) = &context.response {
            response(&mut attributes, answer);
        }
        if let Some(queue) = context.message.as_ref().and_then(|message| message.queue.as_ref()) {
            attributes.text("messaging.destination", &*queue.name);
        }
        attributes.context(context);
    }
    (attributes.list, attributes.dropped)
}

/// What the native way leaves to the server to translate, it translates here with the same code.
fn foreign(attributes: &mut Attributes, otel: &Entries<'_, Scalar<'_>>) {
    for (key, value) in &otel.0 {
        attributes.set(key.to_string(), scalar(value));
    }
}

fn request(attributes: &mut Attributes, asked: &Request<'_>) {
    attributes.text("http.method", &*asked.method);
    attributes.optional("http.flavor", asked.http_version);
    if let Some(url) = &asked.url {
        // the server appends the target to the host: `*` would become part of it, and what begins with two slashes would
        // be taken for one
        let is_path = |raw: &String| raw.starts_with('/') && !raw.starts_with("//");
        let raw = url.raw.as_ref().map(Text::to_string).filter(is_path);
        match (raw, &url.full) {
            (Some(raw), _) => attributes.text("http.target", raw),
            (None, Some(full)) => attributes.text("http.url", full.to_string()),
            (None, None) => {}
        }
        attributes.optional("http.scheme", url.protocol.as_deref());
        if let Some(host) = url.hostname.as_deref() {
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            attributes.text("http.host", url.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")));
        }
    }
    if let Some(peer) = asked.socket.as_ref().and_then(|socket| socket.remote_address) {
        attributes.text("net.sock.peer.addr", peer.to_string());
    }
    if let Some(client) = client_ip(&asked.headers) {
        attributes.text("http.client_ip", client.to_string());
    }
    attributes.optional("http.user_agent", first(&asked.headers, "user-agent"));
    attributes.headers("http.request.header.", &asked.headers);
}

fn response(attributes: &mut Attributes, answer: &Response<'_>) {
    if let Some(status) = answer.status_code {
        attributes.set("http.status_code", i64::from(status));
    }
    attributes.headers("http.response.header.", &answer.headers);
}

fn first<'a>(headers: &'a Headers<'_>, name: &str) -> Option<&'a str> {
    match headers.get(name)? {
        HeaderValue::One(value) => Some(value),
        HeaderValue::Many(values) => values.first().map(|value| &**value),
    }
}

/// The client in front of the proxies, in the order in which the server looks for it on the native way.
fn client_ip(headers: &Headers<'_>) -> Option<IpAddr> {
    let entry = |name| first(headers, name).and_then(|value| value.split(',').next());
    let forwarded = entry("forwarded").and_then(|entry| {
        let pair = entry.split(';').filter_map(|pair| pair.split_once('='));
        pair.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value)
    });
    let found = forwarded.or_else(|| entry("x-real-ip")).or_else(|| entry("x-forwarded-for"))?;
    ip(found.trim().trim_matches('"'))
}

/// `ip`, `ip:port`, `[v6]` or `[v6]:port`.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    text.parse::<SocketAddr>().map(|address| address.ip()).ok().or_else(bare)
}

pub(super) fn span(told: &Span<'_>) -> Told {
    let mut attributes = Attributes::default();
    if let Some(otel) = &told.otel {
        foreign(&mut attributes, &otel.attributes);
    }
    if let Some(stack) = stack_text::of_frames(&told.stacktrace) {
        attributes.text("code.stacktrace", stack);
    }
    if let Some(composite) = &told.composite {
        attributes.text("composite.compression_strategy", composite.compression_strategy);
        attributes.set("composite.count", i64::try_from(composite.count).unwrap_or(i64::MAX));
        // milliseconds
        attributes.set("composite.sum", composite.sum);
    }
    if let Some(context) = &told.context {
        match told.r#type {
            "db" => database(&mut attributes, told, context),
            "messaging" => messaging(&mut attributes, told, context),
            "external" => external(&mut attributes, told, context),
            _ => {}
        }
        destination(&mut attributes, told, context);
        attributes.labels(&context.tags);
    }
    (attributes.list, attributes.dropped)
}

fn database(attributes: &mut Attributes, told: &Span<'_>, context: &SpanContext<'_>) {
    attributes.optional("db.system", told.subtype.as_deref());
    if let Some(db) = &context.db {
        attributes.optional("db.name", db.instance.as_deref());
        attributes.optional("db.statement", db.statement.as_deref());
        attributes.optional("db.user", db.user.as_deref());
        if let Some(rows) = db.rows_affected {
            attributes.set("db.rows_affected", rows);
        }
    }
}

fn messaging(attributes: &mut Attributes, told: &Span<'_>, context: &SpanContext<'_>) {
    attributes.optional("messaging.system", told.subtype.as_deref());
    attributes.optional("messaging.operation", told.action.as_deref());
    if let Some(message) = &context.message {
        // the server would add a temporary queue to the resource: a dependency for each
        if let Some(queue) = message.queue.as_ref().filter(|queue| !is_temporary(&queue.name, context)) {
            attributes.text("messaging.destination", &*queue.name);
        }
        attributes.optional("messaging.rabbitmq.routing_key", message.routing_key.as_deref());
    }
}

fn is_temporary(queue: &str, context: &SpanContext<'_>) -> bool {
    let target = context.service.as_ref().and_then(|service| service.target.as_ref());
    target.is_some_and(|target| target.name.as_deref() != Some(queue))
}

fn external(attributes: &mut Attributes, told: &Span<'_>, context: &SpanContext<'_>) {
    match &context.http {
        Some(http) => {
            attributes.optional("http.method", http.method.as_deref());
            if let Some(url) = &http.url {
                attributes.text("http.url", url.to_string());
            }
            if let Some(status) = http.response.as_ref().and_then(|response| response.status_code) {
                attributes.set("http.status_code", status);
            }
        }
        None => attributes.optional("rpc.system", told.subtype.as_deref()),
    }
}

/// Whom an exit span calls.
fn destination(attributes: &mut Attributes, told: &Span<'_>, context: &SpanContext<'_>) {
    let Some(destination) = &context.destination else { return };
    attributes.optional("net.peer.name", destination.address.as_deref());
    if let Some(port) = destination.port {
        attributes.set("net.peer.port", i64::from(port));
    }
    let Some(service) = &destination.service else { return };
    let resource = service.resource.to_string();
    let inferred = match told.r#type {
        "db" => told.subtype.as_deref() == Some(&resource),
        // the server puts the queue behind whatever is here
        "messaging" => true,
        _ => false,
    };
    if !inferred {
        attributes.text("peer.service", resource);
    }
}

/// The attributes of the event that the server makes an error of. Those that it does not know become labels.
pub(super) fn exception(told: &Error<'_>) -> Told {
    let mut attributes = Attributes::default();
    if let Some(thrown) = &told.exception {
        if let Some(name) = stack_text::type_name(thrown) {
            attributes.text("exception.type", name);
        }
        attributes.text("exception.message", thrown.message.as_deref().unwrap_or_default());
        // the server reads nothing but a boolean here
        attributes.set("exception.escaped", thrown.handled == Some(false));
    } else if let Some(log) = &told.log {
        attributes.text("exception.message", &*log.message);
    }
    if let Some(stack) = stack_text::of_error(told) {
        attributes.text("exception.stacktrace", stack);
    }
    if let Some(log) = &told.log {
        if told.exception.is_some() {
            attributes.text("log.message", &*log.message);
        }
        attributes.optional("log.level", log.level);
        attributes.optional("log.logger", log.logger_name.as_deref());
    }
    attributes.optional("error.culprit", told.culprit.as_deref());
    if let Some(transaction) = &told.transaction {
        attributes.text("transaction.name", transaction.name.to_string());
    }
    if let Some(context) = &told.context {
        // the request is told by the transaction, from which the server copies it
        attributes.context(context);
    }
    (attributes.list, attributes.dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_address_is_read_from_proxy_headers() {
        let of = |headers: &[(&str, &str)]| {
            let mut entries = Headers::default();
            for (name, value) in headers {
                entries.set((*name).to_owned().into(), HeaderValue::One((*value).to_owned().into()));
            }
            client_ip(&entries).map(|ip| ip.to_string())
        };
        for (headers, want) in [
            (&[("x-forwarded-for", "203.0.113.7, 10.0.0.1")][..], Some("203.0.113.7")),
            (&[("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "203.0.113.8:443")], Some("203.0.113.8")),
            (&[("forwarded", r#"by=x;For="[2001:db8::1]:80", for=10.0.0.1"#)], Some("2001:db8::1")),
            (&[("forwarded", "for=[2001:db8::2]")], Some("2001:db8::2")),
            (&[("x-forwarded-for", "unknown")], None),
            (&[], None),
        ] {
            assert_eq!(of(headers).as_deref(), want, "{headers:?}");
        }
    }
}
