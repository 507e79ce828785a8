//! Events of reads, of the wallet and the chat, and of requests that are refused.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::json;
use tower_apm::devserver::Kind;

use crate::observed::{Observed, request};

#[tokio::test]
async fn missing_listing_is_404_without_an_error() {
    let market = Observed::open().await;
    let answer = market.get("erin", "/market/listings/999").await;
    assert_eq!(answer.status, 404);

    let lookup = market.transaction("GET /market/listings/{id}").await;
    assert_eq!(answer.body["trace_id"], lookup["trace_id"]);
    assert_eq!((&lookup["result"], &lookup["outcome"]), (&json!("HTTP 4xx"), &json!("success")));
    assert_eq!((lookup.user(), lookup.label("listing_id")), (&json!("erin"), &json!("999")));
    assert!(market.sent(Kind::Error).await.is_empty());
}

#[tokio::test]
async fn requests_without_a_route_have_one_name() {
    let market = Observed::open().await;
    for path in ["/nowhere/at/all", "/market/nothing"] {
        assert_eq!(market.get("erin", path).await.status, 404);
    }
    let transactions = market.sent(Kind::Transaction).await;
    let unknown = transactions.iter().filter(|event| event["name"] == "GET unknown route");
    let paths: Vec<_> = unknown.map(|event| event.at("/context/request/url/pathname")).collect();
    assert_eq!(paths, [&json!("/nowhere/at/all"), &json!("/market/nothing")]);
}

#[tokio::test]
async fn invalid_field_is_a_label() {
    let market = Observed::open().await;
    let body = json!({ "token_id": "42", "seller": "alice", "price": "cheap" });
    assert_eq!(market.post("alice", "/market/listings", body).await.status, 422);
    assert_eq!(market.transaction("POST /market/listings").await.label("invalid_field"), "price");
}

#[tokio::test]
async fn list_request_has_page_client_and_user() {
    let market = Observed::open().await;
    market.list("42").await;
    let mut ask = request(Method::GET, "erin", "/market/listings?status=open&limit=5", None);
    ask.headers_mut().insert("x-client", "app/7".parse().unwrap());
    assert_eq!(market.send(ask).await.status, 200);
    let page = market.transaction("GET /market/listings").await;
    assert_eq!(page.custom("page"), &json!({ "offset": 0, "limit": 5, "found": 1 }));
    assert_eq!((page.user(), page.label("client")), (&json!("erin"), &json!("app/7")));
    assert_eq!(page.at("/context/request/url/search"), "?status=open&limit=5");
}

#[tokio::test]
async fn wallet_requests_have_account_and_movement() {
    let market = Observed::open().await;
    let movement = json!({ "amount": "10", "reason": "card payment" });
    assert_eq!(market.post("bob", "/wallet/bob/credits", movement).await.status, 200);
    let movement = json!({ "amount": "75", "reason": "withdrawal" });
    assert_eq!(market.post("bob", "/wallet/bob/debits", movement.clone()).await.status, 402);

    let credit = market.transaction("POST /wallet/{user}/credits").await;
    assert_eq!((credit.label("module"), credit.label("account")), (&json!("wallet"), &json!("bob")));
    assert_eq!(credit.custom("wallet"), &json!({ "user": "bob", "balance": "10" }));
    let spans = market.spans_of(&credit, 1).await;
    assert_eq!(spans.iter().map(|span| &span["name"]).collect::<Vec<_>>(), ["direct SEND to wallet.changes"]);

    let debit = market.transaction("POST /wallet/{user}/debits").await;
    assert_eq!((&debit["result"], debit.label("reason")), (&json!("HTTP 4xx"), &json!("insufficient funds")));
    assert_eq!(debit.custom("movement"), &movement);
    assert_eq!(debit.custom("shortfall"), &json!({ "balance": "10", "needed": "75" }));
}

#[tokio::test]
async fn chat_requests_have_the_room_and_a_stream_ends_with_its_head() {
    let market = Observed::open().await;
    let message = json!({ "from": "carol", "text": "hello" });
    assert_eq!(market.post("carol", "/chat/rooms/alice/messages", message).await.status, 201);
    let said = market.transaction("POST /chat/rooms/{room}/messages").await;
    assert_eq!((said.label("module"), said.label("room")), (&json!("chat"), &json!("alice")));
    assert_eq!((said.user(), said.label("message_id")), (&json!("carol"), &json!("1")));

    let listen = Request::get("/chat/rooms/alice/events").header("last-event-id", "1").body(Body::empty()).unwrap();
    let stream = market.begin(listen).await;
    let listening = market.transaction("GET /chat/rooms/{room}/events").await;
    assert_eq!((listening.label("room"), listening.label("reconnected")), (&json!("alice"), &json!(true)));
    assert_eq!((&listening["outcome"], listening.at("/context/user")), (&json!("unknown"), &json!(null)));
    drop(stream);
}
