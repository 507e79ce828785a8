//! Does the agent do what the server tells it to, while it runs? (agent-spec, section 3)

use std::time::{Duration, Instant, SystemTime};

use axum::{Router, routing::get};
use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanKind, Tracer, TracerProvider},
};
use serde_json::json;
use tower_apm::{
    Agent, AgentBuilder, Environment,
    devserver::{DevServer, Kind, Query},
};

use crate::http::call;

const LONG: Duration = Duration::from_secs(30);

fn server() -> DevServer {
    DevServer::builder().agent_config_max_age(Duration::from_secs(1)).bind("127.0.0.1:0").unwrap()
}

fn agent(server: &DevServer, configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    let builder = Agent::builder().env(Environment::empty()).service_name("shop").server_url(server.url());
    configure(builder.cloud_provider(tower_apm::CloudProvider::None)).build().unwrap()
}

fn app(agent: &Agent) -> Router {
    Router::new().route("/listings", get(async || "ok")).layer(agent.layer())
}

/// Sends requests until it shows that they are recorded, or that they are not.
async fn until_recorded(agent: &Agent, wanted: bool) {
    let started = Instant::now();
    loop {
        let before = agent.stats().recorded;
        call(app(agent), "/listings").await;
        if (agent.stats().recorded > before) == wanted {
            return;
        }
        assert!(started.elapsed() < LONG, "recorded stays {}", !wanted);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn options_change_without_a_restart_and_go_back_when_they_vanish() {
    let server = server();
    server.set_agent_config("shop", [("recording", "false"), ("transaction_max_spans", "many"), ("server_url", "x")]);
    let agent = agent(&server, |agent| agent);
    until_recorded(&agent, false).await;
    server.set_agent_config("shop", [("capture_body", "all")]);
    until_recorded(&agent, true).await;
    server.set_agent_config("shop", [("enabled", "false")]);
    until_recorded(&agent, false).await;
}

#[tokio::test]
async fn a_transaction_keeps_the_options_that_it_began_with() {
    let server = server();
    let agent = agent(&server, |agent| agent);
    let begun = agent.start_transaction("settle", "scheduled");
    server.set_agent_config("shop", [("recording", "false")]);
    until_recorded(&agent, false).await;
    drop(begun);
    agent.flush(LONG).await.unwrap();
    let sent = server.store().query(&Query::new().kind(Kind::Transaction).name("settle"));
    assert_eq!(sent.total, 1);
}

#[tokio::test]
async fn section_1_4_what_is_told_of_its_spans_does_not_change_while_it_runs() {
    let server = server();
    let agent = agent(&server, |agent| agent);
    let tracer = agent.tracer_provider().tracer("db");
    let call = |at: u64| {
        let time = |at| SystemTime::UNIX_EPOCH + Duration::from_millis(at);
        let call = tracer.span_builder("SELECT").with_kind(SpanKind::Client).with_start_time(time(at));
        call.with_attributes([KeyValue::new("db.system", "mysql")]).start(&tracer).end_with_timestamp(time(at + 1));
    };
    let begun = agent.start_transaction("begun before", "scheduled");
    let context = Context::from(begun.clone());
    server.set_agent_config(
        "shop",
        [
            ("transaction_max_spans", "1"),
            ("span_compression_enabled", "false"),
            ("exit_span_min_duration", "1s"),
            ("recording", "false"), // shows that the rest has arrived
        ],
    );
    until_recorded(&agent, false).await;
    {
        let _attached = context.attach();
        (0..3).for_each(|n| call(n * 10));
        (0..3).for_each(|_| drop(tracer.start("step")));
    }
    drop(begun);
    server.set_agent_config("shop", [("transaction_max_spans", "1"), ("exit_span_min_duration", "1s")]);
    until_recorded(&agent, true).await;
    agent.start_transaction("begun after", "scheduled").in_scope(|| {
        call(0);
        (0..3).for_each(|_| drop(tracer.start("step")));
    });
    agent.flush(LONG).await.unwrap();
    for (name, count) in
        [("begun before", json!({ "started": 4 })), ("begun after", json!({ "started": 0, "dropped": 4 }))]
    {
        let sent = server.store().query(&Query::new().kind(Kind::Transaction).name(name));
        assert_eq!(sent.events[0].body()["span_count"], count, "{name}");
    }
}

#[tokio::test]
async fn nobody_is_asked_where_it_is_turned_off() {
    for off in
        [AgentBuilder::central_config as fn(AgentBuilder, bool) -> AgentBuilder, |agent, _| agent.disable_send(true)]
    {
        let server = server();
        server.set_agent_config("", [("recording", "false")]);
        let agent = agent(&server, |agent| off(agent, false));
        call(app(&agent), "/listings").await;
        agent.flush(LONG).await.unwrap();
        call(app(&agent), "/listings").await;
        assert_eq!(agent.stats().recorded, 2);
        agent.shutdown(LONG).await.unwrap();
    }
}

#[tokio::test]
async fn with_disable_send_everything_is_recorded_and_nothing_sent() {
    let server = server();
    let agent = agent(&server, |agent| agent.disable_send(true));
    call(app(&agent), "/listings").await;
    agent.flush(LONG).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.recorded, stats.accepted, stats.dropped.send_disabled, stats.waiting), (1, 0, 1, 0));
    assert_eq!(server.store().stats().requests, 0);
}
