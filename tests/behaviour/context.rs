//! The recorded context of requests and responses.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
    routing::{get, post},
};
use tower_apm::{CaptureBody, Transaction, User, testkit::TestAgent};

use crate::http::{Client, call, empty, get as request, send, serve};

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn request_method_url_headers_and_cookies_are_recorded() {
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
async fn peer_address_is_recorded() {
    let apm = TestAgent::start().await;
    let addr = serve(Router::new().route("/", get(async || "ok")), apm.layer()).await;
    Client::send(addr, "GET / HTTP/1.1\nHost: shop.example\nConnection: close").await.read_until("ok").await;
    apm.expect_transaction("GET /").await.field("/context/request/socket/remote_address", "127.0.0.1");
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn capture_headers_off_records_no_headers_and_cookies() {
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
async fn secrets_in_headers_urls_bodies_and_custom_context_are_redacted() {
    let apm = TestAgent::builder().configure(|agent| agent.capture_body(CaptureBody::All)).start().await;
    let handler = async |tx: Transaction, _: Bytes| {
        tx.set_custom_context(
            "order",
            serde_json::json!({ "payment": { "card_number": "hunter2" }, "token_id": "42" }),
        );
        let next = "/orders/7?status=open&token=hunter2";
        [("set-cookie", "session=hunter2"), ("location", next), ("link", "<https://shop/?token=hunter2>; rel=next")]
    };
    let app = Router::new().route("/", post(handler)).layer(apm.layer());
    let body = serde_json::json!({ "user": "0xdef", "deep": [{ "password": "hunter2" }] }).to_string();
    let sent = Request::post("/?api_key=hunter2&page=2").header("authorization", "Bearer hunter2");
    let sent = sent.header("referer", "https://shop.example/login?password=hun;ter2&from=home");
    let sent = sent.header("x-original-url", "/?token=hunter2").header("x-callback", "https://u:hunter2@h/");
    let sent = sent.header("x-auth-token", "hunter2").header(header::CONTENT_TYPE, "application/json");
    send(app, sent.body(body.into()).unwrap()).await;
    let transaction = apm
        .expect_transaction("POST /")
        .await
        .custom("/order/token_id", "42")
        .request_header("authorization", "[REDACTED]")
        .request_header("referer", "https://shop.example/login?password=[REDACTED]&from=home")
        .request_header("x-original-url", "/?token=[REDACTED]")
        .response_header("set-cookie", "[REDACTED]")
        .response_header("location", "/orders/7?status=open&token=[REDACTED]")
        .response_header("link", "<https://shop/?token=[REDACTED]>; rel=next")
        .field_contains("/context/request/body", "0xdef");
    assert!(transaction.json()["context"]["request"]["url"]["search"].as_str().unwrap().contains("page=2"));
    apm.assert_no_secret("hunter2");
}

// spec: tracing-instrumentation-http.md, sanitization.md
#[tokio::test]
async fn capture_body_selects_transactions_and_errors() {
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
async fn long_body_is_truncated_and_binary_body_is_omitted() {
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
async fn handler_sets_user_labels_custom_context_name_result_and_outcome() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_user(User::id("0xdef").email("def@example.org").name("Deffie"));
        tx.set_label("token_id", "42").set_label("price", 1.5).set_label("first", true).set_label("a.b", 3);
        tx.set_custom_context("order", serde_json::json!({ "old": true }))
            .set_custom_context("order", serde_json::json!({ "buyer": "0xdef" }));
        tx.set_name("buy a token").set_result("settled").set_outcome(tower_apm::Outcome::Unknown);
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
async fn current_transaction_is_available_in_called_functions() {
    async fn authenticate() {
        tokio::task::yield_now().await;
        Transaction::current().set_user(User::id("0xabc"));
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
async fn too_large_custom_context_is_replaced_by_a_note() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_custom_context("small", 1).set_custom_context("large", "x".repeat(70_000)).set_custom_context("last", 2);
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /")
        .await
        .custom("/small", 1)
        .custom("/last", 2)
        .custom("/large", "[left out: too large]");
}

// spec: sanitization.md
#[tokio::test]
async fn forms_and_cookies_are_redacted() {
    let apm = TestAgent::builder().configure(|agent| agent.capture_body(CaptureBody::All)).start().await;
    let app = Router::new().route("/", post(async |_: Bytes| "ok")).layer(apm.layer());
    let kind = "application/x-www-form-urlencoded; charset=UTF-8";
    let sent = Request::post("/").header(header::CONTENT_TYPE, kind);
    let sent =
        sent.header("cookie", "theme=dark; session=hunter2").header("cookie", "lang=de;a_token=hunter2; token_id=42");
    send(app, sent.body("item=7&password=hunter2&p%61ssword=hun%26ter2&token=x;hunter2".into()).unwrap()).await;
    apm.expect_transaction("POST /")
        .await
        .field("/context/request/body", "item=7&password=[REDACTED]&p%61ssword=[REDACTED]&token=[REDACTED]")
        .field("/context/request/cookies/theme", "dark")
        .field("/context/request/cookies/session", "[REDACTED]")
        .field("/context/request/cookies/lang", "de")
        .field("/context/request/cookies/a_token", "[REDACTED]")
        .field("/context/request/cookies/token_id", "42")
        .field("/context/request/headers/cookie", serde_json::json!(["[REDACTED]", "[REDACTED]"]));
    apm.assert_no_secret("hunter2");
}

struct Panics;

impl serde::Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in a Serialize")
    }
}

impl std::fmt::Display for Panics {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in a Display")
    }
}

#[tokio::test]
async fn panicking_values_are_omitted_and_counted() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_custom_context("bad", Panics).set_custom_context("after", 1).set_user(User::id(Panics).name("Ada"));
        tx.error(&std::io::Error::other("no such room")).custom("bad", Panics).capture();
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /")
        .await
        .custom("/bad", "[left out: its Serialize panicked]")
        .custom("/after", 1)
        .user_name("Ada")
        .no_field("/context/user/id");
    apm.expect_error("no such room").await;
    assert_eq!(apm.agent().stats().contained_panics, 3);
}

/// A list whose elements serialize slowly.
struct Slow;

impl serde::Serialize for Slow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..10_000).inspect(|_| std::thread::sleep(std::time::Duration::from_millis(20))))
    }
}

