//! Log sending and log correlation.

use std::{error::Error, io, time::Duration};

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tower_apm::{
    Agent, EnvVars, WithTraceIds,
    devserver::DevServer,
    testkit::{Kind, TestAgent},
};
use tracing::{Subscriber, level_filters::LevelFilter, subscriber::with_default};
use tracing_subscriber::{Layer, layer::SubscriberExt, registry};

use crate::{captured_output::CapturedOutput, http::call};

async fn sending() -> TestAgent {
    TestAgent::builder().configure(|agent| agent.service_name("shop").log_sending(true)).start().await
}

fn subscriber(agent: &Agent) -> impl Subscriber + Send + Sync + use<> {
    registry().with(agent.tracing_layer()).with(agent.log_layer().with_filter(LevelFilter::INFO))
}

fn log_lines() {
    let error = io::Error::other("no funds");
    tracing::info!(token_id = 42, password = "hunter2", "listed at https://u:hunter2@chain/?api_key=hunter2");
    tracing::error!(error = &error as &(dyn Error + 'static), "not sold");
    tracing::debug!("filtered");
}

// spec: log-sending.md
#[tokio::test]
async fn log_records_are_sent_with_trace_ids() {
    let apm = sending().await;
    with_default(subscriber(apm.agent()), || {
        tracing::warn!("outside");
        apm.agent().start_transaction("settle", "scheduled").in_scope(|| {
            tracing::info_span!("sell").in_scope(log_lines);
        });
    });
    apm.flush().await;
    let (transaction, span) = (apm.events(Kind::Transaction).remove(0), apm.events(Kind::Span).remove(0));
    let lines = apm.events(Kind::Log);
    let [outside, listed, failed] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&outside["log.level"], outside.get("trace.id")), (&json!("warn"), None));
    for line in [listed, failed] {
        assert_eq!(line["trace.id"], transaction["trace_id"]);
        assert_eq!(line["transaction.id"], transaction["id"]);
        assert_eq!(line["span.id"], span["id"]);
        assert_eq!(line["event.dataset"], "shop");
        assert_eq!(line["log.logger"], module_path!());
    }
    assert_eq!(listed["labels"], json!({"token_id": 42, "password": "[REDACTED]"}));
    assert_eq!((&failed["message"], &failed["labels"]), (&json!("not sold"), &json!({"error": "no funds"})));
    // a log record with `error.*` fields would be a second error
    assert_eq!(apm.events(Kind::Error).len(), 1);
    apm.assert_no_secret("hunter2");
}

// spec: log-correlation.md
#[tokio::test]
async fn log_records_of_unsampled_requests_have_trace_ids() {
    let configure = |agent: tower_apm::AgentBuilder| agent.log_sending(true).transaction_sample_rate(0.0);
    let apm = TestAgent::builder().configure(configure).start().await;
    let _default = tracing::subscriber::set_default(subscriber(apm.agent()));
    let app = Router::new()
        .route("/", get(async || tracing::info!("hi")))
        .layer(apm.layer().response_trace_id_header("x-trace-id"));
    let response = call(app, "/").await;
    apm.flush().await;
    let line = apm.events(Kind::Log).remove(0);
    assert_eq!(line["trace.id"], response.headers()["x-trace-id"].to_str().unwrap());
    assert!(line["transaction.id"].is_string());
}

// spec: log-sending.md
#[tokio::test]
async fn log_sending_is_off_by_default() {
    let apm = TestAgent::start().await;
    let log = || with_default(subscriber(apm.agent()), || tracing::info!("hi"));
    log();
    apm.flush().await;
    assert_eq!(apm.events(Kind::Log).len(), 0);
    for (option, value, lines) in [("log_sending", "true", 1), ("recording", "false", 0), ("log_level", "info", 0)] {
        apm.clear();
        apm.set_central_config([(option, value)]);
        log();
        apm.flush().await;
        assert_eq!(apm.events(Kind::Log).len(), lines, "{option}={value}");
    }
}

// spec: log-sending.md
#[tokio::test]
async fn log_records_for_an_old_server_are_dropped_and_counted() {
    let server = DevServer::builder().version("8.5.3").bind("127.0.0.1:0").unwrap();
    let builder = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").server_url(server.url());
    let agent = builder.cloud_provider(tower_apm::CloudProvider::None).log_sending(true).build().unwrap();
    // the version of the server is known after the first events
    drop(agent.start_transaction("first", "scheduled"));
    agent.flush(Duration::from_secs(30)).await.unwrap();
    with_default(subscriber(&agent), || tracing::info!("hi"));
    agent.flush(Duration::from_secs(30)).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.dropped.unsupported, stats.rejected), (1, 1, 0), "{stats}");
}

