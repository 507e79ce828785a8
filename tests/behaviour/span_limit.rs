//! `transaction_max_spans`: every parent id that is sent refers to an event that is sent.
// spec: tracing-spans-limit.md

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use opentelemetry::{
    Context,
    context::FutureExt,
    trace::{Span, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::{Value, json};
use tower_apm::{
    Transaction,
    devserver::Kind,
    testkit::{TestAgent, TestAgentBuilder},
    trace_context,
};

use crate::{
    http::call,
    span_compression::{SELECT, apm, names, sent},
};

#[tracing::instrument]
async fn load(number: u32) {
    tokio::task::yield_now().await;
}

#[tracing::instrument]
async fn load_all(count: u32) {
    for number in 0..count {
        load(number).await;
    }
    Transaction::current().capture_error(&std::io::Error::other("one is missing"));
}

fn ids(apm: &TestAgent) -> HashSet<String> {
    let events = [Kind::Transaction, Kind::Span].into_iter().flat_map(|kind| apm.events(kind));
    events.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// Spans and errors with a parent that has not arrived.
fn orphans(apm: &TestAgent) -> Vec<Value> {
    let ids = ids(apm);
    let events = [Kind::Span, Kind::Error].into_iter().flat_map(|kind| apm.events(kind));
    events.filter(|event| !ids.contains(event["parent_id"].as_str().unwrap())).collect()
}

async fn outer_span_keeps_its_place(builder: TestAgentBuilder) -> TestAgent {
    let apm = builder.start().await;
    let app = Router::new().route("/orders", get(|| load_all(600))).layer(apm.layer());
    call(app, "/orders").await;
    let outer = apm.expect_span("load_all").await.json().clone();
    apm.flush().await;
    let spans = apm.events(Kind::Span);
    let children = spans.iter().filter(|span| span["name"] == "load");
    assert_eq!(children.filter(|span| span["parent_id"] == outer["id"]).count(), 499);
    assert_eq!(orphans(&apm), [] as [Value; 0]);
    apm
}

#[tokio::test]
async fn span_limit_counts_spans_at_their_start() {
    let apm = outer_span_keeps_its_place(TestAgent::builder()).await;
    let outer = apm.expect_span("load_all").await;
    assert_eq!(apm.events(Kind::Span).len(), 500);
    assert_eq!(apm.events(Kind::Transaction)[0]["span_count"], json!({ "started": 500, "dropped": 101 }));
    assert_eq!(apm.events(Kind::Error)[0]["parent_id"], outer.json()["id"]);
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn span_limit_counts_spans_at_their_start_with_otlp() {
    let _ = outer_span_keeps_its_place(TestAgent::builder().otlp(tower_apm::OtlpProtocol::HttpProtobuf)).await;
}

#[tokio::test]
async fn children_and_errors_of_a_dropped_span_have_the_nearest_sent_ancestor_as_parent() {
    let apm = apm(|agent| agent.transaction_max_spans(1)).await;
    let tracer = apm.agent().tracer_provider().tracer("app");
    let mut headers = http::HeaderMap::new();
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let kept = Context::current_with_span(tracer.start("kept"));
        let _kept = kept.attach();
        let dropped = Context::current_with_span(tracer.start("dropped"));
        let _dropped = dropped.attach();
        let below = Context::current_with_span(SELECT.start(&tracer));
        let _below = below.attach();
        trace_context::inject(&mut headers);
        Transaction::current().capture_error(&std::io::Error::other("no such room"));
    });
    let (transaction, spans) = sent(&apm).await;
    let [kept] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(kept["parent_id"], transaction["id"]);
    let id = kept["id"].as_str().unwrap();
    assert_eq!(apm.events(Kind::Error)[0]["parent_id"], id);
    assert!(headers["traceparent"].to_str().unwrap().contains(id));
    assert_eq!(transaction["span_count"], json!({ "started": 1, "dropped": 2 }));
    assert_eq!(transaction["dropped_spans_stats"][0]["duration"]["count"], 1);
}

#[tokio::test]
async fn compressed_and_short_exit_spans_do_not_count_towards_the_span_limit() {
    let apm = apm(|agent| agent.transaction_max_spans(3).exit_span_min_duration(Duration::from_millis(2))).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        tracer.in_span("load", |_| {
            (0..100).for_each(|n| SELECT.at(n * 10).run(&tracer)); // one span of 200 ms
            (100..200).for_each(|n| SELECT.named(["A", "B"][n as usize % 2]).at(n * 10).took(1).run(&tracer)); // short
        });
        SELECT.named("INSERT").at(3000).run(&tracer);
        SELECT.named("DELETE").at(4000).run(&tracer);
    });
    let (transaction, spans) = sent(&apm).await;
    let mut names = names(&spans);
    names.sort_unstable();
    assert_eq!(names, ["INSERT", "SELECT FROM orders", "load"]);
    assert_eq!(transaction["span_count"], json!({ "started": 3, "dropped": 101 }));
}

