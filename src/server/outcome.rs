//! What a response means, apart from what is done about it. Pure.

use http::{HeaderMap, Method, StatusCode, header};

use crate::record::Outcome;

/// A server's own answer is a failure from 500 on: a 404 is what the client got wrong.
pub(super) fn of_status(status: u16) -> Outcome {
    if status >= 500 { Outcome::Failure } else { Outcome::Success }
}

/// True when nothing more comes that the transaction should wait for: there is no body, or it is one without an end.
pub(super) fn ends_at_head(method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
    has_no_body(method, status) || is_event_stream(headers)
}

/// These bodies are never polled (RFC 9110, 6.4.1).
pub(super) fn has_no_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || (method == Method::CONNECT && status.is_success())
}

fn is_event_stream(headers: &HeaderMap) -> bool {
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

    #[test]
    fn only_5xx_fails() {
        for (status, outcome) in [(200, Outcome::Success), (404, Outcome::Success), (500, Outcome::Failure)] {
            assert_eq!(of_status(status), outcome);
        }
    }

    #[test]
    fn some_answers_have_no_body_and_some_no_end() {
        let mut headers = HeaderMap::new();
        assert!(!ends_at_head(&Method::GET, StatusCode::OK, &headers));
        assert!(ends_at_head(&Method::HEAD, StatusCode::OK, &headers));
        assert!(ends_at_head(&Method::GET, StatusCode::NOT_MODIFIED, &headers));
        assert!(ends_at_head(&Method::GET, StatusCode::SWITCHING_PROTOCOLS, &headers));
        headers.insert("content-type", HeaderValue::from_static("Text/Event-Stream; charset=utf-8"));
        assert!(ends_at_head(&Method::GET, StatusCode::OK, &headers));
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        assert!(!ends_at_head(&Method::GET, StatusCode::OK, &headers));
    }
}
