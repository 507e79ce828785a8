//! `/config/v1/agents`: the central configuration, which says nothing yet.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, ETAG, IF_NONE_MATCH},
};
use serde_json::json;

use super::{reply, server::Shared};

/// The tag of the empty configuration.
const EMPTY: &str = "-";

pub(crate) async fn agents(State(shared): State<Shared>, request: Request) -> Response {
    let headers = request.headers();
    if let Err(message) = shared.credentials.check(headers) {
        return reply::error(headers, StatusCode::UNAUTHORIZED, message);
    }
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let message = format!("method not supported: {}", request.method());
        return reply::error(headers, StatusCode::METHOD_NOT_ALLOWED, &message);
    }
    let sent = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = if sent.replace('"', "") == EMPTY {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::body(headers, StatusCode::OK, &json!({}))
    };
    let mut set = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    set(ETAG, "\"-\"");
    set(CACHE_CONTROL, "max-age=30, must-revalidate");
    set(ACCESS_CONTROL_EXPOSE_HEADERS, "Etag");
    response
}
