//! Background transactions that are started by a request.

use axum::{Router, routing::get};
use serde_json::json;
use tower_apm::{
    Transaction, User,
    testkit::{Kind, TestAgent},
};
use tracing::info_span;

use crate::client;

async fn send_receipt() -> u32 {
    info_span!("render").in_scope(|| ());
    7
}

/// Runs a handler as the request `GET /`.
async fn run<F>(apm: &TestAgent, handler: impl Fn(Transaction) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let app = Router::new().route("/", get(move |tx: Transaction| handler(tx))).layer(apm.layer());
    client::get(app, "/").await;
}

#[tokio::test]
async fn spawned_task_is_a_transaction_that_is_linked_to_its_cause() {
    let apm = TestAgent::start().await;
    run(&apm, async |tx: Transaction| {
        tx.set_user(User::id("0xabc"));
        assert_eq!(tx.spawn("send receipt", send_receipt()).await.unwrap(), 7);
    })
    .await;
    let cause = apm.expect_transaction("GET /").await.no_field("/links");
    let task = apm
        .expect_transaction("send receipt")
        .await
        .kind("background")
        .outcome("success")
        .user_id("0xabc")
        .no_field("/parent_id")
        .span("render", |span| span.child_of("send receipt"));
    let link = json!({ "trace_id": cause.json()["trace_id"], "span_id": cause.json()["id"] });
    assert_eq!(task.json()["links"], json!([link]));
    assert_ne!(task.json()["trace_id"], cause.json()["trace_id"]);
}

#[tokio::test]
async fn spawned_task_that_panics_is_a_failure_and_one_that_is_aborted_is_unknown() {
    let apm = TestAgent::start().await;
    run(&apm, async |tx: Transaction| {
        tx.spawn("explode", async { panic!("boom") }).await.unwrap_err();
        let waits = tx.spawn("wait", std::future::pending::<()>());
        waits.abort();
        waits.await.unwrap_err();
    })
    .await;
    apm.expect_transaction("explode").await.outcome("failure").error("boom", |error| error.handled(false));
    apm.expect_transaction("wait").await.outcome("unknown");
    apm.expect_transaction("GET /").await.outcome("success");
}

#[tokio::test]
async fn background_work_runs_on_other_threads_and_without_tokio() {
    let apm = TestAgent::start().await;
    run(&apm, async |tx: Transaction| {
        let resize = tx.start_background("resize");
        tokio::task::spawn_blocking(move || resize.in_scope(|| info_span!("decode").in_scope(|| ()))).await.unwrap();
        let archive = tx.start_background("archive");
        std::thread::spawn(move || futures_util::FutureExt::now_or_never(archive.run(async {})))
            .join()
            .unwrap()
            .unwrap();
    })
    .await;
    apm.expect_transaction("resize").await.span("decode", |span| span.child_of("resize"));
    apm.expect_transaction("archive").await.kind("background").outcome("success");
}

#[tokio::test]
async fn background_work_of_an_ignored_request_is_ignored_except_for_errors() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/"])).start().await;
    run(&apm, async |tx: Transaction| {
        let work = async {
            info_span!("hidden").in_scope(|| ());
            Transaction::current().capture_error(&std::io::Error::other("no printer"));
        };
        tx.spawn("send receipt", work).await.unwrap();
        tx.spawn("explode", async { panic!("boom") }).await.unwrap_err();
    })
    .await;
    apm.expect_error("no printer").await.no_field("/transaction_id");
    apm.expect_error("boom").await.handled(false).no_field("/transaction_id");
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (0, 0));
}

#[tokio::test]
async fn spawned_task_without_a_cause_runs() {
    // no agent is installed in this process
    assert_eq!(Transaction::current().spawn("send receipt", send_receipt()).await.unwrap(), 7);
}

#[test]
fn spawn_outside_of_a_runtime_panics_as_tokio_does() {
    let spawned = std::panic::catch_unwind(|| Transaction::current().spawn("send receipt", send_receipt()));
    assert!(spawned.is_err());
}
