//! What a response means, apart from what is done about it. Pure.

use http::{HeaderMap, Method, StatusCode, header};

use crate::record::Outcome;

/// Returns the outcome of a response.
///
/// A response is a failure for status 500 and above. A 404 is an error of the client. The outcome of a response whose
/// body is sent after the end of the transaction is unknown, because the client may disconnect and the body may fail.
pub(super) fn of_response(status: u16, finished: bool) -> Outcome {
    match (status, finished) {
        (500.., _) => Outcome::Failure,
        (_, true) => Outcome::Success,
        (_, false) => Outcome::Unknown,
    }
}

/// These bodies are never polled (RFC 9110, 6.4.1).
pub(super) fn has_no_body(asked: Asked, status: StatusCode) -> bool {
    asked == Asked::Head
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || (asked == Asked::Connect && status.is_success())
}

/// As much of the method as matters for the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Head,
    Connect,
    Other,
}

impl From<&Method> for Asked {
    fn from(method: &Method) -> Self {
        match *method {
            Method::HEAD => Asked::Head,
            Method::CONNECT => Asked::Connect,
            _ => Asked::Other,
        }
    }
}

/// A body without an end, which would spoil the latency figures.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = b"text/event-stream";
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..media_type.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(media_type))
}

/// The bytes that the body will have, when the head promises a number.
pub(super) fn promised(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    // spec: tracing-transactions.md, tracing-instrumentation-http.md
    #[test]
    fn only_5xx_is_a_failure() {
        for (status, outcome) in [(200, Outcome::Success), (404, Outcome::Success), (500, Outcome::Failure)] {
            assert_eq!(of_response(status, true), outcome);
        }
        for (status, outcome) in [(200, Outcome::Unknown), (404, Outcome::Unknown), (500, Outcome::Failure)] {
            assert_eq!(of_response(status, false), outcome);
        }
    }

    #[test]
    fn responses_without_a_body_are_recognized() {
        for (method, status, none) in [
            (Method::GET, StatusCode::OK, false),
            (Method::HEAD, StatusCode::OK, true),
            (Method::GET, StatusCode::NOT_MODIFIED, true),
            (Method::GET, StatusCode::NO_CONTENT, true),
            (Method::GET, StatusCode::SWITCHING_PROTOCOLS, true),
            (Method::CONNECT, StatusCode::OK, true),
            (Method::CONNECT, StatusCode::BAD_GATEWAY, false),
        ] {
            assert_eq!(has_no_body(Asked::from(&method), status), none, "{method} {status}");
        }
    }

    #[test]
    fn event_streams_are_recognized() {
        let mut headers = HeaderMap::new();
        for (content_type, endless) in
            [("Text/Event-Stream; charset=utf-8", true), ("text/event-stream", true), ("text/plain", false)]
        {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(is_event_stream(&headers), endless, "{content_type}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }

    #[test]
    fn content_length_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(promised(&headers), None);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("12"));
        assert_eq!(promised(&headers), Some(12));
    }
}
