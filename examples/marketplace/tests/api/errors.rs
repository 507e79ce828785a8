//! Errors as responses: the status, the field and the JSON body.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header::CONTENT_TYPE},
};
use serde_json::json;

use crate::shop::{Shop, request};

#[tokio::test]
async fn invalid_value_is_422_with_the_field() {
    let shop = Shop::open().await;
    for (path, body, field, part) in [
        ("/market/listings", json!({ "seller": "alice", "price": "1" }), "token_id", "is missing"),
        (
            "/market/listings",
            json!({ "token_id": 42, "seller": "alice", "price": "1" }),
            "token_id",
            "expected a string",
        ),
        (
            "/market/listings",
            json!({ "token_id": "", "seller": "alice", "price": "1" }),
            "token_id",
            "must not be empty",
        ),
        (
            "/market/listings",
            json!({ "token_id": "t".repeat(129), "seller": "a", "price": "1" }),
            "token_id",
            "128 are allowed",
        ),
        ("/market/listings", json!({ "token_id": "42", "seller": " ", "price": "1" }), "seller", "must not be empty"),
        (
            "/market/listings",
            json!({ "token_id": "42", "seller": "alice", "price": "cheap" }),
            "price",
            "decimal number",
        ),
        ("/market/listings", json!({ "token_id": "42", "seller": "alice", "price": null }), "price", "decimal number"),
        ("/market/listings", json!({ "token_id": "42", "seller": "alice", "price": 0 }), "price", "above zero"),
        ("/market/listings", json!({ "token_id": "42", "seller": "alice", "price": "-1" }), "price", "above zero"),
        (
            "/market/listings",
            json!({ "token_id": "42", "seller": "alice", "price": "0.0000001" }),
            "price",
            "6 decimals",
        ),
        ("/market/listings", json!([]), "body", "expected"),
        ("/market/listings/1/purchase", json!({}), "buyer", "is missing"),
        ("/market/listings/1/purchase", json!({ "buyer": ["bob"] }), "buyer", "expected a string"),
        ("/wallet/bob/credits", json!({ "amount": "1" }), "reason", "is missing"),
        ("/wallet/bob/credits", json!({ "amount": -1, "reason": "x" }), "amount", "above zero"),
        ("/wallet/bob/debits", json!({ "amount": true, "reason": "x" }), "amount", "decimal number"),
        ("/wallet/bob/debits", json!({ "amount": 1e30, "reason": "x" }), "amount", "below 9 billion"),
    ] {
        let answer = shop.post(path, body.clone()).await;
        println!("{path} {body}");
        answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some(field), part);
    }
}

#[tokio::test]
async fn control_characters_are_refused() {
    let shop = Shop::open().await;
    for control in ["\0", "\n", "\t", "\u{1b}", "\u{7f}", "\u{85}"] {
        let text = format!("a{control}b");
        let refused = |field, path: &'static str, body| {
            let sent = shop.post(path, body);
            async move {
                let part = "must not contain control characters";
                sent.await.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some(field), part);
            }
        };
        let listing = "/market/listings";
        refused("token_id", listing, json!({ "token_id": text, "seller": "alice", "price": "1" })).await;
        refused("seller", listing, json!({ "token_id": "42", "seller": text, "price": "1" })).await;
        refused("buyer", "/market/listings/1/purchase", json!({ "buyer": text })).await;
        for path in ["/wallet/bob/credits", "/wallet/bob/debits"] {
            refused("reason", path, json!({ "amount": "1", "reason": text })).await;
        }
        refused("from", "/chat/rooms/lobby/messages", json!({ "from": text, "text": "hello" })).await;
    }
}

#[tokio::test]
async fn control_characters_in_a_path_are_refused() {
    let shop = Shop::open().await;
    let part = "must not contain control characters";
    for control in ["%00", "%0A", "%7F", "%C2%85"] {
        for read in ["balance", "history"] {
            let answer = shop.get(&format!("/wallet/al{control}ice/{read}")).await;
            answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("user"), part);
        }
        for write in ["credits", "debits"] {
            let path = format!("/wallet/al{control}ice/{write}");
            let answer = shop.post(&path, json!({ "amount": "1", "reason": "x" })).await;
            answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("user"), part);
        }
        let answer = shop.get(&format!("/chat/rooms/lob{control}by/events")).await;
        answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("room"), part);
        let said =
            shop.post(&format!("/chat/rooms/lob{control}by/messages"), json!({ "from": "a", "text": "b" })).await;
        said.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("room"), part);
    }
    let long = format!("/wallet/{}/balance", "a".repeat(129));
    shop.get(&long).await.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("user"), "128 are allowed");
}

