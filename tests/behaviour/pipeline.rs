//! Delivery of events by a failing server, and options that turn recording off.

use std::{
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, response::IntoResponse, routing::get};
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use tower_apm::{
    Agent, EnvVars, ResponseExt, Stats,
    devserver::{DevServer, Kind as ServerKind, Query},
    testkit::{Answer, Kind, TestAgent},
};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use crate::http::{call, empty, get as request, send};

const LONG: Duration = Duration::from_secs(20);

fn app(apm: &TestAgent) -> Router {
    Router::new().route("/listings/{id}", get(async || "ok")).layer(apm.layer())
}

#[track_caller]
fn adds_up(stats: Stats) {
    let Stats { recorded, accepted, rejected, dropped, waiting, .. } = stats;
    assert_eq!(recorded, accepted + rejected + dropped.total() + waiting, "{stats}");
}

#[tokio::test]
async fn temporary_server_failures_are_retried_without_loss() {
    for answer in [
        Answer::unavailable(),
        Answer::too_many(),
        Answer::unauthorized(),
        Answer::forbidden(),
        Answer::cut(),
        Answer::slow(Duration::from_millis(100)),
    ] {
        let apm = TestAgent::start().await;
        let name = format!("{answer:?}");
        apm.answer([answer.clone(), answer]);
        for _ in 0..20 {
            call(app(&apm), "/listings/7").await;
        }
        apm.expect_transactions("GET /listings/{id}", 20).await;
        let stats = apm.agent().stats();
        adds_up(stats);
        assert_eq!((stats.recorded, stats.accepted, stats.waiting), (20, 20, 0), "{name}");
    }
}

// spec: transport.md
#[tokio::test]
async fn rejected_events_are_counted_and_not_retried() {
    let apm = TestAgent::builder().configure(|agent| agent.api_request_time(Duration::from_secs(60))).start().await;
    apm.answer([Answer::rejected(["bad luck", "worse luck"])]);
    for _ in 0..10 {
        call(app(&apm), "/listings/7").await;
    }
    apm.expect_transactions("GET /listings/{id}", 8).await;
    let stats = apm.agent().stats();
    adds_up(stats);
    assert_eq!((stats.recorded, stats.accepted, stats.rejected), (10, 8, 2));
}

#[tokio::test]
async fn retry_after_a_partial_failure_skips_accepted_events() {
    let apm = TestAgent::builder().configure(|agent| agent.api_request_time(Duration::from_secs(60))).start().await;
    apm.answer([Answer::failed_after(3)]);
    for _ in 0..10 {
        call(app(&apm), "/listings/7").await;
    }
    apm.expect_transactions("GET /listings/{id}", 10).await;
    adds_up(apm.agent().stats());
    assert_eq!(apm.agent().stats().accepted, 10);
}

#[tokio::test]
async fn lost_response_sends_the_events_twice() {
    let apm = TestAgent::start().await;
    apm.answer([Answer::cut_after_storing()]);
    apm.agent().start_transaction("once", "scheduled").run(async {}).await;
    apm.flush().await;
    apm.expect_transactions("once", 2).await;
    assert_eq!(apm.agent().stats().accepted, 1);
}

// spec: transport.md
#[tokio::test]
async fn full_queue_drops_and_counts_events() {
    let apm = TestAgent::builder().configure(|agent| agent.max_queue_size(10)).start().await;
    let full = || apm.agent().stats().dropped.queue_full > 0;
    let deadline = Instant::now() + LONG;
    let mut jobs = 0;
    // the worker may keep pace with one burst
    while !full() && Instant::now() < deadline {
        let job = apm.agent().start_transaction("loop", "scheduled");
        job.in_scope(|| (0..400).for_each(|_| tracing::info_span!("step").in_scope(|| ())));
        jobs += 1;
    }
    apm.flush().await;
    let stats = apm.agent().stats();
    adds_up(stats);
    assert_eq!((stats.recorded, stats.waiting), (401 * jobs, 0));
    assert!(stats.dropped.queue_full > 0 && stats.accepted >= 10, "{stats}");
}

