//! A small service, and a way to call it.

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use tower::ServiceExt;
use tower_apm::{ResponseExt, Transaction, User, testkit::TestAgent};
use tracing::Instrument;

#[derive(Debug, thiserror::Error)]
#[error("settlement failed")]
pub(crate) struct SettlementError(#[source] ChainError);

#[derive(Debug, thiserror::Error)]
#[error("execution reverted")]
pub(crate) struct ChainError;

#[tracing::instrument(fields(page = 2))]
async fn load() {
    store().instrument(tracing::info_span!("store", db.system = "sqlite", otel.kind = "client")).await;
}

async fn store() {
    tokio::task::yield_now().await;
}

async fn listing(tx: Transaction, Path(id): Path<String>) -> String {
    tx.set_label("token_id", id.clone()).set_label("size", 3).set_label("sold", false);
    tx.set_user(User::id("0xdef").email("def@example.org"));
    tx.set_custom_context("order", serde_json::json!({ "buyer": "0xdef", "items": [1, 2] }));
    load().await;
    id
}

async fn settle() -> Response {
    StatusCode::BAD_GATEWAY.into_response().with_error(SettlementError(ChainError))
}

pub(crate) fn app(apm: &TestAgent) -> Router {
    Router::new().route("/listings/{id}", get(listing)).route("/settle", get(settle)).layer(apm.layer())
}

pub(crate) async fn call(app: Router, path: &str) {
    app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
}
