//! Calls of gRPC: HTTP says 200, and the status comes in the trailers, or in the head of an answer that has nothing else.
//! Pure. By Elastic's [specification for gRPC](https://github.com/elastic/apm/blob/main/specs/agents/tracing-instrumentation-grpc.md).

use http::{HeaderMap, Method, Request, Version, header};

use crate::record::Outcome;

/// The status of a call, by its [code](https://grpc.io/docs/guides/status-codes/).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(usize);

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

impl Status {
    /// The caller did not wait for the end.
    pub(super) const CANCELLED: Self = Self(1);
    /// What it is where an answer ends without one, or with one that nobody knows.
    pub(super) const UNKNOWN: Self = Self(2);
    /// Nobody serves what the caller named.
    pub(super) const UNIMPLEMENTED: Self = Self(12);

    /// Of an answer's head or trailers.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok().and_then(|text| text.trim().parse().ok());
        Some(code.filter(|code| *code < NAMES.len()).map_or(Self::UNKNOWN, Self))
    }

    pub(super) fn name(self) -> &'static str {
        NAMES[self.0]
    }

    /// For the server: what the client got wrong is no failure of ours.
    pub(super) fn outcome(self) -> Outcome {
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

/// gRPC needs HTTP/2: other requests are not looked into.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && *request.method() == Method::POST && is_grpc(request.headers())
}

/// `application/grpc`, also with a format such as `application/grpc+proto`, but not gRPC-Web, whose trailers are bytes
/// of the body.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
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

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn section_6_9_names_and_outcomes_of_a_server() {
        let status = |code: &'static str| Status::of(&headers("grpc-status", code)).unwrap();
        for (code, name, outcome) in [
            ("0", "OK", Outcome::Success),
            ("1", "CANCELLED", Outcome::Success),
            ("2", "UNKNOWN", Outcome::Failure),
            ("3", "INVALID_ARGUMENT", Outcome::Success),
            ("4", "DEADLINE_EXCEEDED", Outcome::Failure),
            ("5", "NOT_FOUND", Outcome::Success),
            ("6", "ALREADY_EXISTS", Outcome::Success),
            ("7", "PERMISSION_DENIED", Outcome::Success),
            ("8", "RESOURCE_EXHAUSTED", Outcome::Failure),
            ("9", "FAILED_PRECONDITION", Outcome::Failure),
            ("10", "ABORTED", Outcome::Failure),
            ("11", "OUT_OF_RANGE", Outcome::Success),
            ("12", "UNIMPLEMENTED", Outcome::Success),
            ("13", "INTERNAL", Outcome::Failure),
            ("14", "UNAVAILABLE", Outcome::Failure),
            ("15", "DATA_LOSS", Outcome::Failure),
            ("16", "UNAUTHENTICATED", Outcome::Success),
            ("17", "UNKNOWN", Outcome::Failure),
            ("-1", "UNKNOWN", Outcome::Failure),
            ("ok", "UNKNOWN", Outcome::Failure),
        ] {
            assert_eq!((status(code).name(), status(code).outcome()), (name, outcome), "{code}");
        }
        assert_eq!(Status::of(&HeaderMap::new()), None);
        assert_eq!((Status::UNKNOWN.name(), Status::UNIMPLEMENTED.name()), ("UNKNOWN", "UNIMPLEMENTED"));
    }

    #[test]
    fn the_content_type_tells_a_call() {
        for (value, is) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/grpcish", false),
            ("application/json", false),
            ("app", false),
        ] {
            assert_eq!(is_grpc(&headers("content-type", value)), is, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
