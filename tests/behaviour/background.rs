//! Transactions for work outside of requests.

use tower_apm::{Outcome, Transaction, User, testkit::TestAgent};
use tracing::{Instrument, info_span};

// spec: tracing-transactions.md
#[tokio::test]
async fn background_work_is_a_transaction_of_the_given_type() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("settle auctions", "scheduled");
    let settled = job
        .run(async {
            Transaction::current().set_label("auctions", 3).set_user(User::id("system"));
            async {}.instrument(info_span!("load")).await;
            42
        })
        .await;
    assert_eq!(settled, 42);
    apm.expect_transaction("settle auctions")
        .await
        .kind("scheduled")
        .outcome("success")
        .label("auctions", 3)
        .user_id("system")
        .no_field("/result")
        .no_field("/context/request")
        .span("load", |span| span.child_of("settle auctions"));
}

#[tokio::test]
async fn background_work_with_an_error_fails_unless_the_outcome_is_set() {
    let apm = TestAgent::start().await;
    let error = std::io::Error::other("no such room");
    apm.agent()
        .start_transaction("fails", "scheduled")
        .in_scope(|| Transaction::current().capture_error(&error).is_active());
    let job = apm.agent().start_transaction("goes on", "scheduled");
    job.capture_error(&error).set_outcome(Outcome::Success);
    drop(job);
    apm.expect_transaction("fails").await.outcome("failure").error("no such room", |error| error.handled(true));
    apm.expect_transaction("goes on").await.outcome("success");
}

#[tokio::test]
async fn aborted_background_work_has_an_unknown_outcome() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("cut off", "scheduled");
    let task = tokio::spawn(job.run(std::future::pending::<()>()));
    tokio::task::yield_now().await;
    task.abort();
    task.await.unwrap_err();
    apm.expect_transaction("cut off").await.outcome("unknown");
}

#[tokio::test]
async fn panic_in_blocking_work_is_recorded() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("explode", "scheduled");
    let task = tokio::task::spawn_blocking(move || job.in_scope(|| panic!("boom")));
    task.await.unwrap_err();
    apm.expect_transaction("explode").await.outcome("failure").error("boom", |error| error.handled(false));
}

#[tokio::test]
async fn transaction_without_an_agent_runs_the_work_only() {
    let job = Transaction::start("not recorded", "scheduled");
    assert!(!job.is_active());
    assert_eq!(job.run(async { 42 }).await, 42);
}
