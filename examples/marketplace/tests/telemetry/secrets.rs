//! Sensitive values are not sent.

use axum::{
    body::Body,
    http::{Request, header},
};
use tower_apm::devserver::Query;

use crate::observed::Observed;

#[tokio::test]
async fn secrets_of_requests_are_never_sent() {
    let market = Observed::open().await;
    let body = r#"{"token_id":"revert-1","seller":"alice","price":"1","password":"hunter2"}"#;
    for (method, path, body) in [
        ("POST", "/market/listings?token=hunter2", body),
        ("POST", "/market/listings/1/purchase?api_key=hunter2", r#"{"buyer":"bob","secret":{"deep":"hunter2"}}"#),
        ("POST", "/wallet/bob/credits", r#"{"amount":"1","reason":"x","card_number":"hunter2"}"#),
        ("GET", "/nowhere?session_id=hunter2", ""),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::COOKIE, "session=hunter2; theme=dark")
            .header(header::AUTHORIZATION, "Bearer hunter2")
            .header("x-user-id", "bob");
        market.send(request.body(Body::from(body)).unwrap()).await;
    }
    market.transaction("POST /market/listings").await;
    let all = market.server.store().query(&Query::new());
    assert!(all.total > 10, "{}", all.total);
    for event in &all.events {
        assert!(!event.raw().contains("hunter2"), "{}", event.raw());
    }
    let requests = all.events.iter().filter(|event| event.raw().contains("[REDACTED]")).count();
    assert!(requests >= 4, "redacted values are marked: {requests}");
}
