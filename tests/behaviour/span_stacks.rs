//! Stack traces of spans.

use std::time::{Duration, SystemTime};

use axum::{Router, routing::get};
use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanKind, Tracer, TracerProvider},
};
use serde_json::Value;
use tower_apm::AgentBuilder;

use crate::{
    http::call,
    span_compression::{SELECT, after, apm},
};

fn functions(span: &Value) -> Vec<&str> {
    let frames = span["stacktrace"].as_array().map(Vec::as_slice).unwrap_or_default();
    frames.iter().map(|frame| frame["function"].as_str().unwrap_or_default()).collect()
}

#[tracing::instrument]
async fn load() {
    tokio::task::yield_now().await;
}

async fn show() {
    load().await;
}

// spec: tracing-spans.md
#[tokio::test]
async fn span_stack_starts_at_the_awaiting_code() {
    let apm = apm(|agent| agent.span_stack_trace_min_duration(Duration::ZERO)).await;
    call(Router::new().route("/", get(async || show().await)).layer(apm.layer()), "/").await;
    let span = apm.expect_span("load").await;
    let functions = functions(span.json());
    assert!(functions[0].ends_with("span_stacks::load"), "{functions:?}");
    assert!(functions[1].ends_with("span_stacks::show"), "{functions:?}");
    assert!(functions.len() <= 50);
    let first = &span.json()["stacktrace"][0];
    assert_eq!((&first["filename"], &first["library_frame"]), (&"span_stacks.rs".into(), &false.into()));
}

// spec: tracing-spans.md
#[tokio::test]
async fn span_stack_needs_the_minimum_duration() {
    for (least, short, long) in
        [(None, false, false), (Some(Duration::ZERO), true, true), (Some(Duration::from_millis(5)), false, true)]
    {
        let apm = apm(move |agent| agent.span_stack_trace_min_duration(least)).await;
        let (_, spans) = after(&apm, [SELECT.named("SHORT").took(4), SELECT.named("LONG").at(10).took(5)]).await;
        let have: Vec<_> = spans.iter().map(|span| !functions(span).is_empty()).collect();
        assert_eq!(have, [short, long], "{least:?}");
    }
    let always = |agent: AgentBuilder| agent.span_stack_trace_min_duration(Duration::ZERO);
    let apm = apm(move |agent| always(agent).stack_trace_limit(2)).await;
    let (_, spans) = after(&apm, [SELECT.took(5)]).await;
    assert_eq!(functions(&spans[0]).len(), 2);
    let apm = self::apm(move |agent| always(agent).stack_trace_limit(0)).await;
    assert_eq!(after(&apm, [SELECT.took(5)]).await.1[0].get("stacktrace"), None);
}

// spec: tracing-spans.md, tracing-spans-compress.md
#[tokio::test]
async fn composite_span_has_the_stack_of_its_first_span() {
    let apm = apm(|agent| agent.span_stack_trace_min_duration(Duration::from_millis(5))).await;
    let (_, spans) = after(&apm, (0..3).map(|n| SELECT.at(n * 100).took(10))).await;
    assert_eq!((spans.len(), &spans[0]["composite"]["count"]), (1, &3.into()));
    assert!(!functions(&spans[0]).is_empty());
}

// spec: tracing-spans.md
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn span_stack_without_application_frames_is_omitted() {
    let apm = apm(|agent| agent.span_stack_trace_min_duration(Duration::ZERO)).await;
    let tracer = apm.agent().tracer_provider().tracer("app");
    let work = apm.agent().start_transaction("work", "scheduled");
    let span = tracer.start_with_context("let go", &Context::from(work.clone()));
    let (give, take) = tokio::sync::oneshot::channel();
    // the task is not awaited, so the runtime drops the span, with only its own code on the stack
    drop(tokio::spawn(take));
    assert!(give.send(span).is_ok());
    apm.expect_span("let go").await.no_field("/stacktrace");
    drop(work);
}

// spec: tracing-spans.md
#[tokio::test]
async fn code_stacktrace_attribute_is_the_span_stack() {
    let apm = apm(|agent| agent.span_stack_trace_min_duration(Duration::ZERO)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    let text = "   0: shop::pool::Connection::run\n             at ./src/pool.rs:7:3\n   1: tokio::runtime::run\n";
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let attributes = [KeyValue::new("code.stacktrace", text), KeyValue::new("db.system", "mysql")];
        let span = tracer.span_builder("query").with_kind(SpanKind::Client).with_attributes(attributes);
        span.start(&tracer).end_with_timestamp(SystemTime::now());
    });
    let span = apm.expect_span("query").await;
    assert_eq!(functions(span.json()), ["shop::pool::Connection::run"], "frames of the runtime are removed");
    assert_eq!(span.json()["stacktrace"][0]["lineno"], 7);
    assert_eq!(span.json()["context"].get("tags"), None);
}
