//! Central configuration: options that the server changes while the agent runs.

use std::{
    collections::BTreeSet,
    error::Error,
    future::ready,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, body::Body, http::Request, routing::get, routing::post};
use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanBuilder, SpanKind, Tracer, TracerProvider},
};
use serde_json::{Value, json};
use tower_apm::{
    Agent, AgentBuilder, EnvVars,
    devserver::{DevServer, Kind, Query},
    testkit::TestAgent,
};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use crate::http::{call, send};

const LONG: Duration = Duration::from_secs(30);
const PATH: &str = "/config/v1/agents";

fn server() -> DevServer {
    DevServer::builder().agent_config_max_age(Duration::from_secs(1)).bind("127.0.0.1:0").unwrap()
}

fn agent(server: &DevServer, configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    let builder = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").server_url(server.url());
    configure(builder.cloud_provider(tower_apm::CloudProvider::None)).build().unwrap()
}

fn app(agent: &Agent) -> Router {
    Router::new().route("/listings", get(async || "ok")).layer(agent.layer())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LONG, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends requests until they are recorded, or until they are not.
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

// spec: configuration.md
#[tokio::test]
async fn central_config_applies_without_restart_and_removed_options_revert() {
    let server = server();
    server.set_agent_config("shop", [("recording", "false"), ("transaction_max_spans", "many"), ("server_url", "x")]);
    let agent = agent(&server, |agent| agent);
    until_recorded(&agent, false).await;
    server.set_agent_config("shop", [("capture_body", "all")]);
    until_recorded(&agent, true).await;
}

// spec: configuration.md
#[tokio::test]
async fn central_config_is_polled_while_recording_is_off() {
    let server = server();
    server.set_agent_config("shop", [("recording", "false")]);
    let agent = agent(&server, |agent| agent);
    until_recorded(&agent, false).await;
    let polled = server.requests(PATH).len();
    until("the configuration is polled again", || server.requests(PATH).len() >= polled + 2).await;
    let before = agent.stats().recorded;
    call(app(&agent), "/listings").await;
    assert_eq!(agent.stats().recorded, before, "recording is still off");
    server.set_agent_config("shop", [("recording", "true")]);
    until_recorded(&agent, true).await;
    agent.flush(LONG).await.unwrap();
    assert!(server.store().query(&Query::new().kind(Kind::Transaction)).total > 0);
}

/// Sends one request and returns the data that depends on options. The request has a trace, baggage, a body and headers,
/// makes spans of several kinds, and fails with an error.
async fn request_data(apm: &TestAgent) -> Value {
    apm.clear();
    let tracer = Arc::new(apm.agent().tracer_provider().tracer("shop"));
    let handler = move |body: String| {
        let began = SystemTime::now();
        let mut at = 0;
        let mut span = |name: &'static str, kind, attributes: &[(&'static str, &'static str)]| {
            let begin = began + Duration::from_millis(at);
            let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
            let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(begin);
            let builder = builder.with_attributes(attributes.collect::<Vec<_>>());
            builder
                .start_with_context(&*tracer, &Context::current())
                .end_with_timestamp(begin + Duration::from_millis(1));
            at += 1;
        };
        span("work", SpanKind::Internal, &[("table", "7")]);
        for name in ["SELECT a", "SELECT a", "SELECT b", "SELECT c"] {
            span(name, SpanKind::Client, &[("db.system", "sqlite"), ("db.name", "shop")]);
        }
        span("send", SpanKind::Producer, &[("messaging.system", "kafka"), ("messaging.destination.name", "orders")]);
        let error = std::io::Error::other("no such room");
        tower_apm::Transaction::current().capture_error(&"a".parse::<u8>().unwrap_err());
        tracing::error!(error = &error as &(dyn Error + 'static), seat = "1234", "not announced");
        tracing::error!("not sold");
        ready(body)
    };
    let app = Router::new().route("/{id}", post(handler)).layer(apm.layer());
    let request = Request::post("/7").header("user-agent", "probe/1").header("x-room", "blue");
    let request = request.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let request = request.header("baggage", "user=0xabc").header("content-type", "text/plain");
    send(app, request.body(Body::from("a bid")).unwrap()).await;
    apm.agent().start_transaction("settle", "scheduled").run(async {}).await;
    let tracer = apm.agent().tracer_provider().tracer("pool");
    drop(SpanBuilder::from_name("ping").with_kind(SpanKind::Client).start_with_context(&tracer, &Context::new()));
    let lines = tracing_subscriber::registry().with(apm.agent().log_layer());
    tracing::subscriber::with_default(lines, || tracing::info!("announced"));
    apm.flush().await;

    let transactions = apm.events(Kind::Transaction);
    let transaction = transactions.iter().find(|event| event["type"] == "request").cloned().unwrap_or_default();
    let mut spans = apm.events(Kind::Span);
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    let shown = |span: &Value| match span.pointer("/composite/count") {
        Some(count) => format!("{} x{count}", span["name"].as_str().unwrap()),
        None => span["name"].as_str().unwrap().to_owned(),
    };
    let errors = apm.events(Kind::Error);
    let seated = errors.iter().find(|error| error["context"]["tags"]["seat"].is_string()).cloned().unwrap_or_default();
    json!({
        "transactions": transactions.len(),
        "name": transaction["name"],
        "room": transaction["context"]["request"]["headers"]["x-room"],
        "body": transaction["context"]["request"]["body"],
        "continued": transaction["parent_id"].is_string(),
        "user": transaction["context"]["tags"]["baggage_user"],
        "spans": spans.iter().map(shown).collect::<Vec<_>>().join(", "),
        "table": spans.iter().find_map(|span| span["context"]["tags"]["table"].as_str()),
        "stacks": spans.iter().filter(|span| span["stacktrace"].is_array()).count(),
        "errors": errors.len(),
        "seat": seated["context"]["tags"]["seat"],
        "has frames": seated["exception"]["stacktrace"].as_array().is_some_and(|frames| !frames.is_empty()),
        "warnings": warnings(apm),
        "lines": apm.events(Kind::Log).len(),
    })
}

/// Causes one warning of the agent and returns the number of lines that pass its layer.
fn warnings(apm: &TestAgent) -> usize {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<usize>>);
    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(apm.agent().tracing_layer()).with(lines.clone());
    tracing::subscriber::with_default(subscriber, || drop(apm.layer().response_trace_id_header("no header")));
    *lines.0.lock().unwrap()
}

const SPANS: &str = "work, SELECT a x2, SELECT b, SELECT c, send";

/// Options that can change while the service runs: name, value, field of [`request_data`], field before, field after.
fn live_options() -> Vec<(&'static str, &'static str, &'static str, Value, Value)> {
    let apart = "work, SELECT a, SELECT a, SELECT b, SELECT c, send";
    vec![
        ("enabled", "false", "transactions", json!(2), json!(0)),
        ("recording", "false", "transactions", json!(2), json!(0)),
        ("recording", "false", "errors", json!(2), json!(0)),
        ("context_propagation_only", "true", "transactions", json!(2), json!(0)),
        ("context_propagation_only", "true", "errors", json!(2), json!(0)),
        ("capture_headers", "false", "room", json!("blue"), Value::Null),
        ("capture_body", "all", "body", Value::Null, json!("a bid")),
        // applies in the exporter and to labels that are made of attributes
        ("sanitize_field_names", "x-room", "room", json!("blue"), json!("[REDACTED]")),
        ("sanitize_field_names", "seat", "seat", json!("1234"), json!("[REDACTED]")),
        ("capture_span_fields", "off", "table", json!("7"), Value::Null),
        ("transaction_sample_rate", "0", "transactions", json!(2), json!(1)),
        ("trace_continuation_strategy", "restart", "continued", json!(true), json!(false)),
        ("baggage_to_attach", ",", "user", json!("0xabc"), Value::Null),
        ("transaction_ignore_urls", "/7", "transactions", json!(2), json!(1)),
        ("transaction_ignore_user_agents", "probe*", "transactions", json!(2), json!(1)),
        ("transaction_name_groups", "POST *", "name", json!("POST /{id}"), json!("POST *")),
        ("ignore_message_queues", "ord*", "spans", json!(SPANS), json!("work, SELECT a x2, SELECT b, SELECT c")),
        ("root_exit_spans", "true", "transactions", json!(2), json!(3)),
        ("transaction_max_spans", "1", "spans", json!(SPANS), json!("work")),
        ("exit_span_min_duration", "10m", "spans", json!(SPANS), json!("work, send")),
        ("span_compression_enabled", "false", "spans", json!(SPANS), json!(apart)),
        ("span_compression_exact_match_max_duration", "0ms", "spans", json!(SPANS), json!(apart)),
        (
            "span_compression_same_kind_max_duration",
            "1s",
            "spans",
            json!(SPANS),
            json!("work, SELECT a x2, Calls to sqlite/shop x2, send"),
        ),
        ("span_stack_trace_min_duration", "0ms", "stacks", json!(0), json!(5)),
        ("stack_trace_limit", "0", "has frames", json!(true), json!(false)),
        ("capture_log_errors", "all", "errors", json!(2), json!(3)),
        ("ignore_exceptions", "*ParseIntError", "errors", json!(2), json!(1)),
        ("log_level", "error", "warnings", json!(1), json!(0)),
        ("log_sending", "true", "lines", json!(0), json!(1)),
    ]
}

// spec: configuration.md
#[tokio::test]
async fn each_central_option_takes_effect_and_reverts_when_removed() {
    let apm = TestAgent::start().await;
    for (option, value, what, before, with) in live_options() {
        assert_eq!(request_data(&apm).await[what], before, "{what} before {option}");
        apm.set_central_config([(option, value)]);
        assert_eq!(request_data(&apm).await[what], with, "{what} with {option}={value}");
        apm.set_central_config([("", ""); 0]);
    }
    assert_eq!(request_data(&apm).await["spans"], SPANS);
}

#[test]
fn each_central_option_of_the_reference_is_tested() {
    let reference = include_str!("../../src/docs/options.md");
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `"));
    let live: BTreeSet<_> = rows
        .filter(|row| row.split(" | ").nth(2).is_some_and(|live| live.trim() == "yes"))
        .filter_map(|row| row.split('`').next())
        .collect();
    assert!(live.len() > 20, "{live:?}");
    let tested: BTreeSet<_> = live_options().iter().map(|row| row.0).collect();
    assert_eq!(live, tested);
}

// spec: configuration.md
#[tokio::test]
async fn span_options_do_not_change_within_a_transaction() {
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
            ("recording", "false"), // shows that the other options have arrived
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

// spec: configuration.md
#[tokio::test]
async fn transaction_keeps_the_options_of_its_start() {
    let apm = TestAgent::start().await;
    let before = apm.agent().start_transaction("settle 7", "scheduled");
    apm.set_central_config([("transaction_name_groups", "settle *")]);
    drop(before);
    drop(apm.agent().start_transaction("settle 8", "scheduled"));
    apm.expect_transaction("settle 7").await;
    apm.expect_transaction("settle *").await;
    assert_eq!(apm.events(Kind::Transaction).len(), 2);
}

#[tokio::test]
async fn transaction_that_has_begun_is_sent_after_recording_is_turned_off() {
    let apm = TestAgent::start().await;
    let begun = apm.agent().start_transaction("settle", "scheduled");
    apm.set_central_config([("recording", "false")]);
    begun.capture_error(&std::io::Error::other("no such room"));
    begun.run(async { tracing::info_span!("load").in_scope(|| {}) }).await;
    apm.expect_transaction("settle").await;
    apm.expect_span("load").await;
    apm.expect_no_errors().await;
    apm.agent().start_transaction("another", "scheduled").run(async {}).await;
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
}

// spec: configuration.md
#[tokio::test]
async fn central_config_is_not_polled_if_disabled() {
    type Off = fn(AgentBuilder) -> AgentBuilder;
    let cases: [(Off, bool); 4] = [
        (|agent| agent.central_config(false), true),
        (|agent| agent.disable_send(true), false),
        (|agent| agent.enabled(false), false),
        (|agent| agent.context_propagation_only(true), false),
    ];
    let servers = cases.map(|(off, sends)| {
        let server = server();
        let agent = agent(&server, off);
        (server, agent, sends)
    });
    for (_, agent, sends) in &servers {
        call(app(agent), "/listings").await;
        agent.flush(LONG).await.unwrap();
        assert_eq!(agent.stats().accepted, u64::from(*sends));
    }
    // another agent, which started later, has polled and sent by now
    let polled = server();
    let polling = agent(&polled, |agent| agent);
    call(app(&polling), "/listings").await;
    polling.flush(LONG).await.unwrap();
    until("the other agent polls", || !polled.requests(PATH).is_empty() && !polled.requests("/").is_empty()).await;
    for (server, agent, sends) in servers {
        agent.shutdown(LONG).await.unwrap();
        assert_eq!(server.requests(PATH).len(), 0);
        let paths: BTreeSet<_> = server.requests("").iter().map(|request| request.uri().path().to_owned()).collect();
        let expected: &[&str] = if sends { &["/", "/intake/v2/events"] } else { &[] };
        assert!(paths.iter().eq(expected), "{paths:?}");
    }
}

// spec: transport.md
#[tokio::test]
async fn disable_send_records_events_and_opens_no_connection() {
    let server = server();
    let agent = agent(&server, |agent| agent.disable_send(true));
    call(app(&agent), "/listings").await;
    agent.flush(LONG).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.recorded, stats.accepted, stats.dropped.send_disabled, stats.waiting), (1, 0, 1, 0));
    assert_eq!(server.store().stats().requests, 0);
    assert_eq!(server.store().query(&Query::new()).total, 0);
}
