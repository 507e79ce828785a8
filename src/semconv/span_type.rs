//! Type and subtype of a span. Both are computed at its start and at its end, on the request's thread.

use std::borrow::Cow;

use opentelemetry::{KeyValue, Value, trace::SpanKind};

use super::attributes::{broker, database};
use crate::record::{SpanType, is_call};

/// Returns type and subtype by the attributes so far. New names of attributes take precedence over old ones.
pub(crate) fn span_type<'a>(kind: &SpanKind, attributes: &'a [KeyValue]) -> SpanType<'a> {
    let (mut db, mut statement, mut messaging, mut rpc, mut http) = (None, false, None, None, false);
    for KeyValue { key, value, .. } in attributes {
        // most attributes are irrelevant, and are skipped by their first letter
        if !matches!(key.as_str().as_bytes().first(), Some(b'd' | b's' | b'm' | b'r' | b'u' | b'h')) {
            continue;
        }
        let told = || Some(value).filter(|value| !matches!(value, Value::String(text) if text.as_str().is_empty()));
        match key.as_str() {
            "db.system.name" => db = told(),
            "db.system" | "db.type" => db = db.or_else(told),
            "db.query.text" | "db.statement" | "sql.query" => statement |= told().is_some(),
            "messaging.system" => messaging = told(),
            "rpc.system.name" => rpc = told(),
            "rpc.system" => rpc = rpc.or_else(told),
            "url.full" | "http.url" | "url.scheme" | "http.scheme" | "http.request.method" | "http.method" => {
                http |= told().is_some();
            }
            _ => {}
        }
    }
    let of = |kind, subtype| SpanType { kind, subtype };
    match (text(db), text(messaging), text(rpc)) {
        (Some(system), ..) => of("db", Some(database(system))),
        (None, ..) if statement => of("db", None),
        (_, Some(system), _) => of("messaging", Some(broker(system))),
        (.., Some(system)) if system == "apache_dubbo" => of("external", Some("dubbo".into())),
        (.., Some(system)) => of("external", Some(system)),
        _ if is_call(kind) && http => of("external", Some("http".into())),
        _ if *kind == SpanKind::Internal => SpanType::INTERNAL,
        _ => of("unknown", None),
    }
}

fn text(value: Option<&Value>) -> Option<Cow<'_, str>> {
    value.map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: tracing-spans.md, tracing-api-otel.md
    #[test]
    fn span_type_follows_the_attributes_in_order() {
        let of = |kind: SpanKind, pairs: &[(&'static str, &'static str)]| {
            let attributes: Vec<_> = pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
            let SpanType { kind, subtype } = span_type(&kind, &attributes);
            format!("{kind}/{}", subtype.as_deref().unwrap_or("-"))
        };
        let sets: [(&[(&'static str, &'static str)], &str); 21] = [
            (&[("db.system", "postgresql")], "db/postgresql"),
            (&[("db.system.name", "postgresql"), ("db.system", "mysql")], "db/postgresql"),
            (&[("db.system", "mysql"), ("db.system.name", "postgresql")], "db/postgresql"),
            (&[("db.system", "sqlite"), ("http.method", "GET")], "db/sqlite"),
            (&[("db.system", "sqlite3")], "db/sqlite"),
            (&[("db.system.name", "microsoft.sql_server")], "db/mssql"),
            (&[("db.type", "mssql")], "db/mssql"),
            (&[("db.system", ""), ("http.url", "http://h/")], "external/http"),
            (&[("db.statement", "SELECT 1")], "db/-"),
            (&[("db.query.text", "SELECT 1"), ("messaging.system", "kafka")], "db/-"),
            (&[("messaging.system", "kafka")], "messaging/kafka"),
            (&[("messaging.system", "AmazonSQS")], "messaging/sqs"),
            (&[("messaging.system", "aws_sqs"), ("rpc.system", "grpc")], "messaging/sqs"),
            (&[("rpc.system", "grpc"), ("http.method", "POST")], "external/grpc"),
            (&[("rpc.system.name", "grpc")], "external/grpc"),
            (&[("rpc.system", "apache_dubbo")], "external/dubbo"),
            (&[("http.request.method", "GET")], "external/http"),
            (&[("url.full", "http://h/")], "external/http"),
            (&[("http.scheme", "https")], "external/http"),
            (&[("shop", "1")], "unknown/-"),
            (&[], "unknown/-"),
        ];
        for (pairs, want) in sets {
            for kind in [SpanKind::Client, SpanKind::Producer] {
                assert_eq!(of(kind, pairs), want, "{pairs:?}");
            }
        }
        assert_eq!(of(SpanKind::Internal, &[("url.full", "http://h/")]), "app/internal", "no call");
        assert_eq!(of(SpanKind::Server, &[("url.full", "http://h/")]), "unknown/-");
    }
}
