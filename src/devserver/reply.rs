//! How the APM Server writes its answers.

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;
use serde_json::json;

use super::memory::{Keeping, Lease};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// No body.
pub(crate) fn empty(status: StatusCode) -> Response {
    finish(status, None, Body::empty())
}

/// JSON for whoever said so in `Accept`; the same text labelled as plain for others, as the server does.
pub(crate) fn body(request: &HeaderMap, status: StatusCode, content: &impl Serialize) -> Response {
    of_text(request, status, text(request, content))
}

/// The content in the form that the client reads.
pub(crate) fn text(request: &HeaderMap, content: &impl Serialize) -> Vec<u8> {
    let write = if accepts_json(request) { serde_json::to_vec_pretty } else { serde_json::to_vec };
    let mut text = write(content).unwrap_or_default();
    text.push(b'\n');
    text
}

/// The answer with this text.
pub(crate) fn of_text(request: &HeaderMap, status: StatusCode, text: Vec<u8>) -> Response {
    let label = if accepts_json(request) { "application/json" } else { "text/plain; charset=utf-8" };
    finish(status, Some(label), text.into())
}

fn accepts_json(request: &HeaderMap) -> bool {
    request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("*/*") || accept.contains("application/json"))
}

/// `{"error": message}`.
pub(crate) fn error(request: &HeaderMap, status: StatusCode, message: &str) -> Response {
    body(request, status, &json!({ "error": message }))
}

/// A message of OTLP.
pub(crate) fn protobuf(status: StatusCode, message: Vec<u8>) -> Response {
    finish(status, Some("application/x-protobuf"), message.into())
}

/// JSON, whatever `Accept` says: the answers of the interface of our own.
pub(crate) fn json(status: StatusCode, content: &impl Serialize) -> Response {
    match serde_json::to_vec(content) {
        Ok(text) => finish(status, Some("application/json"), text.into()),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn finish(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// JSON that is written while it is made.
pub(crate) fn stream(body: Body) -> Response {
    finish(StatusCode::OK, Some("application/json"), body)
}

/// Holds a lease until the answer is written.
pub(crate) fn keeping(response: Response, lease: Lease) -> Response {
    response.map(|body| Body::new(Keeping::new(body, lease)))
}

/// The answer is the last one on its connection.
pub(crate) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The client may try again in a second.
pub(crate) fn try_again(mut response: Response) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A status that somebody laid down.
pub(crate) fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
