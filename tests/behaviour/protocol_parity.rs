//! The same expectations hold for every protocol of the exporter.

use std::{
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tower_apm::{
    OtlpProtocol, Outcome, ResponseExt, Transaction, User,
    devserver::Query,
    testkit::{Answer, Kind, TestAgent},
};
use tracing::{Instrument, info_span};

use crate::http::{empty, get as request, send};

const SECRET: &str = "hunter2-and-more";

#[derive(Debug, thiserror::Error)]
#[error("settlement failed")]
struct SettlementError(#[source] ChainError);

#[derive(Debug, thiserror::Error)]
#[error("execution reverted")]
struct ChainError;

async fn buy(tx: Transaction) -> Response {
    tx.set_user(User::id("0xdef").email("ada@example.com").name("Ada"));
    tx.set_label("token_id", "42")
        .set_label("price", 12.5)
        .set_label("vip", true)
        .set_label("type", "gold")
        .set_label("order.id", "o-1");
    tx.set_custom_context(
        "order",
        serde_json::json!({ "buyer": "0xdef", "count": 3, "tags": ["a"], "password": SECRET }),
    );
    let outer = info_span!("settle", step = 1);
    async {
        info_span!("query", otel.kind = "client", db.system = "sqlite", password = SECRET).in_scope(|| ());
        Transaction::current().error(&SettlementError(ChainError)).label("retry", 2).custom("attempt", 2).capture();
    }
    .instrument(outer)
    .await;
    (StatusCode::CREATED, [("x-request-id", "r-1")], "bought").into_response()
}

async fn fails() -> Response {
    StatusCode::BAD_GATEWAY.into_response().with_error(SettlementError(ChainError))
}

fn app(apm: &TestAgent) -> Router {
    Router::new().route("/buy/{id}", post(buy)).route("/fails", get(fails)).layer(apm.layer())
}

/// `None` is Elastic's intake protocol.
const PROTOCOLS: [Option<OtlpProtocol>; 3] = [None, Some(OtlpProtocol::HttpProtobuf), Some(OtlpProtocol::Grpc)];

async fn start(protocol: Option<OtlpProtocol>) -> TestAgent {
    let builder = TestAgent::builder().secret_token("right");
    match protocol {
        Some(protocol) => builder.otlp(protocol).start().await,
        None => builder.start().await,
    }
}

/// The protocols of all received events.
fn protocols(apm: &TestAgent) -> Vec<&'static str> {
    let events = apm.server().store().query(&Query::new()).events;
    let mut protocols: Vec<_> = events.iter().map(|event| event.protocol().as_str()).collect();
    protocols.sort();
    protocols.dedup();
    protocols
}

async fn requests(apm: &TestAgent) {
    let buy = request("/buy/7").method("POST").header("accept", "text/plain").header("cookie", SECRET);
    send(app(apm), empty(buy)).await;
    send(app(apm), empty(request("/fails"))).await;
}

#[tokio::test]
async fn transaction_is_the_same_over_every_protocol() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        requests(&apm).await;
        apm.expect_transaction("POST /buy/{id}")
            .await
            .kind("request")
            .result("HTTP 2xx")
            .outcome("success")
            .status(201)
            .label("token_id", "42")
            .label("price", 12.5)
            .label("vip", true)
            .label("type", "gold")
            .label("order.id", "o-1")
            .no_label("aborted")
            .user_id("0xdef")
            .user_email("ada@example.com")
            .user_name("Ada")
            .custom("/order/buyer", "0xdef")
            .custom("/order/count", 3)
            .custom("/order/tags/0", "a")
            .custom("/order/tags", vec!["a"])
            .request_header("accept", "text/plain")
            .response_header("x-request-id", "r-1")
            .field("/context/request/url/pathname", "/buy/7")
            .span_count(2)
            .no_span("exception")
            .span("settle", |span| span.kind("app", "internal").label("step", 1).child_of("POST /buy/{id}"))
            .span("query", |span| span.kind("db", "sqlite").outcome("success").child_of("settle"))
            .error("SettlementError", |error| error.child_of("settle"));
        let expected = match protocol {
            None => "intake",
            Some(OtlpProtocol::Grpc) => "otlp/grpc",
            Some(_) => "otlp/http",
        };
        assert_eq!(protocols(&apm), [expected]);
    }
}

#[tokio::test]
async fn errors_are_the_same_over_every_protocol() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        requests(&apm).await;
        apm.expect_error("SettlementError")
            .await
            .label("retry", 2)
            .kind("SettlementError")
            .message("settlement failed")
            .caused_by("ChainError")
            .caused_by("execution reverted")
            .handled(true)
            .frame_contains("protocol_parity")
            .user_id("0xdef")
            .custom("/attempt", 2)
            .custom("/order/buyer", "0xdef")
            .child_of("settle");
        apm.expect_error("settlement failed").await.child_of("GET /fails");
        apm.expect_transaction("GET /fails")
            .await
            .outcome("failure")
            .result("HTTP 5xx")
            .error("SettlementError", |e| e);
        assert_eq!(apm.events(Kind::Error).len(), 2, "{protocol:?}");
    }
}

#[tokio::test]
async fn no_secret_is_sent_over_any_protocol() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        requests(&apm).await;
        apm.assert_no_secret(SECRET);
    }
}

#[tokio::test]
async fn late_error_adds_no_visible_span_over_any_protocol() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        let job = apm.agent().start_transaction("settle auctions", "scheduled");
        job.set_outcome(Outcome::Unknown);
        let late = job.in_scope(Transaction::current);
        apm.expect_transaction("settle auctions").await.kind("scheduled").outcome("unknown").no_error();
        late.error(&SettlementError(ChainError)).capture();
        apm.expect_error("SettlementError").await.child_of("settle auctions");
        let job = apm.expect_transaction("settle auctions").await;
        job.span_count(0).no_span("exception").error("settlement failed", |error| error.kind("SettlementError"));
    }
}

#[tokio::test]
async fn failed_expectation_names_the_otlp_label() {
    for protocol in &PROTOCOLS[1..] {
        let apm = start(*protocol).await;
        requests(&apm).await;
        let found = apm.expect_transaction("POST /buy/{id}").await;
        let other = found.clone();
        let user = failure_message(|| drop(found.user_id("0xabc")));
        assert!(user.contains("user id, as the label user_id, is \"0xdef\""), "{user}");
        let custom = failure_message(|| drop(other.custom("/order/buyer", "0xabc")));
        assert!(custom.contains("as the label custom_order_buyer, is \"0xdef\""), "{custom}");
    }
}

/// The message of a check that fails.
fn failure_message(check: impl FnOnce()) -> String {
    let caught = panic::catch_unwind(AssertUnwindSafe(check)).unwrap_err();
    caught.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn temporary_failures_are_retried_over_every_protocol() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        apm.answer([Answer::unavailable(), Answer::cut(), Answer::slow(Duration::from_millis(20))]);
        apm.agent().start_transaction("settle", "scheduled").run(async {}).await;
        apm.expect_transaction("settle").await.outcome("success");
        assert_eq!(apm.server().scripted(), 0, "{protocol:?}");
        let stats = apm.agent().stats();
        assert_eq!((stats.recorded, stats.accepted, stats.dropped.total()), (1, 1, 0), "{protocol:?}");
    }
}
