//! Spawned work belongs to the transaction without a `tracing` span for the request.

use std::sync::{Arc, Mutex};

use axum::{Router, handler::Handler, routing::get};
use opentelemetry::trace::TraceContextExt;
use tokio::sync::oneshot;
use tower_apm::{
    ApmFutureExt, Transaction,
    testkit::{Kind, TestAgent},
};
use tracing::{Instrument, info_span, instrument::WithSubscriber};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Identity, SubscriberExt},
};

use crate::http::call;

#[tracing::instrument]
async fn load(page: i64) {
    tokio::task::yield_now().await;
}

async fn run<T: 'static>(apm: &TestAgent, handler: impl Handler<T, ()>) {
    call(Router::new().route("/", get(handler)).layer(apm.layer().request_span(false)), "/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawned_task_belongs_to_the_current_transaction_and_span() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let first = async { tokio::spawn(load(1).in_current_transaction()).await }.instrument(info_span!("outer"));
        let task = async {
            load(2).await;
            Transaction::current().set_label("from", "a task").is_active()
        };
        let second = tokio::spawn(task.in_current_transaction());
        let bare = tokio::spawn(async { Transaction::current().is_active() });
        let (first, second, bare) = tokio::join!(first, second, bare);
        first.unwrap();
        assert_eq!((second.unwrap(), bare.unwrap()), (true, false));
    })
    .await;
    let sent = apm.expect_transaction("GET /").await.label("from", "a task").span_count(3);
    sent.span("load", |span| span.label("page", 1).child_of("outer"))
        .span("load", |span| span.label("page", 2).child_of("GET /"));
}

#[tokio::test]
async fn future_and_closure_run_unchanged_outside_a_transaction() {
    let _apm = TestAgent::start().await;
    let work = async {
        assert!(!opentelemetry::Context::current().has_active_span());
        Transaction::current().is_active()
    };
    assert!(!tokio::spawn(work.in_current_transaction()).await.unwrap());
    assert_eq!(async { 7 }.in_transaction(Transaction::current()).await, 7);
    assert_eq!(Transaction::current().in_scope(|| 7), 7);
}

#[tokio::test]
async fn callback_with_in_transaction_belongs_to_the_transaction() {
    let apm = TestAgent::start().await;
    let (sender, receiver) = oneshot::channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let handler = move |tx: Transaction| async move {
        // like the callback of an upgrade: on its own task, without a current transaction
        let callback = move || load(3).in_transaction(tx);
        assert!(sender.lock().unwrap().take().unwrap().send(callback).is_ok());
    };
    run(&apm, handler).await;
    let callback = receiver.await.unwrap();
    tokio::spawn(callback()).await.unwrap();
    apm.expect_span("load").await.child_of("GET /");
    assert!(!opentelemetry::Context::current().has_active_span(), "nothing stays current");
}

#[tokio::test]
async fn in_scope_carries_the_transaction_into_blocking_work() {
    let apm = TestAgent::start().await;
    run(&apm, async |tx: Transaction| {
        let hash = move || {
            let found = tx.in_scope(|| info_span!("hash").in_scope(|| Transaction::current().is_active()));
            (found, Transaction::current().is_active())
        };
        assert_eq!(tokio::task::spawn_blocking(hash).await.unwrap(), (true, false));
    })
    .await;
    apm.expect_transaction("GET /").await.span("hash", |span| span.child_of("GET /"));
}

struct Labels;

impl Drop for Labels {
    fn drop(&mut self) {
        Transaction::current().set_label("dropped", true);
    }
}

#[tokio::test]
async fn in_transaction_future_is_dropped_in_the_transaction() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("job", "scheduled");
    let held = async {
        let _labels = Labels;
        std::future::pending::<()>().await;
    };
    let mut future = Box::pin(held.in_transaction(job.clone()));
    assert!(futures_util::poll!(&mut future).is_pending());
    drop(future);
    drop(job);
    apm.expect_transaction("job").await.label("dropped", true);
}

#[tokio::test]
async fn spawned_task_of_an_ignored_request_is_ignored_too() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/"])).start().await;
    run(&apm, async |tx: Transaction| {
        tokio::spawn(load(1).in_current_transaction()).await.unwrap();
        tokio::spawn(load(2).in_transaction(tx)).await.unwrap();
    })
    .await;
    apm.flush().await;
    assert_eq!((apm.events(Kind::Span).len(), apm.events(Kind::Transaction).len()), (0, 0));
}

#[tokio::test]
async fn span_with_an_unrecorded_parent_belongs_to_the_transaction() {
    let apm = TestAgent::start().await;
    // some layer wants DEBUG spans; the agent does not record them
    let subscriber = tracing_subscriber::registry()
        .with(apm.agent().tracing_layer())
        .with(Identity::new().with_filter(LevelFilter::DEBUG));
    let handler = async || {
        let detail = tracing::debug_span!("detail");
        assert!(!detail.is_disabled());
        info_span!(parent: &detail, "below").in_scope(|| ());
    };
    run(&apm, handler).with_subscriber(subscriber).await;
    apm.expect_transaction("GET /").await.no_span("detail").span("below", |span| span.child_of("GET /"));
}
