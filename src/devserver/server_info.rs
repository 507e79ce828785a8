//! `GET /`: what agents ask first, to learn the server's version; the web page for people.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, USER_AGENT},
};
use serde_json::json;

use super::{page, reply, server::Shared};

/// The version that agents are told by default: since 8.0 they send no unsampled transactions.
pub(crate) const VERSION: &str = "9.5.0";

pub(crate) async fn root(State(shared): State<Shared>, request: Request) -> Response {
    let headers = request.headers();
    if is_browser(headers) {
        return page::show().await;
    }
    if shared.credentials.check(headers).is_err() {
        return reply::empty(StatusCode::OK);
    }
    let mut info = json!({
        "build_date": "2026-08-20T00:00:00Z",
        "build_sha": env!("CARGO_PKG_VERSION"),
        "publish_ready": true,
    });
    if let Some(version) = shared.version.as_deref() {
        info["version"] = version.into();
    }
    reply::body(headers, StatusCode::OK, &info)
}

/// The Java agent also says that it would like HTML, but it does not mean it.
fn is_browser(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = text(USER_AGENT);
    let is_agent = ["apm-agent-", "elasticapm-", "Java/"].iter().any(|prefix| agent.starts_with(prefix));
    let first = text(ACCEPT).split(',').next().unwrap_or_default();
    !is_agent && first.split(';').next().is_some_and(|first| first.trim() == "text/html")
}