#[tokio::test]
async fn spans_within_an_open_exit_span_do_not_count_towards_the_span_limit() {
    let apm = apm(|agent| agent.transaction_max_spans(2)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let call = Context::current_with_span(SELECT.start(&tracer)).attach();
        (0..10).for_each(|_| tracer.in_span("decode", |_| ()));
        drop(call);
        tracer.in_span("store", |_| ());
    });
    let (transaction, spans) = sent(&apm).await;
    assert_eq!((spans.len(), &transaction["span_count"]), (2, &json!({ "started": 2 })));
}

#[tokio::test]
async fn late_children_of_merged_exit_spans_belong_to_the_composite() {
    let apm = apm(|agent| agent.transaction_max_spans(-1)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let ended = |n: u64| {
            let call = SELECT.at(n * 10);
            let context = Context::current_with_span(call.start(&tracer));
            call.end_in(&context);
            context
        };
        let calls: Vec<_> = (0..1000).map(ended).collect();
        calls.iter().for_each(|call| drop(tracer.start_with_context("late", call)));
    });
    let (_, spans) = sent(&apm).await;
    let composite = spans.iter().find(|span| span.get("composite").is_some()).unwrap();
    assert_eq!(composite["composite"]["count"], 1000);
    let late: Vec<_> = spans.iter().filter(|span| span["name"] == "late").collect();
    assert_eq!(late.len(), 1000);
    assert!(late.iter().all(|span| span["parent_id"] == composite["id"]));
}

#[tokio::test]
async fn late_child_of_a_short_composite_belongs_to_the_parent() {
    let apm = apm(|agent| agent.exit_span_min_duration(Duration::from_millis(10))).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        SELECT.run(&tracer);
        let merged = Context::current_with_span(SELECT.at(10).start(&tracer));
        SELECT.at(10).end_in(&merged);
        // another name: the composite is finished, and too short
        SELECT.named("INSERT").at(20).took(20).run(&tracer);
        drop(tracer.start_with_context("late", &merged));
    });
    let (transaction, spans) = sent(&apm).await;
    let late = spans.iter().find(|span| span["name"] == "late").unwrap();
    assert_eq!(late["parent_id"], transaction["id"]);
    assert_eq!(transaction["span_count"], json!({ "started": 2, "dropped": 1 }));
}

#[tokio::test]
async fn exit_span_with_an_in_process_request_is_not_compressed() {
    let apm = TestAgent::start().await;
    let tracer = Arc::new(apm.agent().tracer_provider().tracer("db"));
    let inner = Router::new().route("/inner", get(|| async {})).layer(apm.layer());
    let work = async {
        for n in 0..3 {
            let context = Context::current_with_span(SELECT.at(n * 10).start(&*tracer));
            let inner = inner.clone();
            opentelemetry::trace::FutureExt::with_context(call(inner, "/inner"), context.clone()).await;
            SELECT.at(n * 10).end_in(&context);
        }
    };
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    let (_, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 3);
    let requests = apm.expect_transactions("GET /inner", 3).await;
    let ids = ids(&apm);
    assert!(requests.iter().all(|request| ids.contains(request.json()["parent_id"].as_str().unwrap())));
}

#[tokio::test]
async fn error_of_an_outer_transaction_does_not_refer_to_inner_spans() {
    let apm = TestAgent::start().await;
    let tracer = Arc::new(apm.agent().tracer_provider().tracer("db"));
    let outer = apm.agent().start_transaction("work", "scheduled");
    let handle = outer.clone();
    let work = move || {
        for n in 0..3 {
            let context = Context::current_with_span(SELECT.at(n * 10).start(&*tracer));
            let attached = context.clone().attach();
            handle.capture_error(&std::io::Error::other(format!("error {n}")));
            drop(attached);
            SELECT.at(n * 10).end_in(&context);
        }
    };
    let handler = move || {
        work();
        async {}
    };
    let inner = Router::new().route("/inner", get(handler)).layer(apm.layer());
    outer.run(call(inner, "/inner")).await;
    let (transaction, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 1, "no event refers to the exit spans: {spans:?}");
    let errors = apm.events(Kind::Error);
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert_eq!((&error["parent_id"], &error["transaction_id"]), (&transaction["id"], &transaction["id"]));
    }
}

