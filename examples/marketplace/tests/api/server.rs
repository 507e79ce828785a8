//! The layers around the handlers.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request},
};
use marketplace::config::Config;

use crate::shop::{Shop, request};

#[tokio::test]
async fn every_response_has_a_request_id() {
    let shop = Shop::open().await;
    let own = Request::get("/market/listings").header("x-request-id", "mine").body(Body::empty()).unwrap();
    assert_eq!(shop.send(own).await.headers["x-request-id"], "mine");
    let (first, second) = (shop.get("/market/listings").await, shop.get("/nowhere").await);
    assert_ne!(first.headers["x-request-id"], second.headers["x-request-id"]);
}

#[tokio::test]
async fn cors_preflight_of_any_origin_succeeds() {
    let shop = Shop::open().await;
    let preflight = Request::options("/market/listings")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    let answer = shop.send(preflight).await;
    assert_eq!((answer.status, &answer.headers["access-control-allow-origin"]), (200, &"*".parse().unwrap()));
}

#[tokio::test]
async fn long_responses_are_compressed_if_the_client_accepts_gzip() {
    let shop = Shop::open().await;
    for token in 0..20 {
        shop.list(&token.to_string(), "1").await;
    }
    let addr = shop.serve().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let listings = http.get(format!("http://{addr}/market/listings"));
    let plain = listings.try_clone().unwrap().send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let compressed = listings.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    assert!(compressed.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
}

#[tokio::test]
async fn request_over_the_time_limit_is_408() {
    let shop = Shop::with(Config { request_timeout: Duration::from_millis(50), ..Config::default() }).await;
    let answer = shop.send(request(Method::GET, "/market/reports/sales?delay_ms=5000", None, None)).await;
    assert_eq!(answer.status, 408);
}
