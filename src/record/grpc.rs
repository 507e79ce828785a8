//! The statuses of gRPC's calls, and what they mean for a server. By Elastic's
//! [specification for gRPC](https://github.com/elastic/apm/blob/main/specs/agents/tracing-instrumentation-grpc.md).

use http::{HeaderMap, header};
use opentelemetry::Value;

use super::{Outcome, integer};

/// The status of a call, by its [code](https://grpc.io/docs/guides/status-codes/).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrpcStatus(u8);

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl GrpcStatus {
    /// The caller did not wait for the end.
    pub(crate) const CANCELLED: Self = Self(1);
    /// What it is where an answer ends without one, or with one that nobody knows.
    pub(crate) const UNKNOWN: Self = Self(2);
    /// Nobody serves what the caller named.
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
    /// Somebody whom nobody knows has named it.
    pub(crate) const UNAUTHENTICATED: Self = Self(16);

    /// Returns the status in the headers or trailers of a response. A status that is not a number is `UNKNOWN`.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok().and_then(|text| text.trim().parse().ok());
        Some(code.map_or(Self::UNKNOWN, Self::of_code))
    }

    pub(crate) fn of_code(code: i64) -> Self {
        u8::try_from(code).ok().filter(|code| usize::from(*code) < NAMES.len()).map_or(Self::UNKNOWN, Self)
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        NAMES.iter().zip(0..).find(|(known, _)| **known == name).map(|(_, code)| Self(code))
    }

    /// From OpenTelemetry's attributes: the newer `rpc.response.status_code` (a name or a code) counts first, but only
    /// where `rpc.system` is gRPC, for other systems have other codes; else the older `rpc.grpc.status_code`.
    pub(crate) fn of_attributes(system: Option<&Value>, newer: Option<&Value>, older: Option<&Value>) -> Option<Self> {
        let code = |value: &Value| integer(value).map(Self::of_code);
        newer
            .filter(|_| system.is_some_and(|system| system.as_str() == "grpc"))
            .and_then(|value| Self::of_name(&value.as_str()).or_else(|| code(value)))
            .or_else(|| older.and_then(code))
    }

    pub(crate) fn code(self) -> i64 {
        self.0.into()
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// For the server: what the client got wrong is no failure of ours.
    pub(crate) fn outcome(self) -> Outcome {
        match self.name() {
            "UNKNOWN"
            | "DEADLINE_EXCEEDED"
            | "RESOURCE_EXHAUSTED"
            | "FAILED_PRECONDITION"
            | "ABORTED"
            | "INTERNAL"
            | "UNAVAILABLE"
            | "DATA_LOSS" => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

/// Returns true for the content type `application/grpc`, also with a format such as `application/grpc+proto`, but not for
/// gRPC-Web, whose trailers are bytes of the body.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let kind = b"application/grpc";
    value.as_bytes().split_at_checked(kind.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(kind) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn grpc_is_recognized_by_content_type() {
        for (value, is) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/grpcish", false),
            ("application/json", false),
            ("app", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_grpc(&headers), is, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn grpc_status_names_map_to_codes() {
        let code = |name| GrpcStatus::of_name(name).map(GrpcStatus::code);
        assert_eq!(["OK", "NOT_FOUND", "UNAUTHENTICATED"].map(code), [Some(0), Some(5), Some(16)]);
        assert_eq!(code("HTTP 2xx"), None);
        assert_eq!([-1, 99].map(|code| GrpcStatus::of_code(code).name()), ["UNKNOWN", "UNKNOWN"]);
    }
}