#[tokio::test]
async fn message_can_have_lines_and_tabs() {
    let shop = Shop::open().await;
    let path = "/chat/rooms/lobby/messages";
    let said = shop.post(path, json!({ "from": "alice", "text": "one\n\ttwo" })).await;
    assert_eq!((said.status, &said.body["text"]), (201, &json!("one\n\ttwo")));
    for control in ["\0", "\r", "\u{1b}"] {
        let refused = shop.post(path, json!({ "from": "alice", "text": format!("a{control}b") })).await;
        refused.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("text"), "other than newline and tab");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_400() {
    let shop = Shop::open().await;
    for (path, field, part) in [
        ("/market/listings/first", Some("id"), "first"),
        ("/market/listings?status=stolen", Some("status"), "unknown variant"),
        ("/market/listings?limit=-1", Some("limit"), "invalid digit"),
        ("/market/reports/sales?delay_ms=long", Some("delay_ms"), "invalid digit"),
    ] {
        println!("{path}");
        shop.get(path).await.is_error(StatusCode::BAD_REQUEST, field, part);
    }
    let slower = shop.get("/market/reports/sales?delay_ms=5001").await;
    slower.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("delay_ms"), "at most 5000");

    for (content_type, body, part) in [
        ("application/json", "{\"token_id\": ", "not JSON"),
        ("application/json", r#"{"buyer":"bob"} {}"#, "not JSON"),
        ("text/plain", r#"{"buyer":"bob"}"#, "content-type: application/json"),
    ] {
        let request =
            Request::post("/market/listings/1/purchase").header("x-user-id", "bob").header(CONTENT_TYPE, content_type);
        shop.send(request.body(Body::from(body)).unwrap()).await.is_error(StatusCode::BAD_REQUEST, None, part);
    }
}

#[tokio::test]
async fn body_over_the_limit_is_413() {
    let shop = Shop::open().await;
    let answer = shop.post("/wallet/bob/credits", json!({ "amount": 1, "reason": "x".repeat(3 << 20) })).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body["error"].is_string());
}

#[tokio::test]
async fn writes_need_a_user_and_reads_do_not() {
    let shop = Shop::open().await;
    let listing = json!({ "token_id": "42", "seller": "alice", "price": "1" });
    let movement = json!({ "amount": "1", "reason": "x" });
    for (method, path, body, status) in [
        (Method::POST, "/market/listings", Some(listing), 401),
        (Method::POST, "/market/listings/1/purchase", Some(json!({ "buyer": "bob" })), 401),
        (Method::POST, "/wallet/bob/debits", Some(movement.clone()), 401),
        (Method::POST, "/wallet/bob/credits", Some(movement), 200),
        (Method::GET, "/market/listings", None, 200),
        (Method::GET, "/market/reports/sales", None, 200),
        (Method::GET, "/wallet/bob/balance", None, 200),
        (Method::GET, "/wallet/bob/history", None, 200),
    ] {
        let answer = shop.send(request(method, path, None, body)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if status == 401 {
            answer.is_error(StatusCode::UNAUTHORIZED, None, "x-user-id");
        }
    }
    let blank = shop.send(request(Method::GET, "/market/listings", Some(" "), None)).await;
    blank.is_error(StatusCode::UNAUTHORIZED, None, "x-user-id");
}

#[tokio::test]
async fn unknown_route_or_method_is_a_json_error() {
    let shop = Shop::open().await;
    for path in ["/", "/nowhere/at/all", "/market", "/market/nothing", "/wallet/bob"] {
        shop.get(path).await.is_error(StatusCode::NOT_FOUND, None, "nothing at this address");
    }
    for path in ["/market/listings/1", "/wallet/bob/balance", "/chat/rooms/a/events"] {
        let answer = shop.post(path, json!({})).await;
        answer.is_error(StatusCode::METHOD_NOT_ALLOWED, None, "this method");
        assert!(answer.headers.contains_key("allow"), "{path}");
    }
}
