//! When transactions end, and with which outcome.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{WebSocketUpgrade, ws::Message},
    http::{Method, Request, Response, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures_util::stream;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_apm::testkit::{ExpectedError, Kind, TestAgent};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use crate::http::{Client, call, empty, get as request, send, serve};

fn chunks() -> Body {
    Body::from_stream(stream::iter(["one", "two"].map(Ok::<_, Infallible>)))
}

#[tokio::test]
async fn complete_response_is_finished() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer());
    assert_eq!(call(app, "/").await.body(), "ok");
    apm.expect_transaction("GET /")
        .await
        .result("HTTP 2xx")
        .outcome("success")
        .field("/context/response/finished", true)
        .field("/context/response/headers_sent", true)
        .no_field("/marks")
        .no_label("aborted");
}

// spec: tracing-transactions.md
#[tokio::test]
async fn server_error_status_is_a_failure() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || StatusCode::SERVICE_UNAVAILABLE)).layer(apm.layer());
    call(app, "/").await;
    let error = "GET / returned 503 Service Unavailable";
    apm.expect_transaction("GET /").await.result("HTTP 5xx").outcome("failure").error(error, |error| error);
}

#[tokio::test]
async fn unread_bodies_of_head_and_304_responses_are_complete() {
    let apm = TestAgent::start().await;
    let app = Router::new()
        .route("/", get(async || chunks()))
        .route("/304", get(async || (StatusCode::NOT_MODIFIED, chunks())))
        .layer(apm.layer());
    drop(app.clone().oneshot(empty(request("/").method(Method::HEAD))).await.unwrap());
    apm.expect_transaction("HEAD /")
        .await
        .outcome("success")
        .no_label("aborted")
        .field("/context/response/finished", true);
    drop(app.oneshot(empty(request("/304"))).await.unwrap());
    apm.expect_transaction("GET /304").await.result("HTTP 3xx").outcome("success").no_label("aborted");
}

#[tokio::test]
async fn unread_buffered_body_is_complete() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer());
    drop(app.oneshot(empty(request("/"))).await.unwrap());
    apm.expect_transaction("GET /").await.outcome("success").no_label("aborted");
}

#[tokio::test]
async fn streamed_response_ends_with_its_last_chunk() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || chunks())).layer(apm.layer());
    assert_eq!(call(app, "/").await.body(), "onetwo");
    let transaction = apm.expect_transaction("GET /").await.outcome("success").no_label("aborted");
    let first = transaction.json()["marks"]["agent"]["timeToFirstByte"].as_f64().unwrap();
    assert!(first <= transaction.json()["duration"].as_f64().unwrap());
}

#[tokio::test]
async fn stream_with_content_length_ends_with_its_last_byte() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || ([(header::CONTENT_LENGTH, "6")], chunks()))).layer(apm.layer());
    let mut body = app.oneshot(empty(request("/"))).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    drop(body);
    apm.expect_transaction("GET /").await.outcome("success").no_label("aborted");
}

#[tokio::test]
async fn trailers_are_passed_on() {
    let apm = TestAgent::start().await;
    let service = ServiceBuilder::new().layer(apm.layer()).service_fn(async |_: Request<Body>| {
        let trailers = [(header::ETAG, "x".parse().unwrap())].into_iter().collect();
        let body = http_body_util::Full::new(Bytes::from("ok")).with_trailers(std::future::ready(Some(Ok(trailers))));
        Ok::<_, Infallible>(Response::new(body))
    });
    let body = service.oneshot(empty(request("/"))).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()[header::ETAG], "x");
    apm.expect_transaction("GET unknown route").await.outcome("success");
}

#[tokio::test]
async fn service_error_is_an_unhandled_error() {
    let apm = TestAgent::start().await;
    let service = ServiceBuilder::new()
        .layer(apm.layer())
        .service_fn(async |_: Request<Body>| Err::<Response<Body>, _>(io::Error::other("the disk is full")));
    service.oneshot(empty(request("/"))).await.unwrap_err();
    apm.expect_transaction("GET unknown route")
        .await
        .outcome("failure")
        .no_field("/context/response/status_code")
        .error("the disk is full", |error| error.handled(false));
}

#[tokio::test]
async fn body_error_is_a_failure() {
    let apm = TestAgent::start().await;
    let broken = async || Body::from_stream(stream::iter([Ok("one"), Err(io::Error::other("the pipe broke"))]));
    let app = Router::new().route("/", get(broken)).layer(apm.layer());
    app.oneshot(empty(request("/"))).await.unwrap().into_body().collect().await.unwrap_err();
    apm.expect_transaction("GET /")
        .await
        .status(200)
        .outcome("failure")
        .no_label("aborted")
        .field("/context/response/finished", false)
        .error("the pipe broke", |error| error.handled(false));
}

#[tokio::test]
async fn dropped_request_is_aborted_without_status() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(std::future::pending::<()>)).layer(apm.layer());
    let timeout = tokio::time::timeout(Duration::from_millis(20), app.oneshot(empty(request("/")))).await;
    assert!(timeout.is_err());
    apm.expect_transaction("GET /").await.aborted().no_field("/result").no_field("/context/response");
}

#[tokio::test]
async fn partly_read_body_is_aborted() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || chunks())).layer(apm.layer());
    let mut body = app.oneshot(empty(request("/"))).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    apm.expect_transaction("GET /").await.aborted().status(200).field("/context/response/finished", false);
}

