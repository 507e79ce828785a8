//! Calls of gRPC: HTTP says 200, and the status comes in the trailers, or in the head of an answer that has nothing else.
//! Pure. By Elastic's [specification for gRPC](https://github.com/elastic/apm/blob/main/specs/agents/tracing-instrumentation-grpc.md).

use http::{Method, Request, Version};

pub(super) use crate::record::{GrpcStatus as Status, is_grpc};

/// gRPC needs HTTP/2: other requests are not looked into.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && *request.method() == Method::POST && is_grpc(request.headers())
}

/// The route that a server of gRPC has for a service: `/package.Service/{*rest}`.
pub(super) fn is_service(route: &str) -> bool {
    let Some((service, rest)) = route.strip_prefix('/').and_then(|route| route.split_once('/')) else { return false };
    service.contains('.') && !service.contains('{') && rest.starts_with("{*") && rest.ends_with('}')
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::record::Outcome;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    // spec: tracing-instrumentation-grpc.md
    #[test]
    fn grpc_status_names_and_outcomes_of_a_server() {
        let status = |code: &'static str| Status::in_headers(&headers("grpc-status", code)).unwrap();
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
        assert_eq!(Status::in_headers(&HeaderMap::new()), None);
        assert_eq!((Status::UNKNOWN.name(), Status::UNIMPLEMENTED.name()), ("UNKNOWN", "UNIMPLEMENTED"));
    }

    #[test]
    fn grpc_service_is_recognized_by_its_route() {
        for (route, is) in [
            ("/grpc.health.v1.Health/{*rest}", true),
            ("/{service}/{*rest}", false),
            ("/{*path}", false),
            ("/static/{*path}", false),
            ("/shop.Market/{method}", false),
            ("", false),
        ] {
            assert_eq!(is_service(route), is, "{route}");
        }
    }
}
