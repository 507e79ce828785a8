//! Several layers around one request, and their hooks.

use axum::{
    Extension, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_apm::{ResponseExt, Transaction, testkit::TestAgent};

use crate::http::{call, empty, get as request, send};

#[derive(Debug, Clone, thiserror::Error)]
#[error("out of stock")]
struct OutOfStock;

#[derive(Clone, serde::Serialize)]
struct Page {
    size: u8,
}

async fn list() -> (Extension<Page>, &'static str) {
    (Extension(Page { size: 20 }), "[]")
}

async fn sold_out() -> Response {
    StatusCode::CONFLICT.into_response().with_error(OutOfStock)
}

fn market() -> Router {
    Router::new().route("/listings", get(list)).route("/sold-out", get(sold_out)).layer(
        tower_apm::layer()
            .module("market")
            .on_request(|tx, parts| {
                if let Some(chain) = parts.headers.get("x-chain").and_then(|value| value.to_str().ok()) {
                    tx.set_label("chain", chain);
                }
            })
            .on_response(|tx, parts| {
                if let Some(page) = parts.extensions.get::<Page>() {
                    tx.set_custom_context("page", page);
                }
            })
            .on_error(|tx, error| {
                if error.is::<OutOfStock>() {
                    tx.set_label("reason", "out of stock");
                }
            }),
    )
}

#[tokio::test]
async fn outermost_layer_owns_the_transaction_and_inner_layers_enrich_it() {
    let apm = TestAgent::start().await;
    let app = Router::new().nest("/market", market()).layer(apm.layer().module("shop"));
    send(app, empty(request("/market/listings").header("x-chain", "mainnet"))).await;
    let mut all = apm.expect_transactions("GET /market/listings", 1).await;
    all.remove(0)
        .label("module", "market")
        .label("chain", "mainnet")
        .custom("/page/size", 20)
        .field("/context/service/framework/name", "axum");
}

#[tokio::test]
async fn each_module_has_its_own_label() {
    let apm = TestAgent::start().await;
    let wallet = Router::new().route("/balance", get(async || "0")).layer(tower_apm::layer().module("wallet"));
    let health = Router::new().route("/health", get(async || "ok"));
    let app = Router::new().nest("/market", market()).nest("/wallet", wallet).merge(health).layer(apm.layer());
    for path in ["/market/listings", "/wallet/balance", "/health"] {
        call(app.clone(), path).await;
    }
    apm.expect_transaction("GET /market/listings").await.label("module", "market");
    apm.expect_transaction("GET /wallet/balance").await.label("module", "wallet").no_label("reason");
    apm.expect_transaction("GET /health").await.no_label("module");
}

#[tokio::test]
async fn unmatched_request_has_no_module_label() {
    let apm = TestAgent::start().await;
    let wallet = || Router::new().route("/balance", get(async || "0")).layer(apm.layer().module("wallet"));
    let merged = market().merge(wallet());
    assert_eq!(call(merged.clone(), "/nowhere").await.status(), StatusCode::NOT_FOUND);
    apm.expect_transaction("GET unknown route").await.status(404).no_label("module");
    call(merged, "/balance").await;
    apm.expect_transaction("GET /balance").await.label("module", "wallet");

    let apm = TestAgent::start().await;
    let fallback = Router::new().fallback(async || "not found").layer(tower_apm::layer().module("wallet"));
    let nested = Router::new().nest("/wallet", fallback).layer(apm.layer());
    call(nested, "/wallet/nowhere").await;
    apm.expect_transaction("GET unknown route").await.label("module", "wallet");

    // a layer outside the router does not know its routes
    let apm = TestAgent::start().await;
    let service = tower::ServiceBuilder::new().layer(apm.layer().module("shop")).service(wallet());
    let response = tower::ServiceExt::oneshot(service, empty(request("/balance"))).await.unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    apm.expect_transaction("GET /balance").await.label("module", "wallet");
    let apm = TestAgent::start().await;
    let plain = Router::new().route("/balance", get(async || "0"));
    let service = tower::ServiceBuilder::new().layer(apm.layer().module("shop")).service(plain);
    let response = tower::ServiceExt::oneshot(service, empty(request("/balance"))).await.unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    apm.expect_transaction("GET unknown route").await.label("module", "shop");
}

#[tokio::test]
async fn attached_error_of_a_4xx_response_reaches_the_hooks_only() {
    let apm = TestAgent::start().await;
    call(Router::new().nest("/market", market()).layer(apm.layer()), "/market/sold-out").await;
    apm.expect_transaction("GET /market/sold-out").await.status(409).label("reason", "out of stock").outcome("success");
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn on_request_hooks_run_from_the_outer_to_the_inner_layer() {
    let apm = TestAgent::start().await;
    let hook = |name: &'static str| {
        move |tx: &Transaction, _: &http::request::Parts| {
            tx.set_label("last", name).set_label(name, true);
        }
    };
    let inner = Router::new().route("/", get(async || "ok")).layer(tower_apm::layer().on_request(hook("inner")));
    call(inner.layer(apm.layer().on_request(hook("outer"))), "/").await;
    apm.expect_transaction("GET /").await.label("outer", true).label("inner", true).label("last", "inner");
}

#[tokio::test]
async fn panicking_hook_does_not_break_the_request() {
    let apm = TestAgent::start().await;
    let layer = apm
        .layer()
        .on_request(|_, _| panic!("in on_request"))
        .on_response(|_, _| panic!("in on_response"))
        .on_response(|tx, _| {
            tx.set_label("after", true);
        });
    let response = call(Router::new().route("/", get(async || "ok")).layer(layer), "/").await;
    assert_eq!(response.body(), "ok");
    apm.expect_transaction("GET /").await.outcome("success").label("after", true);
    apm.expect_no_errors().await;
    assert_eq!(apm.agent().stats().contained_panics, 2);
}

#[tokio::test]
async fn panicking_hook_of_an_inner_layer_does_not_break_the_request() {
    let apm = TestAgent::start().await;
    let inner = Router::new().route("/sold-out", get(sold_out)).layer(
        tower_apm::layer()
            .on_request(|_, _| panic!("in on_request"))
            .on_error(|_, error| assert!(error.is::<std::fmt::Error>(), "in on_error"))
            .on_error(|tx, _| {
                tx.set_label("after", true);
            }),
    );
    let response = call(
        inner.layer(apm.layer().on_error(|_, error| assert!(error.is::<std::fmt::Error>(), "in the outer on_error"))),
        "/sold-out",
    )
    .await;
    assert_eq!(response.status(), 409);
    apm.expect_transaction("GET /sold-out").await.label("after", true);
    apm.expect_no_errors().await;
    assert_eq!(apm.agent().stats().contained_panics, 3);
}

#[tokio::test]
async fn slow_hook_is_counted() {
    let apm = TestAgent::start().await;
    let layer = apm.layer().on_request(|_, _| std::thread::sleep(std::time::Duration::from_millis(20)));
    call(Router::new().route("/", get(async || "ok")).layer(layer), "/").await;
    apm.expect_transaction("GET /").await.outcome("success");
    assert_eq!(apm.agent().stats().slow_hooks, 1);
}

#[tokio::test]
async fn response_trace_id_header_contains_the_trace_id() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer().response_trace_id_header("x-trace-id"));
    let response = call(app, "/").await;
    let transaction = apm.expect_transaction("GET /").await;
    assert_eq!(response.headers()["x-trace-id"], transaction.trace_id());
}

#[tokio::test]
async fn layer_without_an_agent_passes_requests_through() {
    let app =
        Router::new().route("/", get(async |tx: Transaction| tx.is_active().to_string())).layer(tower_apm::layer());
    assert_eq!(call(app, "/").await.body(), "false");
}

#[tokio::test]
async fn on_error_hook_of_a_module_receives_panics() {
    let apm = TestAgent::start().await;
    let hook = |tx: &Transaction, error: &(dyn std::error::Error + 'static)| {
        if let Some(panic) = error.downcast_ref::<tower_apm::Panicked>() {
            tx.set_label("panicked", panic.message.clone());
        }
    };
    let handler = async || -> StatusCode { panic!("out of apes") };
    let module = Router::new().route("/buy", get(handler)).layer(tower_apm::layer().module("market").on_error(hook));
    let app = Router::new().nest("/market", module).layer(apm.layer());
    let request = http::Request::get("/market/buy").body(axum::body::Body::empty()).unwrap();
    tokio::spawn(tower::ServiceExt::oneshot(app, request)).await.unwrap_err();
    apm.expect_transaction("GET /market/buy").await.label("panicked", "out of apes").label("module", "market");
}
