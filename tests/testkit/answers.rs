//! Scripted failures of the server, and options of the agent under test.

use std::time::Duration;

use tower_apm::testkit::{Answer, TestAgent};

#[tokio::test]
async fn temporary_failures_of_the_server_are_retried() {
    let apm = TestAgent::start().await;
    apm.answer([Answer::unavailable(), Answer::cut(), Answer::too_many(), Answer::slow(Duration::from_millis(50))]);
    apm.agent().start_transaction("settle", "scheduled").run(async {}).await;
    apm.expect_transaction("settle").await.outcome("success");
    assert_eq!(apm.server().scripted(), 0);
    let stats = apm.agent().stats();
    assert_eq!((stats.recorded, stats.accepted, stats.dropped.total()), (1, 1, 0));
}

#[tokio::test]
async fn clear_removes_received_events() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("one", "scheduled").run(async {}).await;
    apm.expect_transaction("one").await;
    apm.clear();
    apm.expect_nothing().await;
}

#[tokio::test]
async fn configure_sets_any_option_of_the_agent() {
    let apm = TestAgent::builder()
        .configure(|agent| agent.environment("ci"))
        .configure(|agent| agent.service_name("shop"))
        .start()
        .await;
    apm.agent().start_transaction("one", "scheduled").run(async {}).await;
    apm.expect_transaction("one").await;
    let metadata = &apm.events(tower_apm::testkit::Kind::Metadata)[0];
    assert_eq!((&metadata["service"]["name"], &metadata["service"]["environment"]), (&"shop".into(), &"ci".into()));
}
