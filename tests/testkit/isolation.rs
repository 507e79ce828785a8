//! Many agents in one process see only their own events.

use tower_apm::testkit::{Kind, TestAgent};
use tracing::Instrument;

use crate::app::{app, call};

async fn one_of_many(number: usize) {
    let apm = TestAgent::start().await;
    let app = app(&apm);
    let calls = (0..5).map(|request| {
        let app = app.clone();
        let id = format!("{number}-{request}");
        tokio::spawn(async move { call(app, &format!("/listings/{id}")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    for transaction in apm.expect_transactions("GET /listings/{id}", 5).await {
        let token = transaction.json()["context"]["tags"]["token_id"].as_str().unwrap().to_owned();
        assert!(token.starts_with(&format!("{number}-")), "{token} was received by {number}");
        transaction.span("load", |span| span).span("store", |span| span.child_of("load"));
    }
    assert_eq!((apm.events(Kind::Span).len(), apm.events(Kind::Error).len()), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_agents_on_many_threads_see_only_their_own_events() {
    let tests: Vec<_> = (0..20).map(|number| tokio::spawn(one_of_many(number))).collect();
    for test in tests {
        test.await.unwrap();
    }
}

#[tokio::test]
async fn concurrent_agents_on_one_thread_see_only_their_own_events() {
    tokio::join!(one_of_many(1), one_of_many(2), one_of_many(3));
}

#[tokio::test]
async fn nested_request_is_recorded_by_its_own_agent() {
    let (outer, inner) = (TestAgent::start().await, TestAgent::start().await);
    let app = app(&inner);
    let job = outer.agent().start_transaction("calls another", "scheduled");
    job.run(async { call(app, "/listings/7").instrument(tracing::info_span!("call")).await }).await;
    let caller = outer.expect_transaction("calls another").await.span_count(1).no_span("load");
    let called = inner.expect_transaction("GET /listings/{id}").await.span("load", |span| span);
    assert_eq!(caller.trace_id(), called.trace_id());
    outer.expect_span("call").await.child_of("calls another");
}

#[tokio::test]
async fn panic_is_recorded_by_the_agent_of_its_transaction() {
    let (one, other) = (TestAgent::start().await, TestAgent::start().await);
    let job = one.agent().start_transaction("explode", "scheduled");
    tokio::spawn(job.run(async { panic!("boom") })).await.unwrap_err();
    one.expect_transaction("explode")
        .await
        .outcome("failure")
        .error("boom", |error| error.handled(false).frame_contains("isolation.rs"));
    other.expect_nothing().await;
}
