//! Type and subtype of a span at its start, on the request's thread: as the mapping will tell them, for much less.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use opentelemetry::{KeyValue, Value, trace::SpanKind};

use super::semconv::{broker, database};
use crate::record::{Family, is_call};

/// Equal for spans that will have the same type and subtype, if nothing that is set later changes that.
pub(crate) fn family(kind: &SpanKind, attributes: &[KeyValue]) -> Family {
    let exit = is_call(kind);
    let (mut db, mut statement, mut messaging, mut rpc, mut http) = (None, false, None, None, false);
    for KeyValue { key, value, .. } in attributes {
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
    let (r#type, subtype) = match (text(db), text(messaging), text(rpc)) {
        (Some(system), ..) => ("db", database(system)),
        (None, ..) if statement => ("db", "".into()),
        (_, Some(system), _) => ("messaging", broker(system)),
        (.., Some(system)) => ("external", if system == "apache_dubbo" { "dubbo".into() } else { system }),
        _ if exit && http => ("external", "http".into()),
        _ if *kind == SpanKind::Internal => ("app", "internal".into()),
        _ => ("unknown", "".into()),
    };
    let mut hasher = DefaultHasher::new();
    (r#type, &*subtype).hash(&mut hasher);
    Family(hasher.finish())
}

fn text(value: Option<&Value>) -> Option<Cow<'_, str>> {
    value.map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        intake::{map, tests::records},
        sanitize::Sanitizer,
    };

    #[test]
    fn section_6_3_it_tells_apart_what_the_mapping_does() {
        let sets: [&[(&'static str, &'static str)]; 22] = [
            &[],
            &[("db.system", "postgresql")],
            &[("db.system.name", "postgresql"), ("db.system", "mysql")],
            &[("db.system", "mysql"), ("db.system.name", "postgresql")],
            &[("db.system", "sqlite"), ("http.method", "GET")],
            &[("db.system", "sqlite3")],
            &[("db.system.name", "microsoft.sql_server")],
            &[("db.type", "mssql")],
            &[("db.system", ""), ("http.url", "http://h/")],
            &[("db.statement", "SELECT 1")],
            &[("db.query.text", "SELECT 1"), ("messaging.system", "kafka")],
            &[("messaging.system", "kafka")],
            &[("messaging.system", "AmazonSQS")],
            &[("messaging.system", "aws_sqs"), ("rpc.system", "grpc")],
            &[("rpc.system", "grpc"), ("http.method", "POST")],
            &[("rpc.system.name", "grpc")],
            &[("rpc.system", "apache_dubbo")],
            &[("rpc.system", "dubbo")],
            &[("http.request.method", "GET")],
            &[("url.full", "http://h/")],
            &[("http.scheme", "https")],
            &[("shop", "1")],
        ];
        let kinds = [SpanKind::Internal, SpanKind::Client, SpanKind::Producer, SpanKind::Server, SpanKind::Consumer];
        let sanitizer = Sanitizer::default();
        let both = |kind: &SpanKind, pairs: &[(&'static str, &'static str)]| {
            let attributes = pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect::<Vec<_>>();
            let family = family(kind, &attributes);
            let record = records::span("one", kind.clone(), attributes);
            let span = map::span(&record, &[], &sanitizer);
            (family, (span.r#type.to_owned(), span.subtype.map(Cow::into_owned)))
        };
        let all = kinds.iter().flat_map(|kind| sets.iter().map(move |pairs| (kind, *pairs)));
        let all: Vec<_> = all.map(|(kind, pairs)| (both(kind, pairs), (kind, pairs))).collect();
        for ((family, told), one) in &all {
            for ((others, others_told), other) in &all {
                assert_eq!(family == others, told == others_told, "{one:?} {other:?}");
            }
        }
    }
}
