//! Event streams and web sockets: their work belongs to the request that opened them.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{
        WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response, Sse, sse},
    routing::get,
};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use tower_apm::{
    AgentBuilder, ApmFutureExt, Outcome, Transaction,
    testkit::{Kind, TestAgent},
};
use tracing::{Instrument, info_span};

use crate::client::{self, connect, exchange};

/// The trace ids that were current in the code of a stream.
type Seen = Arc<Mutex<Vec<String>>>;

fn current_trace_id() -> String {
    Transaction::current().trace_id().map(|id| id.to_string()).unwrap_or_default()
}

/// An event stream with `count` events that runs a query for each event and then waits.
fn prices(count: usize, seen: &Seen) -> impl IntoResponse + use<> {
    let seen = seen.clone();
    let events = stream::iter(0..count).then(move |_| {
        seen.lock().unwrap().push(current_trace_id());
        let query = info_span!("SELECT price", otel.kind = "client", db.system = "postgresql");
        async { Ok::<_, Infallible>(sse::Event::default().data("7")) }.instrument(query)
    });
    Sse::new(events.chain(stream::pending()))
}

/// Reads this number of frames of a body and drops the rest, like a client that disconnects.
async fn read(response: Response, frames: usize) {
    let mut body = response.into_body();
    for _ in 0..frames {
        body.frame().await.unwrap().unwrap();
    }
}

fn event_stream(body: Body) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/event-stream")], body)
}

#[tokio::test]
async fn work_of_an_event_stream_belongs_to_its_request() {
    let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        async move || prices(3, &seen)
    };
    let app = Router::new().route("/prices", get(handler)).layer(apm.layer());
    read(client::get(app, "/prices").await, 3).await;

    let transaction = apm.expect_transaction("GET /prices").await;
    let id = transaction.json()["id"].as_str().unwrap().to_owned();
    apm.expect_span("SELECT price").await.kind("db", "postgresql").child_of("GET /prices");
    apm.flush().await;
    let spans = apm.events(Kind::Span);
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| span["transaction_id"] == id.as_str()), "{spans:?}");
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
    let trace_id = transaction.json()["trace_id"].as_str().unwrap().to_owned();
    assert_eq!(*seen.lock().unwrap(), vec![trace_id; 3]);
}

#[tokio::test]
async fn event_stream_ends_at_its_head_with_an_unknown_outcome() {
    let apm = TestAgent::start().await;
    let handler = async || prices(1, &Seen::default());
    let app = Router::new().route("/prices", get(handler)).layer(apm.layer());
    let response = client::get(app, "/prices").await;
    // the response is still held
    apm.expect_transaction("GET /prices")
        .await
        .status(200)
        .outcome("unknown")
        .no_label("aborted")
        .field("/context/response/finished", false);
    drop(response);
}

#[tokio::test]
async fn event_stream_with_status_500_is_a_failure() {
    let apm = TestAgent::start().await;
    let handler = async || {
        (StatusCode::BAD_GATEWAY, event_stream(Body::from_stream(stream::pending::<Result<String, Infallible>>())))
    };
    let app = Router::new().route("/prices", get(handler)).layer(apm.layer());
    drop(client::get(app, "/prices").await);
    apm.expect_transaction("GET /prices").await.outcome("failure");
}

#[tokio::test]
async fn outcome_of_an_event_stream_that_the_handler_sets_is_kept() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_outcome(Outcome::Success);
        prices(1, &Seen::default())
    };
    let app = Router::new().route("/prices", get(handler)).layer(apm.layer());
    drop(client::get(app, "/prices").await);
    apm.expect_transaction("GET /prices").await.outcome("success");
}

#[tokio::test]
async fn error_and_panic_in_an_event_stream_are_recorded_with_the_request() {
    let apm = TestAgent::start().await;
    let broken = async || {
        event_stream(Body::from_stream(stream::iter([Ok("data: 1\n\n"), Err(io::Error::other("feed closed"))])))
    };
    let exploding = async || {
        let frames = stream::once(async { panic!("feed exploded") });
        event_stream(Body::from_stream(frames.map(|()| Ok::<_, Infallible>("data"))))
    };
    let app = Router::new().route("/broken", get(broken)).route("/exploding", get(exploding)).layer(apm.layer());

    let body = client::get(app.clone(), "/broken").await.into_body();
    body.collect().await.unwrap_err();
    let id = apm.expect_transaction("GET /broken").await.json()["id"].clone();
    let error = apm.expect_error("feed closed").await.handled(false);
    assert_eq!((&error.json()["transaction_id"], &error.json()["parent_id"]), (&id, &id));

    let body = client::get(app, "/exploding").await.into_body();
    tokio::spawn(body.collect()).await.unwrap_err();
    let id = apm.expect_transaction("GET /exploding").await.json()["id"].clone();
    assert_eq!(apm.expect_error("feed exploded").await.handled(false).json()["transaction_id"], id);
    assert_eq!(apm.events(Kind::Error).len(), 2);
}

/// Enters a span when it is dropped.
struct Closes;

impl Drop for Closes {
    fn drop(&mut self) {
        info_span!("close feed").in_scope(|| ());
    }
}

#[tokio::test]
async fn event_stream_is_dropped_as_a_part_of_its_request() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let closes = Closes;
        let frames = stream::once(async { Ok::<_, Infallible>("data: 1\n\n") }).chain(stream::pending());
        event_stream(Body::from_stream(frames.inspect(move |_| _ = &closes)))
    };
    let app = Router::new().route("/prices", get(handler)).layer(apm.layer());
    read(client::get(app, "/prices").await.into_response(), 1).await;
    apm.expect_span("close feed").await.child_of("GET /prices");
}

#[tokio::test]
async fn spans_of_a_long_stream_are_limited_and_counted() {
    let configure = |agent: AgentBuilder| agent.transaction_max_spans(5).span_compression_enabled(false);
    let apm = TestAgent::builder().configure(configure).start().await;
    let handler = async || prices(20, &Seen::default());
    let app = Router::new().route("/prices", get(handler)).layer(apm.layer());
    read(client::get(app, "/prices").await.into_response(), 20).await;
    apm.expect_transaction("GET /prices").await;
    apm.flush().await;
    assert_eq!(apm.events(Kind::Span).len(), 5);
    assert_eq!(apm.agent().stats().dropped.total(), 15, "{}", apm.agent().stats());
}

async fn serve(mut socket: WebSocket) {
    info_span!("load history").in_scope(|| ());
    let _ = socket.send(Message::text(format!("hello from {}", current_trace_id()))).await;
}

#[tokio::test]
async fn work_of_a_web_socket_with_in_transaction_belongs_to_its_request() {
    let apm = TestAgent::start().await;
    let upgrade = async |tx: Transaction, upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(|socket| serve(socket).in_transaction(tx))
    };
    let mut connection = connect(Router::new().route("/chat", get(upgrade)).layer(apm.layer())).await;
    let head = "GET /chat HTTP/1.1\nHost: shop.example\nConnection: Upgrade\nUpgrade: websocket\n\
                Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let greeting = exchange(&mut connection, head, "hello from", 32).await;
    let transaction = apm.expect_transaction("GET /chat").await.status(101).outcome("success");
    assert!(greeting.ends_with(transaction.json()["trace_id"].as_str().unwrap()), "{greeting}");
    apm.expect_span("load history").await.child_of("GET /chat");
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
}