// spec: log-sending.md
#[tokio::test]
async fn log_records_of_the_agent_have_their_own_dataset_and_cause_no_loop() {
    let apm = sending().await;
    with_default(subscriber(apm.agent()), || drop(apm.layer().response_trace_id_header("no header")));
    apm.flush().await;
    let lines = apm.events(Kind::Log);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["event.dataset"], "shop.apm-agent");
}

#[tokio::test]
async fn panicking_log_field_is_omitted() {
    struct Bad;
    impl std::fmt::Debug for Bad {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("a bug")
        }
    }
    let apm = sending().await;
    with_default(subscriber(apm.agent()), || tracing::info!(order = 7, bad = ?Bad, "hi"));
    apm.flush().await;
    let lines = apm.events(Kind::Log);
    assert_eq!((lines.len(), apm.agent().stats().contained_panics), (1, 1));
    assert_eq!(lines[0]["log.level"], "info");
}

// spec: log-correlation.md
#[tokio::test]
async fn own_subscriber_prints_trace_ids_and_the_error_id() {
    let apm = TestAgent::start().await;
    let (ecs, json) = (CapturedOutput::default(), CapturedOutput::default());
    let printer = tracing_subscriber::fmt::layer().json().event_format(apm.agent().ecs_format());
    let other = tracing_subscriber::fmt::layer().json().map_event_format(WithTraceIds::json);
    let subscriber = registry().with(apm.agent().tracing_layer());
    let subscriber = subscriber.with(printer.with_writer(ecs.clone())).with(other.with_writer(json.clone()));
    with_default(subscriber, || {
        apm.agent().start_transaction("settle", "scheduled").in_scope(|| {
            let error = io::Error::other("no funds");
            tracing::error!(error = &error as &(dyn Error + 'static), "not sold");
            tracing::error!("without an error");
        });
    });
    apm.flush().await;
    let (transaction, error) = (apm.events(Kind::Transaction).remove(0), apm.events(Kind::Error).remove(0));
    for lines in [ecs.objects(), json.objects()] {
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!(line["trace.id"], transaction["trace_id"]);
            assert_eq!(line["transaction.id"], transaction["id"]);
        }
    }
    assert_eq!(ecs.objects()[0]["error.id"], error["id"]);
    assert_eq!(ecs.objects()[1].get("error.id"), None);
}

// spec: log-correlation.md
#[tokio::test]
async fn error_id_is_printed_only_with_its_own_event() {
    let apm = TestAgent::start().await;
    let (before, after) = (CapturedOutput::default(), CapturedOutput::default());
    let first = tracing_subscriber::fmt::layer().json().event_format(apm.agent().ecs_format());
    let last = tracing_subscriber::fmt::layer().json().event_format(apm.agent().ecs_format());
    let subscriber = registry().with(first.with_writer(before.clone())).with(apm.agent().tracing_layer());
    with_default(subscriber.with(last.with_writer(after.clone())), || {
        for order in 0..3 {
            let error = io::Error::other("no funds");
            tracing::error!(error = &error as &(dyn Error + 'static), order, "not sold");
        }
    });
    apm.flush().await;
    let numbered = |error: &Value| (error["context"]["tags"]["order"].clone(), error["id"].clone());
    let sent: Vec<_> = apm.events(Kind::Error).iter().map(numbered).collect();
    let printed: Vec<_> =
        after.objects().iter().map(|line| (line["labels"]["order"].clone(), line["error.id"].clone())).collect();
    assert_eq!(printed.len(), 3);
    assert!(printed.iter().all(|line| sent.contains(line)), "{printed:?} {sent:?}");
    // the line was printed before the error existed
    assert!(before.objects().iter().all(|line| line.get("error.id").is_none()));
}

// spec: log-sending.md, field-limits.md
#[tokio::test]
async fn long_log_records_are_truncated_before_they_are_queued() {
    let apm = sending().await;
    let long = "x".repeat(200_000);
    with_default(subscriber(apm.agent()), || {
        for _ in 0..100 {
            tracing::info!(body = long, "{long}");
        }
    });
    apm.flush().await;
    let stats = apm.agent().stats();
    assert_eq!((stats.accepted, stats.dropped.total()), (100, 0), "{stats}");
    let line = apm.events(Kind::Log).remove(0);
    let characters = |text: &Value| text.as_str().unwrap().chars().count();
    assert_eq!((characters(&line["message"]), characters(&line["labels"]["body"])), (10_000, 1024));
    assert!(line["message"].as_str().unwrap().ends_with('…'));
}