#[tokio::test]
async fn slow_value_is_stopped_and_counted() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_custom_context("slow", Slow).set_custom_context("after", 1);
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.custom("/slow", "[left out: too slow]").custom("/after", 1);
    assert!(apm.agent().stats().slow_hooks >= 1);
}

// spec: field-limits.md
#[tokio::test]
async fn deep_values_and_long_keys_of_custom_context_are_truncated() {
    struct Deep(usize);
    impl serde::Serialize for Deep {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("below", Deep(self.0 - 1))])
        }
    }
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_custom_context("deep", Deep(100_000))
            .set_custom_context("keys", serde_json::json!({ "k".repeat(60_000): 1 }));
        tx.set_custom_context("k".repeat(60_000), 1);
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    let transaction =
        apm.expect_transaction("GET /").await.custom(&"/below".repeat(32).replacen("/", "/deep/", 1), "…");
    let custom = &transaction.json()["context"]["custom"];
    let cut = "k".repeat(1023) + "…";
    assert_eq!(custom["keys"], serde_json::json!({ &cut: 1 }));
    assert_eq!(custom[&cut], 1);
}

// spec: field-limits.md
#[tokio::test]
async fn header_values_are_truncated_to_1024_characters() {
    let apm = TestAgent::start().await;
    let long = "ä".repeat(20_000);
    let answer = long.clone();
    let handler = async move || [("x-long", http::HeaderValue::from_bytes(answer.as_bytes()).unwrap())];
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    send(app, empty(request("/").header("x-long", http::HeaderValue::from_bytes(long.as_bytes()).unwrap()))).await;
    let cut = "ä".repeat(1023) + "…";
    apm.expect_transaction("GET /").await.request_header("x-long", &cut).response_header("x-long", &cut);
}

#[tokio::test]
async fn too_long_event_is_truncated_and_counted() {
    let apm = TestAgent::builder().configure(|agent| agent.long_field_max_length(1_048_576)).start().await;
    let handler = async |tx: Transaction| {
        tx.error(&std::io::Error::other("m".repeat(400_000))).capture();
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error(&("m".repeat(9_999) + "…")).await;
    apm.agent().flush(std::time::Duration::from_secs(30)).await.unwrap();
    let stats = apm.agent().stats();
    assert_eq!((stats.truncated, stats.dropped.total()), (1, 0), "{stats}");
}

// spec: tracing-distributed-tracing.md
#[tokio::test]
async fn incoming_trace_is_continued() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    send(app, empty(request("/").header("traceparent", parent))).await;
    apm.expect_transaction("GET /")
        .await
        .field("/trace_id", "0af7651916cd43dd8448eb211c80319c")
        .field("/parent_id", "b7ad6b7169203331");
}
