//! Orders that a request did not finish: the request and each repair are found by the same labels.

use std::time::{Duration, Instant};

use axum::{Router, http::StatusCode, routing::post};
use marketplace::config::Config;
use serde_json::json;
use tokio::net::TcpListener;
use tower_apm::devserver::Kind;

use crate::{events::Event, observed::Observed};

const PURCHASE: &str = "POST /market/listings/{id}/purchase";
const REPAIR: &str = "repair an order";
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for the first transaction of a repair.
async fn repair(market: &Observed) -> Event {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let transactions = market.sent(Kind::Transaction).await;
        if let Some(repair) = transactions.into_iter().find(|transaction| transaction["name"] == REPAIR) {
            return repair;
        }
        assert!(Instant::now() < deadline, "no order was repaired");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn labels_are(event: &Event, labels: &[(&str, &serde_json::Value)]) {
    for (label, value) in labels {
        assert_eq!(event.label(label), *value, "{label}: {event:?}");
    }
}

#[tokio::test]
async fn repair_has_the_labels_of_the_purchase() {
    let config = Config { order_lease: Duration::from_secs(1), ..Config::default() };
    let market = Observed::with_config(config, |state| async { state }).await;
    market.list("flaky-1").await;
    let answer = market.post("bob", "/market/listings/1/purchase", json!({ "buyer": "bob" })).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    let purchase = market.transaction(PURCHASE).await;
    assert_eq!((&purchase["outcome"], purchase.label("reason")), (&json!("failure"), &json!("undecided")));
    let error = market.error().await;
    assert_eq!(error.at("/exception/type"), &json!("PurchaseError::Undecided"));
    assert_eq!(
        error.causes()[1..],
        ["the transfer of the token is not confirmed", "the chain answered with status 504"]
    );

    let repair = repair(&market).await;
    let listing = market.get("bob", "/market/listings/1").await.body;
    assert_eq!(listing["status"], "sold", "{listing}");
    assert_eq!(
        (&repair["type"], &repair["result"], &repair["outcome"], repair.user()),
        (&json!("background"), &json!("sold"), &json!("success"), &json!("bob"))
    );
    assert_ne!(repair["trace_id"], purchase["trace_id"]);
    labels_are(
        &repair,
        &[
            ("module", &json!("market")),
            ("listing_id", &json!("1")),
            ("token_id", &json!("flaky-1")),
            ("order_id", purchase.label("order_id")),
            ("tx_hash", &listing["tx_hash"]),
        ],
    );
    market.nothing_was_refused();
}

#[tokio::test]
async fn repair_without_a_decision_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let chain = Router::new().route("/", post(async || StatusCode::BAD_GATEWAY));
    tokio::spawn(async move { axum::serve(listener, chain).await });

    let chain_rpc_url = Some(url.as_str().into());
    let config = Config { order_lease: Duration::from_secs(1), chain_rpc_url, ..Config::default() };
    let market = Observed::with_config(config, |state| async { state }).await;
    market.list("42").await;
    let answer = market.post("bob", "/market/listings/1/purchase", json!({ "buyer": "bob" })).await;
    assert_eq!(answer.status, 502, "{answer:?}");

    let repair = repair(&market).await;
    assert_eq!((&repair["result"], &repair["outcome"]), (&json!("undecided"), &json!("failure")));
    let errors = market.sent(Kind::Error).await;
    let error = errors.iter().find(|error| error["transaction_id"] == repair["id"]).expect("the repair has an error");
    assert_eq!(error.causes(), ["the transfer of the token is not confirmed", "the chain answered with status 502"]);
    let order_id = market.transaction(PURCHASE).await.label("order_id").clone();
    labels_are(error, &[("listing_id", &json!("1")), ("order_id", &order_id), ("reason", &json!("undecided"))]);
}