/// Runs a request within two open spans of the agent: `root` begins a transaction, which the layer takes over.
async fn within_root_span<T>(apm: &TestAgent, request: impl Future<Output = T>) {
    let tracer = apm.agent().tracer_provider().tracer("proxy");
    let root = Context::new().with_span(tracer.start_with_context("root", &Context::new()));
    let middleware = root.with_span(tracer.start_with_context("middleware", &root));
    request.with_context(middleware.clone()).await;
    middleware.span().end();
    root.span().end();
}

#[tokio::test]
async fn span_around_an_ignored_request_is_not_sent_without_parent() {
    let apm = apm(|agent| agent.transaction_ignore_urls(["/health"])).await;
    let app = Router::new().route("/health", get(|| async {})).layer(apm.layer());
    within_root_span(&apm, call(app, "/health")).await;
    apm.expect_nothing().await;
}

#[tokio::test]
async fn unsampled_request_within_a_root_span_leaves_no_orphans() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(|| async {})).layer(apm.layer());
    let request =
        crate::http::get("/").header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    within_root_span(&apm, crate::http::send(app, crate::http::empty(request))).await;
    apm.flush().await;
    assert_eq!(orphans(&apm), [] as [Value; 0]);
    assert!(apm.events(Kind::Span).is_empty());
}

#[tokio::test]
async fn concurrent_spans_at_the_limit_leave_no_orphans() {
    let apm = apm(|agent| agent.transaction_max_spans(100)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    let work = apm.agent().start_transaction("work", "scheduled");
    let context = Context::from(work.clone());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (tracer, context) = (&tracer, &context);
            scope.spawn(move || {
                for n in 0..100 {
                    let outer = context.with_span(tracer.start_with_context("outer", context));
                    let call = tracer.span_builder("SELECT").with_kind(SpanKind::Client);
                    let mut call = call.start_with_context(tracer, if n % 3 == 0 { context } else { &outer });
                    call.set_attribute(opentelemetry::KeyValue::new("db.system", "mysql"));
                    drop(tracer.start_with_context("inner", &outer));
                    if n % 2 == thread % 2 {
                        drop(outer);
                        drop(call);
                    }
                }
            });
        }
    });
    drop((work, context));
    let (transaction, spans) = sent(&apm).await;
    assert!(spans.len() <= 100, "{}", spans.len());
    assert_eq!(transaction["span_count"]["started"], spans.len());
    let composites = spans.iter().map(|span| span["composite"]["count"].as_u64().unwrap_or(1));
    let dropped = transaction["span_count"]["dropped"].as_u64().unwrap();
    assert_eq!(composites.sum::<u64>() + dropped, 8 * 300);
    assert_eq!(orphans(&apm), [] as [Value; 0]);
}

#[tokio::test]
async fn spans_dropped_after_the_end_of_their_transaction_are_counted() {
    let apm = apm(|agent| agent.transaction_max_spans(2).exit_span_min_duration(Duration::from_millis(10))).await;
    let tracer = apm.agent().tracer_provider().tracer("socket");
    let work = apm.agent().start_transaction("work", "scheduled");
    let context = Context::from(work.clone());
    drop(tracer.start_with_context("before", &context));
    drop(work);
    for n in 0..5 {
        drop(tracer.start_with_context("after", &context));
        let _attached = context.clone().attach();
        SELECT.at(n * 10).run(&tracer);
    }
    let (transaction, spans) = sent(&apm).await;
    assert_eq!((spans.len(), &transaction["span_count"]), (2, &json!({ "started": 1 })));
    let stats = apm.agent().stats();
    assert_eq!((stats.dropped.late_spans, stats.recorded), (9, 12), "{stats}");
    assert_eq!(stats.recorded, stats.accepted + stats.rejected + stats.dropped.total() + stats.waiting, "{stats}");
}
