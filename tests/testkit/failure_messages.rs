//! Messages of failed expectations.

use std::time::Duration;

use axum::{body::Body, http::Request};
use tower::ServiceExt;
use tower_apm::{
    AgentBuilder,
    testkit::{Answer, ExpectedSpan, ExpectedTransaction, TestAgent},
};

use crate::app::{app, call};

type Check = fn(ExpectedTransaction) -> ExpectedTransaction;

async fn agent() -> TestAgent {
    TestAgent::builder().deadline(Duration::from_millis(300)).start().await
}

/// The panic message of a failed expectation.
async fn failure<T: Send + 'static>(expectation: impl Future<Output = T> + Send + 'static) -> String {
    match tokio::spawn(expectation).await {
        Ok(_) => panic!("the expectation was met"),
        Err(failed) => *failed.into_panic().downcast::<String>().unwrap(),
    }
}

fn assert_contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in:\n{message}");
    }
}

#[tokio::test]
async fn failure_message_for_a_missing_name_contains_the_nearest_name_and_the_location() {
    let apm = agent().await;
    call(app(&apm), "/listings/7").await;
    let message = failure(apm.expect_transaction("GET /listing/{id}")).await;
    assert_contains(
        &message,
        &[
            "expected a transaction \"GET /listing/{id}\"",
            "the nearest is \"GET /listings/{id}\"",
            "tests/testkit/failure_messages.rs:",
            "GET /listings/{id} · request · success · HTTP 2xx",
            "labels ",
            "token_id=\"7\"",
            "user ",
            "ms  load · app/internal",
            "ms  store · db/sqlite",
            "agent: recorded 3, accepted 3",
            "none refused",
        ],
    );
    let indent = |name: &str| {
        let line = message.lines().find(|line| line.contains(name)).unwrap();
        line.len() - line.trim_start().len()
    };
    assert!(indent("GET /listings/{id} ·") < indent("ms  load") && indent("ms  load") < indent("ms  store"));
}

#[tokio::test]
async fn failure_message_reports_that_nothing_arrived() {
    let apm = agent().await;
    let message = failure(apm.expect_span("load")).await;
    assert_contains(&message, &["expected a span \"load\"", "none came within 300ms", "what arrived:\n    nothing"]);
}

#[tokio::test]
async fn failure_message_of_a_check_contains_previous_checks_and_the_actual_value() {
    let apm = agent().await;
    call(app(&apm), "/listings/7").await;
    let found = apm.expect_transaction("GET /listings/{id}").await;
    let checks: [(Check, &[&str]); 14] = [
        (
            |tx| tx.status(200).outcome("failure"),
            &["with status 200\n    with outcome \"failure\"", "the outcome is \"success\""],
        ),
        (|tx| tx.label("token_id", "42"), &["label token_id is \"7\""]),
        (|tx| tx.label("token", "42"), &["label token is not there"]),
        (|tx| tx.no_label("sold"), &["label sold is false"]),
        (|tx| tx.user_id("0xabc"), &["user id is \"0xdef\""]),
        (|tx| tx.custom("/order/items/1", 3), &["custom /order/items/1 is 2"]),
        (|tx| tx.status(201), &["the status is 200"]),
        (|tx| tx.span("lode", |span| span), &["it has no such span; the nearest is \"load\""]),
        (
            |tx| tx.span("load", |span| span.label("page", 2).kind("db", "sqlite")),
            &["its span \"load\" is not of type db/sqlite: its type is app/internal"],
        ),
        (|tx| tx.span("load", |span| span.child_of("store")), &["its parent is \"GET /listings/{id}\""]),
        (|tx| tx.no_span("load"), &["there is one"]),
        (|tx| tx.error("SettlementError", |error| error), &["it has no error at all"]),
        (|tx| tx.field("/context/response/finished", false), &["/context/response/finished is true"]),
        (|tx| tx.span_count(3), &["the span count is 2"]),
    ];
    for (check, parts) in checks {
        let found = found.clone();
        let message = failure(async move { check(found) }).await;
        assert_contains(&message, parts);
        assert_contains(&message, &["expected a transaction \"GET /listings/{id}\"", "what arrived:"]);
    }
}

#[tokio::test]
async fn failure_of_a_check_before_the_await_shows_what_has_arrived() {
    let apm = agent().await;
    let expect = || apm.expect_transaction("GET /listings/{id}");
    let message = failure(expect().span("load", |span| span)).await;
    assert_contains(
        &message,
        &[
            "expected a transaction \"GET /listings/{id}\"\n    with a span \"load\"",
            "none came within 300ms",
            "nothing",
        ],
    );
    call(app(&apm), "/listings/7").await;
    let kind = |span: ExpectedSpan| span.kind("db", "sqlite");
    for (expectation, but) in [
        (expect().span("lode", |span| span), "it has no such span; the nearest is \"load\""),
        (expect().span("load", kind), "its span \"load\" is not of type db/sqlite: its type is app/internal"),
        (expect().span("store", kind).error("SettlementError", |error| error), "it has no error at all"),
    ] {
        let message = failure(expectation).await;
        assert_contains(
            &message,
            &[
                &format!("but none came within 300ms: {but}"),
                "tests/testkit/failure_messages.rs:",
                "what arrived:\n",
                "ms  load · app/internal",
            ],
        );
    }
}