#[tokio::test]
async fn client_disconnect_aborts_the_transaction() {
    let apm = TestAgent::start().await;
    let received = Arc::new(Notify::new());
    let handler = {
        let received = received.clone();
        async move || {
            received.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let addr = serve(Router::new().route("/", get(handler)), apm.layer()).await;
    let client = Client::send(addr, "GET / HTTP/1.1\nHost: shop.example").await;
    received.notified().await;
    drop(client);
    apm.expect_transaction("GET /").await.aborted();
}

#[tokio::test]
async fn timeout_layer_outside_aborts_the_transaction() {
    let apm = TestAgent::start().await;
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20));
    let app = Router::new().route("/", get(std::future::pending::<()>)).layer(apm.layer()).layer(timeout);
    assert_eq!(call(app, "/").await.status(), 408);
    apm.expect_transaction("GET /").await.aborted();
}

#[tokio::test]
async fn timeout_layer_inside_sets_the_status() {
    let apm = TestAgent::start().await;
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20));
    let app = Router::new().route("/", get(std::future::pending::<()>)).layer(timeout).layer(apm.layer());
    call(app, "/").await;
    apm.expect_transaction("GET /").await.status(408).no_label("aborted");
}

async fn explode() -> &'static str {
    tokio::task::yield_now().await;
    panic!("boom")
}

fn is_where_it_was(error: ExpectedError) -> ExpectedError {
    error.kind("panic").handled(false).frame_contains("transaction_end.rs").culprit_contains("explode")
}

#[tokio::test]
async fn panic_is_recorded_and_resumed() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(explode)).layer(apm.layer());
    let panicked = tokio::spawn(app.oneshot(empty(request("/")))).await.unwrap_err();
    assert_eq!(*panicked.into_panic().downcast::<&str>().unwrap(), "boom");
    apm.expect_transaction("GET /")
        .await
        .outcome("failure")
        .no_field("/context/response")
        .error("boom", is_where_it_was);
    assert_eq!(apm.events(Kind::Error).len(), 1);
}

#[tokio::test]
async fn panic_caught_outside_the_layer_is_recorded_once() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(explode)).layer(apm.layer()).layer(CatchPanicLayer::new());
    assert_eq!(call(app, "/").await.status(), 500);
    apm.expect_transaction("GET /").await.outcome("failure").error("boom", is_where_it_was);
    assert_eq!(apm.events(Kind::Error).len(), 1);
}

#[tokio::test]
async fn panic_caught_inside_the_layer_is_recorded_with_the_status() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(explode)).layer(CatchPanicLayer::new()).layer(apm.layer());
    assert_eq!(call(app, "/").await.status(), 500);
    apm.expect_transaction("GET /").await.outcome("failure").status(500).error("boom", is_where_it_was);
    assert_eq!(apm.events(Kind::Error).len(), 1);
}

#[tokio::test]
async fn web_socket_transaction_ends_at_the_upgrade() {
    let apm = TestAgent::start().await;
    let upgrade = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| {
            let _ = socket.send(Message::text("hello from the socket")).await;
            let _ = socket.recv().await;
        })
    };
    let addr = serve(Router::new().route("/chat", get(upgrade)), apm.layer()).await;
    let head = "GET /chat HTTP/1.1\nHost: shop.example\nConnection: Upgrade\nUpgrade: websocket\n\
                Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let mut client = Client::send(addr, head).await;
    client.read_until("hello from the socket").await;
    apm.expect_transaction("GET /chat").await.status(101).result("HTTP 1xx").outcome("success").no_label("aborted");
}

#[tokio::test]
async fn every_kind_of_body_is_complete_over_a_socket() {
    let apm = TestAgent::start().await;
    let app = Router::new()
        .route("/text", get(async || "text"))
        .route("/empty", get(async || ()))
        .route("/stream", get(async || chunks()))
        .route("/length", get(async || ([(header::CONTENT_LENGTH, "6")], chunks())));
    let addr = serve(app, apm.layer()).await;
    for (path, end) in
        [("/text", "text"), ("/empty", "\r\n\r\n"), ("/stream", "two\r\n0\r\n\r\n"), ("/length", "onetwo")]
    {
        let mut client =
            Client::send(addr, &format!("GET {path} HTTP/1.1\nHost: shop.example\nConnection: close")).await;
        client.read_until(end).await;
        apm.expect_transaction(&format!("GET {path}")).await.outcome("success").no_label("aborted");
    }
    let mut client = Client::send(addr, "HEAD /stream HTTP/1.1\nHost: shop.example\nConnection: close").await;
    client.read_until("\r\n\r\n").await;
    apm.expect_transaction("HEAD /stream").await.outcome("success").no_label("aborted");
}

#[tokio::test]
async fn writes_after_the_end_are_counted() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async |tx: tower_apm::Transaction| axum::Extension(tx).into_response()));
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = kept.clone();
    let app = app.layer(apm.layer().on_request(move |tx, _| *keep.lock().unwrap() = Some(tx.clone())));
    send(app, empty(request("/"))).await;
    apm.expect_transaction("GET /").await;
    kept.lock().unwrap().take().unwrap().set_label("late", true);
    assert_eq!(apm.agent().stats().late_writes, 1);
}

#[tokio::test]
async fn transaction_of_a_service_fn_ends() {
    let apm = TestAgent::start().await;
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(chunks())));
    send(ServiceBuilder::new().layer(apm.layer()).service(service), empty(request("/"))).await;
    apm.expect_transaction("GET unknown route").await.outcome("success").field("/context/response/finished", true);
}
