//! Tests of purchases with one process. Each purchase changes everything or nothing, or is undecided.

use std::time::{Duration, Instant};

use axum::{Json, Router, http::StatusCode, routing::post};
use futures_util::FutureExt as _;
use marketplace::config::Config;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::shop::Shop;

/// Checks that a purchase of listing `id` by bob changed nothing in total.
///
/// A refused purchase may be debited and refunded.
async fn nothing_happened(shop: &Shop, id: i64, bobs_balance: &str) {
    assert_eq!(shop.status_of(id).await, "open");
    let listing = shop.get(&format!("/market/listings/{id}")).await.body;
    assert!(listing.get("buyer").is_none() && listing.get("tx_hash").is_none(), "{listing}");
    assert_eq!((shop.balance("bob").await.as_str(), shop.balance("alice").await.as_str()), (bobs_balance, "0"));
    assert!(shop.history("alice").await.is_empty());
    let history = shop.history("bob").await;
    let reasons: Vec<_> = history.iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    let count = |start: &str| reasons.iter().filter(|reason| reason.starts_with(start)).count();
    assert_eq!(count("bought "), count("refund of "), "{reasons:?}");
}

#[tokio::test]
async fn purchase_transfers_token_and_money() {
    let shop = Shop::open().await;
    let id = shop.list("42", "12.5").await;
    shop.pay_in("bob", "100").await;
    let bought = shop.buy(id, "bob").await;
    assert_eq!(bought.status, 200, "{bought:?}");
    let tx_hash = bought.body["tx_hash"].as_str().unwrap();
    assert!(tx_hash.len() == 66 && tx_hash.starts_with("0x"), "{tx_hash}");
    let order_id = bought.body["order_id"].as_str().unwrap();
    assert_eq!(order_id.len(), 36, "{order_id}");
    let receipt = json!({
        "listing_id": id, "order_id": order_id, "token_id": "42", "seller": "alice", "buyer": "bob", "price": "12.5", "tx_hash": tx_hash, "block": 1,
    });
    assert_eq!(bought.body, receipt);

    let listing = shop.get(&format!("/market/listings/{id}")).await.body;
    assert_eq!(
        (&listing["status"], &listing["buyer"], &listing["tx_hash"]),
        (&json!("sold"), &json!("bob"), &json!(tx_hash))
    );
    assert_eq!((shop.balance("bob").await.as_str(), shop.balance("alice").await.as_str()), ("87.5", "12.5"));
    assert_eq!(
        (shop.history("bob").await[0]["amount"].as_str(), shop.history("alice").await[0]["amount"].as_str()),
        (Some("-12.5"), Some("12.5"))
    );
    shop.buy(id, "bob").await.is_error(StatusCode::CONFLICT, None, "sold");
}

#[tokio::test]
async fn uncovered_purchase_changes_nothing() {
    let shop = Shop::open().await;
    let id = shop.list("42", "12.5").await;
    shop.pay_in("bob", "12.4").await;
    shop.buy(id, "bob").await.is_error(StatusCode::PAYMENT_REQUIRED, None, "12.5 are needed");
    nothing_happened(&shop, id, "12.4").await;
}

#[tokio::test]
async fn seller_cannot_buy_their_own_listing() {
    let shop = Shop::open().await;
    let id = shop.list("42", "12.5").await;
    shop.buy(id, "alice").await.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("buyer"), "seller");
    assert_eq!(shop.status_of(id).await, "open");
}

#[tokio::test]
async fn purchase_that_the_chain_refuses_changes_nothing() {
    let shop = Shop::open().await;
    let id = shop.list("revert-1", "1").await;
    shop.pay_in("bob", "100").await;
    let refused = shop.buy(id, "bob").await;
    refused.is_error(StatusCode::BAD_GATEWAY, None, "not settled");
    let causes: Vec<_> = refused.body["causes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert!(causes[0].contains("token revert-1 of listing 1"), "{causes:?}");
    assert!(causes[1].starts_with("execution reverted: "), "{causes:?}");
    nothing_happened(&shop, id, "100").await;
}

/// A chain that answers every call with `status` and `body`.
async fn chain_that_answers(status: StatusCode, body: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rpc", listener.local_addr().unwrap());
    let answer = async move || (status, Json(body.clone()));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/rpc", post(answer))).await });
    url
}

#[tokio::test]
async fn order_that_the_chain_refuses_is_refunded() {
    let unused = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let refusal = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "nonce too low" } });
    for (url, cause) in
        [(unused, "cannot be reached"), (chain_that_answers(StatusCode::OK, refusal).await, "nonce too low")]
    {
        let shop = Shop::with(Config { chain_rpc_url: Some(url.as_str().into()), ..Config::default() }).await;
        let id = shop.list("42", "1").await;
        shop.pay_in("bob", "100").await;
        let refused = shop.buy(id, "bob").await;
        refused.is_error(StatusCode::BAD_GATEWAY, None, "not settled");
        assert!(refused.body["causes"][1].as_str().unwrap().contains(cause), "{cause}: {:?}", refused.body);
        assert!(!refused.body.to_string().contains("127.0.0.1"), "{:?}", refused.body);
        nothing_happened(&shop, id, "100").await;
    }
}

