//! How the APM Server writes its answers.

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;
use serde_json::json;

/// No body.
pub(crate) fn empty(status: StatusCode) -> Response {
    finish(status, None, Body::empty())
}

/// JSON for whoever said so in `Accept`; the same text labelled as plain for others, as the server does.
pub(crate) fn body(request: &HeaderMap, status: StatusCode, content: &impl Serialize) -> Response {
    let accepts_json = request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("*/*") || accept.contains("application/json"));
    let (label, mut text) = if accepts_json {
        ("application/json", serde_json::to_vec_pretty(content).unwrap_or_default())
    } else {
        ("text/plain; charset=utf-8", serde_json::to_vec(content).unwrap_or_default())
    };
    text.push(b'\n');
    finish(status, Some(label), text.into())
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
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// The answer is the last one on its connection.
pub(crate) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A status that somebody laid down.
pub(crate) fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
