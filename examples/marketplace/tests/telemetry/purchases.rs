//! Events of purchases: user, labels, context, and the reason of a refusal.

use serde_json::json;
use tower_apm::devserver::Kind;

use crate::observed::Observed;

const PURCHASE: &str = "POST /market/listings/{id}/purchase";

#[tokio::test]
async fn purchase_has_user_labels_and_context() {
    let market = Observed::open().await;
    market.list("42").await;
    let answer = market.post("bob", "/market/listings/1/purchase", json!({ "buyer": "bob" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let purchase = market.transaction(PURCHASE).await;
    assert_eq!(answer.headers["x-trace-id"], purchase["trace_id"].as_str().unwrap());
    assert_eq!((&purchase["result"], &purchase["outcome"]), (&json!("HTTP 2xx"), &json!("success")));
    assert_eq!(purchase.user(), "bob");
    for (label, value) in [
        ("module", &json!("market")),
        ("listing_id", &json!("1")),
        ("token_id", &json!("42")),
        ("tx_hash", &answer.body["tx_hash"]),
        ("request_id", &json!(answer.headers["x-request-id"].to_str().unwrap())),
    ] {
        assert_eq!(purchase.label(label), value, "{label}");
    }
    assert_eq!(purchase.custom("order"), &json!({ "buyer": "bob" }));
    assert_eq!(purchase.custom("settlement"), &json!({ "tx_hash": answer.body["tx_hash"], "block": 1 }));
    assert_eq!(purchase.at("/context/request/body"), r#"{"buyer":"bob"}"#);
    assert_eq!(purchase.at("/context/request/url/full"), "http://shop.example/market/listings/1/purchase");

    let order_id = answer.body["order_id"].as_str().unwrap();
    assert_eq!(purchase.label("order_id"), order_id);

    // The tree of the whole trace is checked in `purchase_trace`.
    let spans = market.spans_of(&purchase, 8).await;
    assert_eq!(spans[0].kind(), ["db", "sqlite", "query"]);
    let transfer = spans.iter().find(|span| span.kind() == ["external", "http", "POST"]).unwrap();
    assert_eq!(transfer.at("/context/service/target/type"), "http");
    for span in &spans {
        assert_eq!((&span["parent_id"], &span["outcome"]), (&purchase["id"], &json!("success")), "{span:?}");
    }
    assert!(market.sent(Kind::Error).await.is_empty());
    market.nothing_was_refused();
}

#[tokio::test]
async fn error_of_a_reverted_purchase_has_the_chain_message_as_its_last_cause() {
    let market = Observed::open().await;
    market.list("revert-1").await;
    let answer = market.post("bob", "/market/listings/1/purchase", json!({ "buyer": "bob" })).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(market.get("bob", "/market/listings/1").await.body["status"], "open");

    let (purchase, error) = (market.transaction(PURCHASE).await, market.error().await);
    assert_eq!((&purchase["result"], &purchase["outcome"]), (&json!("HTTP 5xx"), &json!("failure")));
    assert_eq!(answer.body["trace_id"], error["trace_id"]);
    assert_eq!(
        (&error["transaction_id"], error.at("/transaction/name")),
        (&purchase["id"], &json!(PURCHASE)),
        "{error:?}"
    );
    assert_eq!(
        error.causes(),
        [
            "the purchase was not settled",
            "token revert-1 of listing 1 was not transferred to bob",
            "execution reverted: token revert-1 is frozen by its contract",
        ]
    );
    assert_eq!(
        (error.at("/exception/type"), error.at("/exception/module"), error.at("/exception/handled")),
        (&json!("PurchaseError::Settlement"), &json!("marketplace::market::purchase"), &json!(false))
    );
    for event in [&purchase, &error] {
        assert_eq!(event.user(), "bob");
        for (label, value) in
            [("module", "market"), ("listing_id", "1"), ("token_id", "revert-1"), ("reason", "not settled")]
        {
            assert_eq!(event.label(label), value, "{label}");
        }
        assert_eq!(event.custom("order"), &json!({ "buyer": "bob" }));
    }
    assert_eq!((error.at("/culprit"), error.at("/log/param_message")), (&json!(PURCHASE), &json!(PURCHASE)));
    // `into_response` and the framework are not the origin of the error
    assert_eq!(error.at("/exception/stacktrace"), &json!(null));

    let spans = market.spans_of(&purchase, 5).await;
    // the chain's refusal is an answer with status 200
    let calls: Vec<_> = spans.iter().filter(|span| span.kind() == ["external", "http", "POST"]).collect();
    assert!(matches!(&calls[..], [call] if call["outcome"] == "success"), "{spans:#?}");
    market.nothing_was_refused();
}

#[tokio::test]
async fn refused_purchase_has_a_reason_and_no_error() {
    let market = Observed::open().await;
    market.list("42").await;
    let poor = market.post("carol", "/market/listings/1/purchase", json!({ "buyer": "carol" })).await;
    assert_eq!(poor.status, 402);
    let purchase = market.transaction(PURCHASE).await;
    assert_eq!((&purchase["result"], &purchase["outcome"]), (&json!("HTTP 4xx"), &json!("success")));
    assert_eq!((purchase.user(), purchase.label("reason")), (&json!("carol"), &json!("insufficient funds")));
    assert!(market.sent(Kind::Error).await.is_empty());
}
