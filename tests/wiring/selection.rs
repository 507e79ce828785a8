//! The selection of recorded spans: `span_level`, `ignore_spans`, and the label `target`.

use tower_apm::{
    AgentBuilder, CaptureSpanFields, LogLevel,
    testkit::{Kind, TestAgent},
};
use tracing::{info_span, trace_span};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt};

/// Runs a job in a subscriber of the service. A library opens spans below the job.
fn run(apm: &TestAgent) {
    let printer = tracing_subscriber::fmt::layer().with_writer(std::io::sink).with_filter(LevelFilter::WARN);
    let subscriber = tracing_subscriber::registry().with(printer).with(apm.agent().tracing_layer());
    tracing::subscriber::with_default(subscriber, || {
        apm.agent().start_transaction("job", "scheduled").in_scope(|| {
            info_span!(target: "tower_sessions::service", "call").in_scope(|| {
                info_span!(target: "session_store::sqlx", "get_record").in_scope(|| ());
            });
            trace_span!(target: "otel::tracing", "shop.Market/Buy", otel.kind = "client", rpc.system = "grpc")
                .in_scope(|| ());
        });
    });
}

async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

#[tokio::test]
async fn spans_down_to_info_are_recorded_by_default() {
    let apm = apm(|agent| agent).await;
    run(&apm);
    apm.expect_transaction("job").await.span_count(2).no_span("shop.Market/Buy");
}

#[tokio::test]
async fn span_level_trace_records_trace_spans() {
    let apm = apm(|agent| agent.span_level(LogLevel::Trace)).await;
    run(&apm);
    apm.expect_transaction("job")
        .await
        .span_count(3)
        .span("shop.Market/Buy", |span| span.kind("external", "grpc").child_of("job"));
}

#[tokio::test]
async fn span_level_off_records_no_tracing_span() {
    let apm = apm(|agent| agent.span_level(LogLevel::Off)).await;
    run(&apm);
    apm.expect_transaction("job").await.span_count(0);
}

#[tokio::test]
async fn span_below_an_ignored_span_hangs_below_the_next_recorded_one() {
    let apm = apm(|agent| agent.ignore_spans(["tower_sessions*"])).await;
    run(&apm);
    apm.expect_transaction("job").await.span_count(1).span("get_record", |span| span.child_of("job"));
}

#[tokio::test]
async fn ignore_spans_matches_targets_with_names() {
    let apm = apm(|agent| agent.ignore_spans(["*::get_record", "*::call"])).await;
    run(&apm);
    apm.expect_transaction("job").await.span_count(0);
}

#[tokio::test]
async fn spans_have_their_target_as_a_label() {
    let apm = apm(|agent| agent).await;
    run(&apm);
    apm.expect_span("get_record").await.label("target", "session_store::sqlx");
    apm.expect_span("call").await.label("target", "tower_sessions::service");
}

#[tokio::test]
async fn capture_span_fields_off_sends_no_target() {
    let apm = apm(|agent| agent.capture_span_fields(CaptureSpanFields::Off)).await;
    run(&apm);
    apm.flush().await;
    let spans = apm.events(Kind::Span);
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| span.pointer("/context/tags").is_none()), "{spans:?}");
}
