//! What OpenTelemetry's attributes make of a transaction that one of its spans is (agent-spec 7.1-7.3).
//!
//! Decided when the span ends and not on the worker: filters, errors and statistics ask for it.

use std::borrow::Cow;

use opentelemetry::{
    KeyValue, Value,
    trace::{SpanKind, Status},
};

use super::{GrpcStatus, OtelPart, Outcome, TransactionRecord, set_attribute};

/// Conventions of 2021 and newer ones: any of them says that the span serves a request.
const OF_REQUESTS: [&str; 8] = [
    "http.url",
    "http.scheme",
    "http.method",
    "url.full",
    "url.scheme",
    "http.request.method",
    "rpc.system",
    "rpc.system.name",
];

impl OtelPart {
    fn has(&self, names: &[&str]) -> bool {
        self.attributes.iter().any(|attribute| names.contains(&attribute.key.as_str()))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|attribute| attribute.key.as_str() == name).map(|attribute| &attribute.value)
    }

    /// The type of a transaction that is such a span.
    pub(crate) fn transaction_type(&self) -> &'static str {
        match self.kind {
            SpanKind::Server if self.has(&OF_REQUESTS) => "request",
            SpanKind::Consumer if self.has(&["messaging.system"]) => "messaging",
            _ => "unknown",
        }
    }

    /// Of the response.
    pub(crate) fn http_status(&self) -> Option<u16> {
        let value = self.get("http.response.status_code").or_else(|| self.get("http.status_code"))?;
        integer(value).and_then(|code| u16::try_from(code).ok())
    }

    fn grpc_status(&self) -> Option<GrpcStatus> {
        let system = self.get("rpc.system.name").or_else(|| self.get("rpc.system"));
        GrpcStatus::of_attributes(system, self.get("rpc.response.status_code"), self.get("rpc.grpc.status_code"))
    }
}

/// `tracing` writes some integers as text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::I64(number) => Some(*number),
        Value::String(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

/// `HTTP 2xx` and its siblings.
pub(crate) fn http_result(status: u16) -> Option<&'static str> {
    Some(match status / 100 {
        1 => "HTTP 1xx",
        2 => "HTTP 2xx",
        3 => "HTTP 3xx",
        4 => "HTTP 4xx",
        5 => "HTTP 5xx",
        _ => return None,
    })
}

impl TransactionRecord {
    /// An attribute of the span that the transaction is; it may say what kind of work this is.
    pub(crate) fn bridged_attribute(&mut self, attribute: KeyValue) {
        let Some(otel) = &mut self.otel else { return };
        // a layer may have made it the transaction of a request
        let tells_type = self.context.request.is_none() && matches!(otel.kind, SpanKind::Server | SpanKind::Consumer);
        set_attribute(&mut otel.attributes, attribute);
        if tells_type {
            self.kind = Cow::Borrowed(otel.transaction_type());
        }
    }

    /// The span ends: sets the result and tells the outcome. OpenTelemetry leaves the status of a server's span unset
    /// where all went well, so the response's own status decides then; without one it stays unknown.
    pub(crate) fn bridged_end(&mut self, status: &Status) -> Outcome {
        let server = self.otel.as_ref().filter(|otel| otel.kind == SpanKind::Server);
        let (grpc, http) = (server.and_then(|otel| otel.grpc_status()), server.and_then(|otel| otel.http_status()));
        let result = grpc.map(GrpcStatus::name).or_else(|| http.and_then(http_result));
        if let Some(result) = result {
            self.result.get_or_insert(Cow::Borrowed(result));
        }
        match (status, grpc, http) {
            (Status::Ok, ..) => Outcome::Success,
            (Status::Error { .. }, ..) => Outcome::Failure,
            (Status::Unset, Some(grpc), _) => grpc.outcome(),
            (Status::Unset, None, Some(http)) if http >= 500 => Outcome::Failure,
            (Status::Unset, None, Some(_)) => Outcome::Success,
            (Status::Unset, None, None) => Outcome::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: SpanKind, attributes: &[(&'static str, &'static str)]) -> OtelPart {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
        OtelPart { kind, attributes }
    }

    // spec: tracing-api-otel.md
    #[test]
    fn transaction_type_follows_kind_and_attributes() {
        for (kind, attributes, told) in [
            (SpanKind::Server, &[("rpc.system", "grpc")][..], "request"),
            (SpanKind::Server, &[("http.url", "http://h/")], "request"),
            (SpanKind::Server, &[("http.scheme", "https")], "request"),
            (SpanKind::Server, &[("http.request.method", "GET")], "request"),
            (SpanKind::Server, &[("url.scheme", "https")], "request"),
            (SpanKind::Server, &[("messaging.system", "kafka")], "unknown"),
            (SpanKind::Consumer, &[("messaging.system", "kafka")], "messaging"),
            (SpanKind::Consumer, &[("http.url", "http://h/")], "unknown"),
            (SpanKind::Client, &[("http.url", "http://h/")], "unknown"),
            (SpanKind::Internal, &[], "unknown"),
        ] {
            assert_eq!(part(kind.clone(), attributes).transaction_type(), told, "{kind:?} {attributes:?}");
        }
    }

    #[test]
    fn grpc_status_is_read_from_numbers_and_names() {
        for (attributes, name) in [
            (&[("rpc.grpc.status_code", "5")][..], Some("NOT_FOUND")),
            (&[("rpc.system", "grpc"), ("rpc.response.status_code", "NOT_FOUND")], Some("NOT_FOUND")),
            (&[("rpc.system.name", "grpc"), ("rpc.response.status_code", "13")], Some("INTERNAL")),
            (&[("rpc.system.name", "jsonrpc"), ("rpc.response.status_code", "-32600")], None),
            (&[("rpc.grpc.status_code", "99")], Some("UNKNOWN")),
        ] {
            assert_eq!(part(SpanKind::Server, attributes).grpc_status().map(GrpcStatus::name), name, "{attributes:?}");
        }
    }
}