#[tokio::test]
async fn order_stays_paid_while_the_outcome_on_the_chain_is_unknown() {
    let internal = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32603, "message": "out of memory" } });
    for (url, cause) in [
        (chain_that_answers(StatusCode::OK, internal).await, "out of memory"),
        (chain_that_answers(StatusCode::BAD_GATEWAY, json!({})).await, "status 502"),
        (chain_that_answers(StatusCode::OK, json!("later")).await, "not a JSON-RPC"),
        (chain_that_answers(StatusCode::OK, json!({})).await, "neither"),
    ] {
        let shop = Shop::with(Config { chain_rpc_url: Some(url.as_str().into()), ..Config::default() }).await;
        let id = shop.list("42", "1").await;
        shop.pay_in("bob", "100").await;
        let undecided = shop.buy(id, "bob").await;
        undecided.is_error(StatusCode::BAD_GATEWAY, None, "not decided yet: the transfer of the token");
        assert!(undecided.body["causes"][1].as_str().unwrap().contains(cause), "{cause}: {:?}", undecided.body);
        let listing = shop.get(&format!("/market/listings/{id}")).await.body;
        assert_eq!((&listing["status"], &listing["buyer"]), (&json!("paid"), &json!("bob")));
        assert!(listing.get("order_id").is_none() && listing.get("lease_until_ms").is_none(), "{listing}");
        assert_eq!((shop.balance("bob").await.as_str(), shop.balance("alice").await.as_str()), ("99", "0"));
        shop.buy(id, "bob").await.is_error(StatusCode::CONFLICT, None, "about to be");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_twenty_concurrent_buyers_succeeds() {
    let shop = Shop::open().await;
    let id = shop.list("42", "10").await;
    for buyer in 0..20 {
        shop.pay_in(&format!("buyer-{buyer}"), "10").await;
    }
    let answers =
        futures_util::future::join_all((0..20).map(async |buyer| shop.buy(id, &format!("buyer-{buyer}")).await)).await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 19, "{answers:?}");

    let winner = winners[0].body["buyer"].as_str().unwrap();
    assert_eq!(shop.get(&format!("/market/listings/{id}")).await.body["buyer"], winner);
    assert_eq!(shop.balance("alice").await, "10");
    for buyer in 0..20 {
        let buyer = format!("buyer-{buyer}");
        assert_eq!(shop.balance(&buyer).await, if buyer == winner { "0" } else { "10" }, "{buyer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn balance_for_one_purchase_buys_one_listing() {
    let shop = Shop::open().await;
    shop.pay_in("bob", "10").await;
    for token in 0..5 {
        shop.list(&token.to_string(), "10").await;
    }
    let answers = futures_util::future::join_all((1..=5).map(|id| shop.buy(id, "bob"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 402).count(), 4, "{answers:?}");
    assert_eq!((shop.balance("bob").await.as_str(), shop.balance("alice").await.as_str()), ("0", "10"));
    assert_eq!(shop.get("/market/listings?status=open").await.body.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn purchase_continues_after_the_client_disconnects() {
    let shop = Shop::open().await;
    let id = shop.list("slow-1", "10").await;
    shop.pay_in("bob", "10").await;
    {
        let mut purchase = Box::pin(shop.buy(id, "bob"));
        while shop.status_of(id).await != "paid" {
            assert!(purchase.as_mut().now_or_never().is_none(), "the chain is slow");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while shop.balance("alice").await != "10" {
        assert!(Instant::now() < deadline, "the purchase was not carried through");
        tokio::task::yield_now().await;
    }
    assert_eq!((shop.status_of(id).await.as_str(), shop.balance("bob").await.as_str()), ("sold", "0"));
}
