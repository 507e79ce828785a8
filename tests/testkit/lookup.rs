//! Expectations find the matching event among many, and wait for it.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tower_apm::{ApmFutureExt, Transaction, testkit::TestAgent};
use tracing::Instrument;

use crate::app::{app, call};

#[tokio::test]
async fn checks_select_among_requests_of_one_route() {
    let apm = TestAgent::start().await;
    for id in ["7", "8", "9"] {
        call(app(&apm), &format!("/listings/{id}")).await;
    }
    let eight = apm.expect_transaction("GET /listings/{id}").await.label("token_id", "8").span("load", |span| span);
    assert_eq!(eight.json()["context"]["request"]["url"]["pathname"], "/listings/8");
    let all = apm.expect_transactions("GET /listings/{id}", 3).await;
    for (transaction, id) in all.into_iter().zip(["7", "8", "9"]) {
        transaction.label("token_id", id);
    }
}

#[tokio::test]
async fn checks_compare_values_of_every_kind() {
    let apm = TestAgent::start().await;
    call(app(&apm), "/listings/7").await;
    call(app(&apm), "/settle").await;
    apm.expect_transaction("GET /listings/{id}")
        .await
        .kind("request")
        .result("HTTP 2xx")
        .outcome("success")
        .status(200)
        .label("size", 3)
        .label("size", 3.0)
        .label("sold", false)
        .no_label("aborted")
        .user_id("0xdef")
        .user_email("def@example.org")
        .custom("/order/items", serde_json::json!([1, 2]))
        .field("/context/request/method", "GET")
        .field_contains("/context/request/url/pathname", "listings/7")
        .no_field("/parent_id")
        .span_count(2)
        .span("load", |span| span.kind("app", "internal").label("page", 2).child_of("GET /listings/{id}"))
        .span("store", |span| span.kind("db", "sqlite").child_of("load"))
        .no_span("other")
        .no_error();
    apm.expect_transaction("GET /settle").await.outcome("failure").error("settlement failed", |error| {
        error.kind("SettlementError").caused_by("ChainError").caused_by("execution reverted").handled(false)
    });
    let error = apm.expect_error("SettlementError").await.message("settlement failed").child_of("GET /settle");
    assert_eq!(error.id().len(), 32);
}

#[tokio::test]
async fn expectation_waits_for_a_running_transaction() {
    let apm = TestAgent::start().await;
    let go = Arc::new(Notify::new());
    let job = apm.agent().start_transaction("settle auctions", "scheduled");
    let running = tokio::spawn({
        let go = go.clone();
        async move { job.run(async move { go.notified().await }).await }
    });
    let ((), transaction) = tokio::join!(
        async {
            apm.flush().await;
            assert!(apm.events(tower_apm::testkit::Kind::Transaction).is_empty());
            go.notify_one();
        },
        apm.expect_transaction("settle auctions")
    );
    transaction.outcome("success");
    running.await.unwrap();
}

#[derive(Debug, thiserror::Error)]
#[error("no room left")]
struct DiskFull;

#[tokio::test]
async fn expectation_waits_for_spans_and_errors_after_the_end_of_their_transaction() {
    let apm = TestAgent::start().await;
    let go = Arc::new(Notify::new());
    let job = apm.agent().start_transaction("upload", "job");
    let resize = {
        let go = go.clone();
        async move {
            go.notified().await;
            tracing::info_span!("resize picture").in_scope(|| _ = Transaction::current().capture_error(&DiskFull));
        }
    };
    let resize = job.in_scope(|| tokio::spawn(resize.in_current_transaction()));
    let ((), upload) = tokio::join!(
        async {
            apm.expect_transaction("upload").await.no_span("resize picture").no_error();
            go.notify_one();
        },
        apm.expect_transaction("upload")
            .span("resize picture", |span| span.kind("app", "internal"))
            .error("DiskFull", |error| error.message("no room left")),
    );
    upload.kind("job").span("resize picture", |span| span.child_of("upload"));
    resize.await.unwrap();
}

#[tokio::test]
async fn checks_before_the_await_select_the_transaction_that_fits() {
    let apm = TestAgent::start().await;
    for (id, name) in [(1, "resize picture"), (2, "crop picture")] {
        let job = apm.agent().start_transaction("upload", "job");
        job.set_label("picture", id);
        job.in_scope(|| tracing::info_span!("edit", otel.name = name).in_scope(|| {}));
    }
    apm.expect_transaction("upload")
        .span("crop picture", |span| span)
        .await
        .label("picture", 2)
        .no_span("resize picture");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_spawned_tasks_are_found() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("fan out", "scheduled");
    job.run(async {
        let in_span = tokio::spawn(async { drop(tracing::info_span!("in current span").entered()) }.in_current_span());
        let instrumented = tokio::spawn(async {}.instrument(tracing::info_span!("instrumented")));
        let labelled =
            tokio::spawn(async { Transaction::current().set_label("from", "a task").is_active() }.in_current_span());
        let _ = tokio::join!(in_span, instrumented, labelled);
    })
    .await;
    apm.expect_transaction("fan out")
        .await
        .label("from", "a task")
        .span("in current span", |span| span.child_of("fan out"))
        .span("instrumented", |span| span.child_of("fan out"));
}

#[tokio::test]
async fn span_that_ends_after_its_transaction_is_found() {
    let apm = TestAgent::start().await;
    let go = Arc::new(Notify::new());
    let task = apm.agent().start_transaction("order", "scheduled").in_scope(|| {
        let go = go.clone();
        tokio::spawn(async move { go.notified().await }.instrument(tracing::info_span!("announce")))
    });
    apm.expect_transaction("order").await.no_span("announce");
    go.notify_one();
    task.await.unwrap();
    apm.expect_span("announce").await.child_of("order");
    apm.expect_transaction("order").await.span("announce", |span| span);
}

#[tokio::test(start_paused = true)]
async fn deadline_uses_real_time_with_a_paused_tokio_clock() {
    let apm = TestAgent::builder().deadline(Duration::from_secs(20)).start().await;
    let job = apm.agent().start_transaction("slow job", "scheduled");
    job.run(tokio::time::sleep(Duration::from_secs(3600))).await;
    apm.expect_transaction("slow job").await.outcome("success");
}
