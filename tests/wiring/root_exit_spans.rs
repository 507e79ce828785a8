//! Exit spans without a transaction.

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceState, Tracer, TracerProvider},
};
use tower_apm::{
    AgentBuilder,
    testkit::{Kind, TestAgent},
};
use tracing_subscriber::layer::SubscriberExt;

/// Runs an exit span of each kind with a span below it and an error.
fn work(apm: &TestAgent, above: &Context) {
    let tracer = apm.agent().tracer_provider().tracer("db");
    for kind in [SpanKind::Client, SpanKind::Producer] {
        let builder =
            tracer.span_builder("SELECT").with_kind(kind).with_attributes([KeyValue::new("db.system", "mysql")]);
        let call = above.with_span(builder.start_with_context(&tracer, above));
        drop(tracer.start_with_context("connect", &call));
        let _attached = call.attach();
        tracing::error!(error = "refused", "it failed");
    }
}

#[tokio::test]
async fn exit_span_without_a_parent_makes_no_transaction() {
    let apm = TestAgent::start().await;
    work(&apm, &Context::new());
    let caller = SpanContext::new(7.into(), 8.into(), TraceFlags::SAMPLED, true, TraceState::NONE);
    work(&apm, &Context::new().with_remote_span_context(caller));
    apm.expect_error("refused").await.no_field("/transaction_id");
    assert_eq!(apm.events(Kind::Error).len(), 4, "errors are recorded all the same");
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (0, 0));
}

#[tokio::test]
async fn root_exit_spans_records_exit_spans_without_a_parent() {
    let apm = TestAgent::builder().configure(|agent: AgentBuilder| agent.root_exit_spans(true)).start().await;
    work(&apm, &Context::new());
    apm.expect_transaction("SELECT").await.span("connect", |span| span.child_of("SELECT"));
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 2);

    apm.clear();
    apm.set_central_config([("root_exit_spans", "false")]);
    work(&apm, &Context::new());
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 0);
}

#[tokio::test]
async fn other_spans_without_a_parent_are_transactions() {
    let apm = TestAgent::start().await;
    let subscriber = tracing_subscriber::registry().with(apm.agent().tracing_layer());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("manual").in_scope(|| tracing::info_span!("SELECT", otel.kind = "client").in_scope(|| ()));
        tracing::info_span!("receive", otel.kind = "consumer", messaging.system = "kafka").in_scope(|| ());
        tracing::info_span!("GET /", otel.kind = "server", http.request.method = "GET").in_scope(|| ());
        tracing::info_span!("lone call", otel.kind = "client").in_scope(|| ());
    });
    apm.expect_transaction("manual").await.span("SELECT", |span| span.child_of("manual"));
    apm.expect_transaction("receive").await.kind("messaging");
    apm.expect_transaction("GET /").await.kind("request");
    assert_eq!(apm.events(Kind::Transaction).len(), 3);
}
