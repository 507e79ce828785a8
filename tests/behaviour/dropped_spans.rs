//! Spans that are dropped because of the limit or their short duration, and their counts.

use std::time::Duration;

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::json;
use tower_apm::trace_context;

use crate::span_compression::{SELECT, after, apm, names, sent};

// spec: tracing-spans-limit.md, tracing-spans-dropped-stats.md
#[tokio::test]
async fn spans_over_the_limit_are_counted_by_target_and_outcome() {
    let apm = apm(|agent| agent.transaction_max_spans(1).span_compression_enabled(false)).await;
    let calls = [SELECT, SELECT.at(10), SELECT.at(20).took(3), SELECT.to("redis", "").at(30)];
    let (transaction, spans) = after(&apm, calls).await;
    assert_eq!(spans.len(), 1);
    assert_eq!(transaction["span_count"], json!({ "started": 1, "dropped": 3 }));
    let stats = |resource: &str, name: Option<&str>, count: u64, us: u64| {
        let kind = resource.split('/').next();
        let mut stats = json!({
            "destination_service_resource": resource, "service_target_type": kind, "outcome": "success",
            "duration": { "count": count, "sum": { "us": us } },
        });
        if let Some(name) = name {
            stats["service_target_name"] = name.into();
        }
        stats
    };
    let expected = json!([stats("postgresql/shop", Some("shop"), 2, 5000), stats("redis", None, 1, 2000)]);
    assert_eq!(transaction["dropped_spans_stats"], expected);
}

// spec: tracing-spans-dropped-stats.md, tracing-spans-drop-fast-exit.md
#[tokio::test]
async fn dropped_spans_stats_are_per_outcome_and_count_each_span_of_a_composite() {
    let apm = apm(|agent| agent.exit_span_min_duration(Duration::from_millis(10)).transaction_max_spans(3)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        // the sum decides: a composite of 9 ms within 23 ms is dropped
        (0..3).for_each(|n| SELECT.at(n * 10).took(3).run(&tracer));
        (3..6).for_each(|n| SELECT.named("INSERT").at(n * 100).took(60).run(&tracer));
        for (n, status) in (6..).zip([Status::Ok, Status::error("lost"), Status::Ok, Status::Unset]) {
            let call = SELECT.at(n * 100);
            let mut span = call.start(&tracer);
            if status == Status::Unset {
                span.set_attribute(KeyValue::new("event.outcome", "unknown"));
            }
            span.set_status(status);
            call.end(&mut span);
        }
    });
    let (transaction, spans) = sent(&apm).await;
    assert_eq!(names(&spans), ["INSERT"; 3]);
    assert_eq!(transaction["span_count"], json!({ "started": 3, "dropped": 5 }));
    let stats = transaction["dropped_spans_stats"].as_array().unwrap();
    let of = |outcome: &str| &stats.iter().find(|entry| entry["outcome"] == outcome).unwrap()["duration"];
    assert_eq!(of("unknown"), &json!({ "count": 1, "sum": { "us": 2000 } }));
    assert_eq!(of("success"), &json!({ "count": 5, "sum": { "us": 13000 } }), "a composite of three, and two");
    assert_eq!(of("failure"), &json!({ "count": 1, "sum": { "us": 2000 } }));
}

// spec: tracing-spans-dropped-stats.md
#[tokio::test]
async fn dropped_spans_stats_truncate_long_target_names() {
    for system in ["mysql", &"kafka".repeat(200)] {
        let apm = apm(|agent| agent.transaction_max_spans(0)).await;
        let tracer = apm.agent().tracer_provider().tracer("db");
        let attributes = [
            KeyValue::new("messaging.system", system.to_owned()),
            KeyValue::new("messaging.destination.name", "ä".repeat(513)),
        ];
        let send = tracer.span_builder("SEND").with_kind(SpanKind::Producer).with_attributes(attributes);
        apm.agent().start_transaction("work", "scheduled").in_scope(|| drop(send.start(&tracer)));
        let (transaction, _) = sent(&apm).await;
        let target = &transaction["dropped_spans_stats"][0];
        let length = |key: &str| target[key].as_str().unwrap().chars().count();
        assert_eq!(length("service_target_name"), 512);
        assert_eq!(length("service_target_type"), system.len().min(512));
        assert_eq!(length("destination_service_resource"), (system.len() + 1 + 513).min(1024));
    }
}