#[tokio::test]
async fn events_wait_until_the_server_is_reachable() {
    // a free port for the server that starts later
    let closed = DevServer::bind("127.0.0.1:0").unwrap();
    let (url, addr) = (closed.url(), closed.addr());
    closed.shutdown();
    let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").server_url(url).build().unwrap();
    agent.start_transaction("early", "scheduled").run(async {}).await;
    let unsent = agent.flush(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(unsent.waiting, 1);
    adds_up(agent.stats());
    let server = DevServer::bind(addr.to_string()).unwrap();
    agent.flush(LONG).await.unwrap();
    assert_eq!(server.store().query(&Query::new().kind(ServerKind::Transaction).name("early")).total, 1);
    assert_eq!((agent.stats().accepted, agent.stats().waiting), (1, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn flush_timeout_is_kept_on_a_single_thread_runtime() {
    let apm = TestAgent::start().await;
    apm.answer([Answer::slow(Duration::from_secs(60))]);
    apm.agent().start_transaction("slow", "scheduled").run(async {}).await;
    let start = Instant::now();
    apm.agent().flush(Duration::from_millis(100)).await.unwrap_err();
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
}

// spec: transport.md
#[tokio::test(flavor = "current_thread")]
async fn shutdown_delivers_events_and_ends_recording() {
    let apm = TestAgent::builder().configure(|agent| agent.api_request_time(Duration::from_secs(60))).start().await;
    apm.agent().start_transaction("before", "scheduled").run(async {}).await;
    apm.agent().shutdown(LONG).await.unwrap();
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
    apm.agent().start_transaction("after", "scheduled").run(async {}).await;
    apm.agent().shutdown(LONG).await.unwrap();
    let stats = apm.agent().stats();
    adds_up(stats);
    assert_eq!((apm.events(Kind::Transaction).len(), stats.accepted, stats.waiting), (1, 1, 0));
}

#[tokio::test]
async fn disabled_agent_records_no_events() {
    let apm = TestAgent::builder().configure(|agent| agent.enabled(false)).start().await;
    let handler = async |tx: tower_apm::Transaction| tx.is_active().to_string();
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    assert_eq!(call(app, "/").await.body(), "false");
    apm.expect_nothing().await;
    assert_eq!(apm.agent().stats(), Stats::default());
}

// spec: configuration.md
#[tokio::test]
async fn recording_off_records_no_events_from_any_source() {
    let apm = TestAgent::builder().configure(|agent| agent.recording(false)).start().await;
    let tracer = Arc::new(apm.agent().tracer_provider().tracer("shop"));
    let subscriber = tracing_subscriber::registry().with(apm.agent().tracing_layer());
    let record = move || {
        let error = std::io::Error::other("no such room");
        tracing::error!(error = &error as &(dyn std::error::Error + 'static), "not announced");
        tower_apm::Transaction::current().capture_error(&error);
        tracer.start("a span of its own").end();
        tracing::info_span!("and one of tracing's").in_scope(|| {});
        let mut headers = http::HeaderMap::new();
        tower_apm::trace_context::inject(&mut headers);
        // as with Elastic's other agents: without recording, no headers are sent
        assert!(headers.is_empty(), "{headers:?}");
    };
    tracing::subscriber::with_default(subscriber, || {
        record();
        apm.agent().start_transaction("job", "scheduled").in_scope(&record);
        let job = apm.agent().start_transaction("job", "scheduled");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.in_scope(|| panic!("a bug"))));
        assert!(panicked.is_err());
    });
    let handler = move || {
        record();
        let answer = http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
        ready(answer.with_error(std::io::Error::other("no sale")))
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    let traced = request("/").header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(send(app, empty(traced)).await.status(), 500);
    apm.expect_nothing().await;
    assert_eq!(apm.agent().stats().recorded, 0);
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn ignored_urls_make_no_transaction_at_any_layer() {
    let apm =
        TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/health*", "*/ping"])).start().await;
    let inner = Router::new().route("/ping", get(async || "pong")).layer(apm.layer().module("inner"));
    let app =
        Router::new().route("/healthz", get(async || "ok")).nest("/inner", inner).merge(app(&apm)).layer(apm.layer());
    // patterns match the path without the query
    for path in ["/healthz", "/inner/ping", "/inner/ping?verbose=1", "/listings/7"] {
        assert_eq!(call(app.clone(), path).await.status(), 200);
    }
    apm.expect_transaction("GET /listings/{id}").await;
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
    apm.clear();
    // spans of an ignored request do not become transactions
    let handler = async || {
        tracing::info_span!("SELECT 1").in_scope(|| {});
        tokio::task::yield_now().await;
        async { tracing::info!("well") }.instrument(tracing::info_span!("look")).await;
        tower_apm::Transaction::current().is_active().to_string()
    };
    let app = Router::new().route("/health", get(handler)).layer(apm.layer());
    assert_eq!(call(app, "/health").await.body(), "false");
    apm.expect_nothing().await;
}

// spec: tracing-sampling.md
#[tokio::test]
async fn sample_rate_zero_sends_no_transactions_and_propagates_the_decision() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    let handler = async || {
        let mut headers = http::HeaderMap::new();
        tower_apm::trace_context::inject(&mut headers);
        headers["traceparent"].to_str().unwrap().to_owned()
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    let passed = call(app.clone(), "/").await.into_body();
    assert!(passed.ends_with(b"-00"), "{passed:?}");
    apm.expect_nothing().await;
    // the decision of the caller takes precedence
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    send(app, empty(request("/").header("traceparent", sampled))).await;
    apm.expect_transaction("GET /").await.field("/trace_id", "0af7651916cd43dd8448eb211c80319c");
}

// spec: metadata.md
#[tokio::test]
async fn metadata_contains_service_process_and_labels() {
    let apm = TestAgent::builder()
        .configure(|agent| {
            agent.service_name("shop").service_version("1.2.3").environment("ci").global_labels([("region", "mars")])
        })
        .start()
        .await;
    call(app(&apm), "/listings/7").await;
    apm.expect_transaction("GET /listings/{id}").await;
    let metadata = &apm.events(Kind::Metadata)[0];
    for (pointer, value) in [
        ("/service/name", "shop"),
        ("/service/version", "1.2.3"),
        ("/service/environment", "ci"),
        ("/service/language/name", "rust"),
        ("/labels/region", "mars"),
    ] {
        assert_eq!(metadata.pointer(pointer).and_then(|found| found.as_str()), Some(value), "{pointer}");
    }
    assert_eq!(metadata["process"]["pid"], std::process::id());
}

// spec: metadata.md
#[tokio::test]
async fn configured_and_detected_hostnames_are_sent_separately() {
    let apm = TestAgent::builder().configure(|agent| agent.hostname("till 7 of the shop")).start().await;
    call(app(&apm), "/listings/7").await;
    apm.expect_transaction("GET /listings/{id}").await;
    let system = &apm.events(Kind::Metadata)[0]["system"];
    assert_eq!(system["configured_hostname"], "till 7 of the shop");
    assert_ne!(system["detected_hostname"], system["configured_hostname"]);
    assert_eq!(system.get("hostname"), None, "the older field is not sent");
}