#[tokio::test]
async fn failure_message_shows_errors_with_causes() {
    // resolving the first stack of a process is slow
    let apm = TestAgent::start().await;
    call(app(&apm), "/settle").await;
    let message = failure(apm.expect_no_errors()).await;
    assert_contains(
        &message,
        &[
            "expected no errors\nbut 1 arrived, the first is \"SettlementError\"",
            "! SettlementError: settlement failed · unhandled",
            "caused by ChainError: execution reverted",
        ],
    );
    let error = apm.expect_error("SettlementError").await;
    let message = failure(async move { error.caused_by("IoError") }).await;
    assert_contains(&message, &["its causes are [\"ChainError: execution reverted\"]"]);
}

#[tokio::test]
async fn failure_message_names_unexpected_events() {
    let apm = agent().await;
    call(app(&apm), "/listings/7").await;
    let message = failure(apm.expect_no_transaction("GET /listings/{id}")).await;
    assert_contains(&message, &["expected no transaction \"GET /listings/{id}\"\nbut there is one"]);
    let message = failure(apm.expect_nothing()).await;
    assert_contains(&message, &["expected nothing\nbut 3 events arrived"]);
    let message = failure(apm.expect_transactions("GET /listings/{id}", 2)).await;
    assert_contains(&message, &["expected 2 transactions", "but 1 have arrived"]);
}

#[tokio::test]
async fn failure_message_contains_rejections_of_the_server() {
    let apm = agent().await;
    apm.answer([Answer::rejected(["bad luck"])]);
    apm.agent().start_transaction("nightly", "scheduled").run(async {}).await;
    let message = failure(apm.expect_transaction("nightly")).await;
    assert_contains(&message, &["rejected 1", "1 lines refused, the last because: bad luck"]);
}

#[tokio::test]
async fn failure_message_mentions_undelivered_events() {
    let apm = agent().await;
    apm.answer([Answer::slow(Duration::from_secs(60))]);
    call(app(&apm), "/listings/7").await;
    for message in [
        failure(apm.expect_no_errors()).await,
        failure(apm.expect_no_transaction("GET /listings/{id}")).await,
        failure(apm.expect_nothing()).await,
    ] {
        assert_contains(&message, &["but events wait that could not be delivered before the deadline"]);
    }
    let message = failure(async move { apm.assert_no_secret("hunter2") }).await;
    assert_contains(&message, &["but events wait that could not be delivered before the deadline"]);
}

async fn missing(apm: &TestAgent) -> String {
    failure(apm.expect_transaction("GET /listings/{id}")).await
}

#[tokio::test]
async fn hint_for_a_missing_transaction_reports_a_held_response() {
    let apm = agent().await;
    let request = || Request::get("/listings/7").body(Body::empty()).unwrap();
    let first = app(&apm).oneshot(request()).await.unwrap();
    let held = "1 transaction has not ended: GET /listings/{id} (is its response still held?)";
    assert_contains(&missing(&apm).await, &["none came within 300ms", held]);
    assert_contains(&failure(apm.expect_transactions("GET /listings/{id}", 1)).await, &["0 have arrived", held]);
    assert_contains(&failure(apm.expect_error("SettlementError")).await, &[held]);

    let second = app(&apm).oneshot(request()).await.unwrap();
    let job = apm.agent().start_transaction("settle", "scheduled");
    assert_contains(
        &missing(&apm).await,
        &[
            "2 transactions have not ended: GET /listings/{id} ×2 (are their responses still held?)",
            "1 transaction has not ended: settle (is its handle still held?)",
        ],
    );
    drop((first, second, job));
    apm.expect_transactions("GET /listings/{id}", 2).await;
    let message = failure(apm.expect_transaction("GET /listing/{id}")).await;
    assert_contains(&message, &["the nearest is \"GET /listings/{id}\""]);
    assert!(!message.contains("likely reason"), "{message}");
}

#[tokio::test]
async fn hints_report_reasons_for_a_missing_transaction() {
    type Configure = fn(AgentBuilder) -> AgentBuilder;
    let cases: [(Configure, &str); 6] = [
        (|agent| agent.enabled(false), "the agent is disabled (`enabled=false`)"),
        (|agent| agent.recording(false), "the agent does not record (`recording=false`)"),
        (|agent| agent.disable_send(true), "the agent sends nothing (`disable_send=true`)"),
        (|agent| agent.transaction_ignore_urls(["/listings/*"]), "1 request was ignored: GET /listings/7"),
        (|agent| agent.transaction_sample_rate(0.0), "1 transaction was not sampled"),
        (|agent| agent.transaction_filter(|_| false), "3 events were dropped by a filter (`transaction_filter`"),
    ];
    for (configure, reason) in cases {
        let apm = TestAgent::builder().configure(configure).deadline(Duration::from_millis(300)).start().await;
        call(app(&apm), "/listings/7").await;
        assert_contains(&missing(&apm).await, &[&format!("likely reason: {reason}")]);
    }
}

#[tokio::test]
async fn hint_reports_an_app_without_the_layer() {
    let apm = agent().await;
    assert_contains(&missing(&apm).await, &["likely reason: no request has reached a layer of this agent"]);
}
