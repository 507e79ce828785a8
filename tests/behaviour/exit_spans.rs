//! Spans within and after exit spans.

use std::time::Duration;

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::{Value, json};
use tower_apm::{Transaction, testkit::TestAgent, trace_context};
use tracing::info_span;

use crate::span_compression::{SELECT, apm, names, sent};

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

// spec: tracing-spans.md
#[tokio::test]
async fn child_of_another_type_below_an_exit_span_is_not_recorded() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let call = info_span!("search", otel.kind = "client", db.system = "elasticsearch");
        call.in_scope(|| {
            info_span!("encode")
                .in_scope(|| info_span!("below").in_scope(|| assert!(Transaction::current().is_active())));
            let inner =
                info_span!("POST", otel.kind = "client", url.full = "http://es:9200/", http.request.method = "POST");
            inner.in_scope(|| info_span!("connect", otel.kind = "client", rpc.system = "grpc").in_scope(|| ()));
        });
        info_span!("show").in_scope(|| ());
    });
    let (transaction, spans) = sent(&apm).await;
    assert_eq!(names(&spans), ["search", "show"]);
    assert_eq!(
        transaction["span_count"],
        json!({ "started": 2 }),
        "spans that are not recorded do not count as dropped"
    );
    assert_eq!(transaction.get("dropped_spans_stats"), None);
}

// spec: tracing-spans.md, tracing-spans-destination.md
#[tokio::test]
async fn nested_exit_span_of_the_same_type_has_no_destination() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let _outer = Context::current_with_span(SELECT.start(&tracer)).attach();
        let _inner = Context::current_with_span(SELECT.named("FETCH").start(&tracer)).attach();
        SELECT.named("READ").run(&tracer);
        tracer.in_span("decode", |_| ());
    });
    let (_, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 3, "{spans:?}");
    let outer = named(&spans, "SELECT FROM orders");
    assert_eq!(outer["context"]["service"]["target"], json!({ "type": "postgresql", "name": "shop" }));
    for (name, parent) in [("FETCH", "SELECT FROM orders"), ("READ", "FETCH")] {
        let inner = named(&spans, name);
        assert_eq!(inner["parent_id"], named(&spans, parent)["id"]);
        assert_eq!((&inner["type"], &inner["subtype"]), (&json!("db"), &json!("postgresql")));
        assert_eq!(inner["context"]["db"]["instance"], "shop");
        assert_eq!((inner["context"].get("destination"), inner["context"].get("service")), (None, None));
    }
}

// spec: tracing-spans.md
#[tokio::test]
async fn references_to_an_unrecorded_child_point_to_its_exit_span() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    let mut headers = http::HeaderMap::new();
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        for n in 0..2 {
            let call = SELECT.at(n * 10);
            let context = Context::current_with_span(call.start(&tracer));
            let _attached = context.clone().attach();
            tracer.in_span("send", |inner| {
                if n == 0 {
                    trace_context::inject(&mut headers);
                } else {
                    inner.span().record_error(&std::io::Error::other("lost"));
                }
            });
            call.end_in(&context);
        }
    });
    let (_, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 2, "they are not compressed: {spans:?}");
    assert!(headers["traceparent"].to_str().unwrap().contains(spans[0]["id"].as_str().unwrap()));
    let error = &apm.events(tower_apm::devserver::Kind::Error)[0];
    assert_eq!(error["parent_id"], spans[1]["id"]);
}

#[tokio::test]
async fn spans_within_the_last_exit_span_of_the_limit_are_dropped() {
    let apm = apm(|agent| agent.transaction_max_spans(1)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let _outer = Context::current_with_span(SELECT.start(&tracer)).attach();
        SELECT.named("FETCH").run(&tracer);
        drop(SELECT.named("FETCH").start(&tracer));
        tracer.in_span("decode", |_| ());
    });
    let (transaction, spans) = sent(&apm).await;
    assert_eq!(names(&spans), ["SELECT FROM orders"]);
    assert_eq!(transaction["span_count"], json!({ "started": 1, "dropped": 2 }));
    assert!(
        transaction.get("dropped_spans_stats").is_none(),
        "they are part of an exit span that is sent: {transaction}"
    );
}

#[tokio::test]
async fn span_started_after_its_exit_span_has_a_sent_parent() {
    let least = |agent: tower_apm::AgentBuilder| agent.exit_span_min_duration(Duration::from_millis(4));
    let apm = apm(least).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    let mut headers = http::HeaderMap::new();
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let run = |call: crate::span_compression::Call| {
            let context = Context::current_with_span(call.start(&tracer));
            call.end_in(&context);
            context
        };
        let waits = run(SELECT);
        drop(tracer.start_with_context("after one that waited", &waits));

        let first = run(SELECT.at(100));
        let absorbed = run(SELECT.at(110));
        let inserted = run(SELECT.named("INSERT").at(200).took(1)); // the two before are sent, this one waits
        drop(tracer.start_with_context("after one that was absorbed", &absorbed));
        run(SELECT.named("UPDATE").at(300).took(9));
        drop(tracer.start_with_context("after one that was dropped", &inserted));
        let _attached = inserted.attach();
        trace_context::inject(&mut headers);
        drop(first);
    });
    let (transaction, spans) = sent(&apm).await;
    let after = |name: &str| named(&spans, name)["parent_id"].clone();
    assert_eq!(after("after one that waited"), spans[0]["id"]);
    let composite = spans.iter().find(|span| span["composite"]["count"] == 2).unwrap();
    assert_eq!(after("after one that was absorbed"), composite["id"]);
    assert_eq!(after("after one that was dropped"), transaction["id"]);
    assert!(headers["traceparent"].to_str().unwrap().contains(transaction["id"].as_str().unwrap()));
    assert_eq!(names(&spans).iter().filter(|name| **name == "INSERT").count(), 0);
}

#[tokio::test]
async fn late_child_ends_the_compression_of_its_exit_span() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let context = Context::current_with_span(SELECT.start(&tracer));
        SELECT.end_in(&context);
        let task = tracer.span_builder("task").with_kind(SpanKind::Internal).start_with_context(&tracer, &context);
        SELECT.at(10).run(&tracer);
        drop(task);
    });
    let (_, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 3, "the second call is not merged into the first one: {spans:?}");
    assert_eq!(named(&spans, "task")["parent_id"], spans[0]["id"]);
}

/// With metrics enabled, the type of a span is determined at its start already.
#[tokio::test]
async fn attributes_set_after_the_start_decide_the_span_type() {
    for compression in [true, false] {
        let apm =
            apm(move |agent| agent.metrics_interval(Duration::from_secs(3600)).span_compression_enabled(compression))
                .await;
        let tracer = apm.agent().tracer_provider().tracer("db");
        apm.agent().start_transaction("work", "scheduled").in_scope(|| {
            let attributes =
                vec![KeyValue::new("db.system", "other_sql"), KeyValue::new("db.query.text", "SET k secret")];
            let mut call =
                tracer.span_builder("query").with_kind(SpanKind::Client).with_attributes(attributes).start(&tracer);
            call.set_attribute(KeyValue::new("db.system", "redis"));
            call.end();
            let call = tracing::info_span!("select", otel.kind = "client", db.system = "other_sql");
            call.in_scope(|| _ = tracing::Span::current().record("db.system", "postgresql"));
        });
        let (_, spans) = sent(&apm).await;
        let [redis, postgresql] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((&redis["name"], &redis["subtype"]), (&"query".into(), &"redis".into()));
        assert!(redis.pointer("/context/db/statement").is_none(), "{redis}");
        assert_eq!(postgresql["subtype"], "postgresql");
    }
}
