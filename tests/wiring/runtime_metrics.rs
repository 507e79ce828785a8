//! Metrics of the Tokio runtime that serves requests, over both protocols.

use std::time::Duration;

use axum::{Router, routing::get};
use serde_json::Value;
use tower_apm::{
    AgentBuilder, OtlpProtocol,
    testkit::{Kind, TestAgent, TestAgentBuilder},
};

use crate::client;

const LONG: Duration = Duration::from_secs(20);

fn builder() -> TestAgentBuilder {
    TestAgent::builder().configure(|agent: AgentBuilder| agent.metrics_interval(Duration::from_secs(3600)))
}

/// The names and values of samples that begin with `tokio.`, one list for each metric set.
fn sets(apm: &TestAgent) -> Vec<Vec<(String, f64)>> {
    let samples = |set: &Value| {
        let samples = set["samples"].as_object().unwrap().iter();
        let value = |(name, sample): (&String, &Value)| (name.clone(), sample["value"].as_f64().unwrap());
        samples.map(value).collect::<Vec<_>>()
    };
    let sets = apm.events(Kind::Metricset).iter().map(samples).collect::<Vec<_>>();
    sets.into_iter().filter(|set| set.iter().any(|(name, _)| name.starts_with("tokio."))).collect()
}

async fn serve_and_stop(apm: &TestAgent) {
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer());
    client::get(app, "/").await;
    apm.agent().shutdown(LONG).await.unwrap();
}

fn value(set: &[(String, f64)], name: &str) -> f64 {
    set.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name} in {set:?}")).1
}

fn expect_runtime(apm: &TestAgent) {
    let sets = sets(apm);
    assert_eq!(sets.len(), 1, "{sets:?}");
    assert!(sets[0].iter().all(|(name, _)| name.starts_with("tokio.")), "no other metric is in the set: {sets:?}");
    assert_eq!(value(&sets[0], "tokio.workers.count"), 3.0);
    assert!(value(&sets[0], "tokio.tasks.alive") >= 1.0, "{sets:?}");
    // the depth depends on the moment: only its presence is certain
    let _present = value(&sets[0], "tokio.global_queue.depth");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn runtime_that_serves_requests_is_measured() {
    let apm = builder().start().await;
    let _waits = tokio::spawn(std::future::pending::<()>());
    serve_and_stop(&apm).await;
    expect_runtime(&apm);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn runtime_metrics_go_over_otlp_too() {
    let apm = builder().otlp(OtlpProtocol::HttpProtobuf).start().await;
    let _waits = tokio::spawn(std::future::pending::<()>());
    serve_and_stop(&apm).await;
    expect_runtime(&apm);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn times_of_workers_are_those_since_the_last_report() {
    let often = |agent: AgentBuilder| agent.metrics_interval(Duration::from_millis(20));
    let apm = TestAgent::builder().configure(often).start().await;
    let app = Router::new().route("/", get(async || "ok")).layer(apm.layer());
    client::get(app, "/").await;
    let is_there = || sets(&apm).iter().flatten().any(|(name, _)| name == "tokio.workers.busy.pct");
    let arrives = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, arrives).await.unwrap();
    apm.agent().shutdown(LONG).await.unwrap();
    let sets = sets(&apm);
    let shares = sets.iter().flatten().filter(|(name, _)| name == "tokio.workers.busy.pct");
    assert!(shares.clone().all(|(_, share)| (0.0..=1.0).contains(share)), "{sets:?}");
    assert!(sets.iter().flatten().any(|(name, _)| name == "tokio.workers.park.count"), "{sets:?}");
}

#[tokio::test]
async fn disable_metrics_concerns_runtime_metrics() {
    let apm = builder().configure(|agent| agent.disable_metrics(["tokio.*"])).start().await;
    serve_and_stop(&apm).await;
    assert_eq!(sets(&apm).len(), 0);
    assert!(!apm.events(Kind::Metricset).is_empty());
}

#[tokio::test]
async fn agent_without_requests_measures_no_runtime() {
    let apm = builder().start().await;
    apm.agent().shutdown(LONG).await.unwrap();
    assert_eq!(sets(&apm).len(), 0);
}
