//! Calls an app in process and returns the error documents.

use axum::{Router, body::Body, extract::Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_apm::testkit::{Kind, TestAgent};

/// Sends `GET path` and reads the response to its end.
pub(crate) async fn call(app: Router, path: &str) {
    let response = app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// All error documents so far.
pub(crate) async fn errors(apm: &TestAgent) -> Vec<Value> {
    apm.flush().await;
    apm.events(Kind::Error)
}

/// The only error document after requests to these paths.
pub(crate) async fn only_error(apm: &TestAgent, app: Router, path: &str) -> Value {
    call(app.layer(apm.layer()), path).await;
    let mut errors = errors(apm).await;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.remove(0)
}

/// The exception with its causes: types and messages.
pub(crate) fn chain(error: &Value) -> Vec<(Option<&str>, &str)> {
    let mut chain = Vec::new();
    let mut exception = error.get("exception");
    while let Some(one) = exception {
        chain.push((one["type"].as_str(), one["message"].as_str().unwrap()));
        exception = one.get("cause").and_then(|causes| causes.get(0));
    }
    chain
}

/// The line of this file's source that holds the text.
pub(crate) fn line_of(source: &str, text: &str) -> usize {
    source.lines().position(|line| line.contains(text)).unwrap() + 1
}
