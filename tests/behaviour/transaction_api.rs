//! Tests of `discard`, `end`, `capture_message` and `is_recording`.

use std::sync::{Arc, Mutex};

use axum::{Router, routing::get};
use http::HeaderMap;
use serde_json::Value;
use tower_apm::{
    FinishedTransaction, OtlpProtocol, Transaction, User, devserver::Kind, testkit::TestAgent, trace_context,
};
use tracing::info_span;

use crate::http::call;

#[tokio::test]
async fn discarded_transaction_and_its_spans_are_not_sent() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        let job = apm.agent().start_transaction("poll", "scheduled");
        job.in_scope(|| {
            let open = info_span!("open").entered();
            Transaction::current().discard();
            drop(open);
            info_span!("later").in_scope(|| ());
        });
        apm.agent().start_transaction("kept", "scheduled").in_scope(|| info_span!("kept span").in_scope(|| ()));
        apm.expect_transaction("kept").await.span("kept span", |span| span);
        apm.flush().await;
        assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (1, 1), "{protocol:?}");
        let stats = apm.agent().stats();
        assert_eq!(stats.discarded, 2, "the transaction and the span that was open: {stats}");
    }
}

#[tokio::test]
async fn spans_that_a_filter_holds_back_are_discarded_with_their_transaction() {
    let keep = |_: &FinishedTransaction<'_>| true;
    let apm = TestAgent::builder().configure(move |agent| agent.transaction_filter(keep)).start().await;
    let job = apm.agent().start_transaction("poll", "scheduled");
    job.in_scope(|| {
        info_span!("before").in_scope(|| ());
        Transaction::current().discard();
    });
    apm.flush().await;
    assert!(apm.events(Kind::Span).is_empty() && apm.events(Kind::Transaction).is_empty());
    let stats = apm.agent().stats();
    assert_eq!((stats.discarded, stats.filtered), (2, 0), "{stats}");
}

#[tokio::test]
async fn discarded_request_propagates_the_trace_as_not_sampled() {
    let apm = TestAgent::start().await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let headers = sent.clone();
    let handler = async move |tx: Transaction| {
        for discards in [false, true] {
            if discards {
                tx.discard();
            }
            let mut call = HeaderMap::new();
            trace_context::inject(&mut call);
            headers.lock().unwrap().push((tx.trace_id().unwrap().to_string(), call));
        }
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    let sent = sent.lock().unwrap();
    for ((trace_id, call), (flags, rate)) in sent.iter().zip([("-01", "es=s:1"), ("-00", "es=s:0")]) {
        let parent = call["traceparent"].to_str().unwrap();
        assert!(parent.contains(trace_id.as_str()) && parent.ends_with(flags), "{parent}");
        assert_eq!(call["tracestate"], rate);
    }
}

#[tokio::test]
async fn errors_of_a_discarded_transaction_are_sent_with_its_context() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("poll", "scheduled");
    job.set_user(User::id("0xabc")).discard().set_label("round", 3).capture_error(&std::io::Error::other("no news"));
    let id = job.id().unwrap().to_string();
    job.end();
    let error = apm.expect_error("no news").await.label("round", 3).user_id("0xabc");
    assert_eq!(error.json()["transaction"]["sampled"], Value::Bool(false));
    assert_eq!(error.json()["transaction_id"], Value::String(id));
    apm.flush().await;
    assert!(apm.events(Kind::Transaction).is_empty());
}

#[tokio::test]
async fn discard_after_the_end_is_counted_as_a_late_write() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("poll", "scheduled");
    let handle = Transaction::clone(&job);
    job.end();
    handle.discard();
    apm.expect_transaction("poll").await;
    let stats = apm.agent().stats();
    assert_eq!((stats.late_writes, stats.discarded), (1, 0), "{stats}");
}

#[tokio::test]
async fn started_transaction_ends_with_end() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("settle auctions", "scheduled");
    job.set_label("auctions", 3);
    job.end();
    apm.expect_transaction("settle auctions").await.outcome("success").label("auctions", 3);
}

#[tokio::test]
async fn captured_message_is_an_error_with_a_stack_and_without_an_exception() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        let job = apm.agent().start_transaction("settle", "scheduled");
        job.set_user(User::id("0xabc"));
        job.in_scope(|| Transaction::current().capture_message("the stock is negative").is_active());
        apm.expect_transaction("settle").await.outcome("failure");
        let error = apm.expect_error("the stock is negative").await.user_id("0xabc").child_of("settle");
        if protocol.is_none() {
            let log = &error.json()["log"];
            assert_eq!(log["message"], "the stock is negative");
            assert_eq!(log["param_message"], "the stock is negative");
            assert_eq!(log["level"], "error");
            assert!(log["stacktrace"].as_array().is_some_and(|frames| !frames.is_empty()), "{log}");
            assert_eq!(error.json().get("exception"), None);
        }
    }
}

#[tokio::test]
async fn formatted_message_has_no_template() {
    let apm = TestAgent::start().await;
    apm.agent().capture_message(format!("the stock is {}", -1));
    let error = apm.expect_error("the stock is -1").await;
    assert_eq!(error.json()["log"].get("param_message"), None);
    assert_eq!(error.json().get("transaction_id"), None, "outside of any transaction");
}

#[tokio::test]
async fn captured_message_replaces_the_error_of_the_status() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.capture_message("the stock is negative");
        http::StatusCode::INTERNAL_SERVER_ERROR
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.outcome("failure");
    apm.flush().await;
    assert_eq!(apm.events(Kind::Error).len(), 1, "no second error for the status");
}

#[tokio::test]
async fn agent_reports_whether_it_records() {
    let apm = TestAgent::start().await;
    assert!(apm.agent().is_recording());
    apm.set_central_config([("recording", "false")]);
    assert!(!apm.agent().is_recording());
    apm.agent().capture_message("not recorded");
    apm.flush().await;
    assert!(apm.events(Kind::Error).is_empty());
}

/// The protocols. `None` is Elastic's intake v2.
const PROTOCOLS: [Option<OtlpProtocol>; 2] = [None, Some(OtlpProtocol::HttpProtobuf)];

async fn start(otlp: Option<OtlpProtocol>) -> TestAgent {
    let builder = TestAgent::builder();
    match otlp {
        Some(protocol) => builder.otlp(protocol).start().await,
        None => builder.start().await,
    }
}