// spec: tracing-spans-limit.md
#[tokio::test]
async fn spans_dropped_without_end_are_counted() {
    let apm = apm(|agent| agent.transaction_max_spans(0)).await;
    let tracer = apm.agent().tracer_provider().tracer("app");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        tracer.in_span("load", |_| ());
        drop(tracer.start("store"));
        tracer.start("show").end();
    });
    assert_eq!(sent(&apm).await.0["span_count"], json!({ "started": 0, "dropped": 3 }));
}

// spec: tracing-spans-limit.md
#[tokio::test]
async fn concurrent_spans_respect_the_limit() {
    let apm = apm(|agent| agent.transaction_max_spans(100)).await;
    let tracer = apm.agent().tracer_provider().tracer("app");
    let work = apm.agent().start_transaction("work", "scheduled");
    let context = Context::from(work.clone());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // all spans start before the first one ends
                let spans: Vec<_> = (0..100).map(|_| tracer.start_with_context("step", &context)).collect();
                drop(spans);
            });
        }
    });
    drop((work, context));
    let (transaction, spans) = sent(&apm).await;
    assert_eq!(transaction["span_count"], json!({ "started": 100, "dropped": 700 }));
    assert_eq!(spans.len(), 100);
}

// spec: tracing-spans-dropped-stats.md
#[tokio::test]
async fn dropped_spans_stats_are_limited_to_128_entries() {
    let apm = apm(|agent| agent.transaction_max_spans(0)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        for n in 0..200 {
            let attributes =
                [KeyValue::new("db.system", "mysql"), KeyValue::new("db.namespace", format!("tenant{}", n % 150))];
            drop(tracer.span_builder("SELECT").with_kind(SpanKind::Client).with_attributes(attributes).start(&tracer));
        }
    });
    let (transaction, _) = sent(&apm).await;
    let stats = transaction["dropped_spans_stats"].as_array().unwrap();
    assert_eq!((stats.len(), &transaction["span_count"]["dropped"]), (128, &json!(200)));
    let counted: u64 = stats.iter().map(|entry| entry["duration"]["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 128 + 50, "existing entries continue to count");
}

// spec: tracing-spans-limit.md
#[tokio::test]
async fn context_of_a_dropped_span_propagates_the_sent_ancestor() {
    let apm = apm(|agent| agent.transaction_max_spans(0)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    let mut headers = http::HeaderMap::new();
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let _attached = Context::current_with_span(SELECT.start(&tracer)).attach();
        trace_context::inject(&mut headers);
    });
    let (transaction, _) = sent(&apm).await;
    let parent = headers["traceparent"].to_str().unwrap();
    assert!(parent.contains(transaction["id"].as_str().unwrap()), "{parent} contains the nearest span that is sent");
}

// spec: tracing-spans-drop-fast-exit.md
#[tokio::test]
async fn short_exit_spans_are_dropped_and_counted() {
    let apm = apm(|agent| agent.exit_span_min_duration(Duration::from_millis(10)).transaction_max_spans(2)).await;
    let calls = [
        SELECT.took(9),                        // short
        SELECT.named("INSERT").at(20).took(4), // the same, three of them: 12 ms
        SELECT.named("INSERT").at(30).took(4),
        SELECT.named("INSERT").at(40).took(4),
        SELECT.named("UPDATE").at(50).took(9), // short
    ];
    let (transaction, spans) = after(&apm, calls).await;
    assert_eq!(names(&spans), ["INSERT"], "a composite counts by the sum of its calls");
    assert_eq!(spans[0]["composite"]["count"], 3);
    assert_eq!(
        transaction["span_count"],
        json!({ "started": 1, "dropped": 2 }),
        "a dropped span does not count towards the limit"
    );
    assert_eq!(transaction["dropped_spans_stats"][0]["duration"], json!({ "count": 2, "sum": { "us": 18000 } }));
}

// spec: tracing-spans-drop-fast-exit.md
#[tokio::test]
async fn short_spans_with_propagated_context_are_sent() {
    let apm = apm(|agent| agent.exit_span_min_duration(Duration::from_secs(10))).await;
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let url = "http://chain.example/rpc";
        drop(tracing::info_span!("GET", otel.kind = "client", url.full = url, http.request.method = "GET"));
        drop(tracing::info_span!("load"));
    });
    let (transaction, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 2);
    assert_eq!(transaction["span_count"], json!({ "started": 2 }));
}
