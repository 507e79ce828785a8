//! What of a request and its response is recorded, and what is not?

use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
    routing::{get, post},
};
use tower_apm::{CaptureBody, Transaction, User, testkit::TestAgent};

use crate::http::{Client, call, empty, get as request, send, serve};

#[tokio::test]
async fn the_request_is_told_in_its_parts() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/listings/{id}", get(async || [("x-page", "2")])).layer(apm.layer());
    let sent = request("/listings/7?sort=price")
        .header("user-agent", "curl/8")
        .header("cookie", "theme=dark; sessionid=hunter2");
    send(app, empty(sent)).await;
    apm.expect_transaction("GET /listings/{id}")
        .await
        .field("/context/request/method", "GET")
        .field("/context/request/http_version", "1.1")
        .field("/context/request/url/protocol", "http")
        .field("/context/request/url/hostname", "shop.example")
        .field("/context/request/url/port", 3000)
        .field("/context/request/url/pathname", "/listings/7")
        .field("/context/request/url/search", "?sort=price")
        .field("/context/request/url/full", "http://shop.example:3000/listings/7?sort=price")
        .request_header("user-agent", "curl/8")
        .request_header("cookie", "[REDACTED]")
        .field("/context/request/cookies/theme", "dark")
        .field("/context/request/cookies/sessionid", "[REDACTED]")
        .response_header("x-page", "2")
        .no_field("/context/request/socket")
        .no_field("/context/request/body");
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn the_peer_of_a_connection_is_known() {
    let apm = TestAgent::start().await;
    let addr = serve(Router::new().route("/", get(async || "ok")), apm.layer()).await;
    Client::send(addr, "GET / HTTP/1.1\nHost: shop.example\nConnection: close").await.read_until("ok").await;
    apm.expect_transaction("GET /").await.field("/context/request/socket/remote_address", "127.0.0.1");
}

#[tokio::test]
async fn headers_can_be_left_out() {
    let apm = TestAgent::builder().configure(|agent| agent.capture_headers(false)).start().await;
    let app = Router::new().route("/", get(async || [("x-page", "2")])).layer(apm.layer());
    send(app, empty(request("/").header("cookie", "theme=dark"))).await;
    apm.expect_transaction("GET /")
        .await
        .status(200)
        .no_field("/context/request/headers")
        .no_field("/context/request/cookies")
        .no_field("/context/response/headers");
}

#[tokio::test]
async fn secrets_are_taken_out_wherever_they_stand() {
    let apm = TestAgent::builder().configure(|agent| agent.capture_body(CaptureBody::All)).start().await;
    let handler = async |tx: Transaction, _: Bytes| {
        tx.custom("order", serde_json::json!({ "payment": { "card_number": "hunter2" }, "token_id": "42" }));
        [("set-cookie", "session=hunter2")]
    };
    let app = Router::new().route("/", post(handler)).layer(apm.layer());
    let body = serde_json::json!({ "user": "0xdef", "deep": [{ "password": "hunter2" }] }).to_string();
    let sent = Request::post("/?api_key=hunter2&page=2").header("authorization", "Bearer hunter2");
    let sent = sent.header("x-auth-token", "hunter2").header(header::CONTENT_TYPE, "application/json");
    send(app, sent.body(body.into()).unwrap()).await;
    let transaction = apm
        .expect_transaction("POST /")
        .await
        .custom("/order/token_id", "42")
        .request_header("authorization", "[REDACTED]")
        .response_header("set-cookie", "[REDACTED]")
        .field_contains("/context/request/body", "0xdef");
    assert!(transaction.json()["context"]["request"]["url"]["search"].as_str().unwrap().contains("page=2"));
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn bodies_are_captured_as_the_option_says() {
    for (option, of_transaction, of_error) in [
        (CaptureBody::Off, false, false),
        (CaptureBody::Errors, false, true),
        (CaptureBody::Transactions, true, false),
        (CaptureBody::All, true, true),
    ] {
        let apm = TestAgent::builder().configure(move |agent| agent.capture_body(option)).start().await;
        let handler = async |tx: Transaction, body: String| {
            tx.capture_error(&std::io::Error::other("no such room"));
            body
        };
        let app = Router::new().route("/", post(handler)).layer(apm.layer());
        let sent = Request::post("/").header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        let response = send(app, sent.body("what the handler reads".into()).unwrap()).await;
        assert_eq!(response.body(), "what the handler reads");
        let has = |event: &serde_json::Value| event.pointer("/context/request/body").is_some();
        assert_eq!(has(apm.expect_transaction("POST /").await.json()), of_transaction, "{option:?}");
        assert_eq!(has(apm.expect_error("no such room").await.json()), of_error, "{option:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_text_or_too_long_is_not_kept_whole() {
    let apm = TestAgent::builder().configure(|agent| agent.capture_body(CaptureBody::All)).start().await;
    let read = async |body: Bytes| body.len().to_string();
    let app = Router::new().route("/", post(read)).route("/other", post(read)).layer(apm.layer());
    let sent = |path: &str, kind: &str| {
        Request::post(path).header(header::CONTENT_TYPE, kind).body(Body::from("x".repeat(50_000))).unwrap()
    };
    assert_eq!(send(app.clone(), sent("/", "text/plain")).await.body(), "50000");
    assert_eq!(send(app, sent("/other", "application/octet-stream")).await.body(), "50000");
    let long = apm.expect_transaction("POST /").await;
    assert!(long.json()["context"]["request"]["body"].as_str().unwrap().chars().count() <= 10_000);
    apm.expect_transaction("POST /other").await.no_field("/context/request/body");
}

#[tokio::test]
async fn a_handler_tells_what_only_it_knows() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.user(User::id("0xdef").email("def@example.org").name("Deffie"));
        tx.label("token_id", "42").label("price", 1.5).label("first", true).label("a.b", 3);
        tx.custom("order", serde_json::json!({ "old": true })).custom("order", serde_json::json!({ "buyer": "0xdef" }));
        tx.name("buy a token").result("settled").outcome(tower_apm::Outcome::Unknown);
        Json(tx.trace_id().unwrap().to_string())
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("buy a token")
        .await
        .user_id("0xdef")
        .user_email("def@example.org")
        .user_name("Deffie")
        .label("token_id", "42")
        .label("price", 1.5)
        .label("first", true)
        .label("a_b", 3)
        .custom("/order", serde_json::json!({ "buyer": "0xdef" }))
        .result("settled")
        .outcome("unknown");
}

#[tokio::test]
async fn the_transaction_is_found_in_every_function_below() {
    async fn authenticate() {
        tokio::task::yield_now().await;
        Transaction::current().user(User::id("0xabc"));
    }
    let apm = TestAgent::start().await;
    let handler = async || {
        authenticate().await;
        StatusCode::NO_CONTENT
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.user_id("0xabc").status(204);
    assert!(!Transaction::current().is_active());
}

#[tokio::test]
async fn custom_context_is_bounded() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.custom("small", 1).custom("large", "x".repeat(70_000)).custom("last", 2);
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /")
        .await
        .custom("/small", 1)
        .custom("/last", 2)
        .custom("/large", "[left out: too large]");
}

#[tokio::test]
async fn an_incoming_trace_is_continued() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    send(app, empty(request("/").header("traceparent", parent))).await;
    apm.expect_transaction("GET /")
        .await
        .field("/trace_id", "0af7651916cd43dd8448eb211c80319c")
        .field("/parent_id", "b7ad6b7169203331");
}
