//! Do many spans stay few, and is what is left out counted? (agent-spec, section 8)

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue,
    global::BoxedTracer,
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::{Value, json};
use tower_apm::{AgentBuilder, devserver::Kind, testkit::TestAgent, trace_context};

pub(crate) async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

/// A call that began so many milliseconds after the epoch and took so many.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    name: &'static str,
    system: &'static str,
    database: &'static str,
    at: u64,
    took: u64,
}

pub(crate) const SELECT: Call =
    Call { name: "SELECT FROM orders", system: "postgresql", database: "shop", at: 0, took: 2 };

impl Call {
    pub(crate) fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    pub(crate) fn took(self, took: u64) -> Self {
        Self { took, ..self }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(crate) fn to(self, system: &'static str, database: &'static str) -> Self {
        Self { system, database, ..self }
    }

    pub(crate) fn start<T: Tracer>(self, tracer: &T) -> T::Span {
        let attributes = [KeyValue::new("db.system", self.system), KeyValue::new("db.namespace", self.database)];
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(self.at);
        tracer
            .span_builder(self.name)
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .with_start_time(start)
            .start(tracer)
    }

    pub(crate) fn end(self, span: &mut impl Span) {
        span.end_with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(self.at + self.took));
    }

    pub(crate) fn end_in(self, context: &Context) {
        context.span().end_with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(self.at + self.took));
    }

    pub(crate) fn run<T: Tracer>(self, tracer: &T) {
        self.end(&mut self.start(tracer));
    }
}

/// The transaction's span count and all spans, in the order in which they were sent, after these calls.
pub(crate) async fn after(apm: &TestAgent, calls: impl IntoIterator<Item = Call>) -> (Value, Vec<Value>) {
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent()
        .start_transaction("work", "scheduled")
        .in_scope(|| calls.into_iter().for_each(|call| call.run(&tracer)));
    sent(apm).await
}

pub(crate) async fn sent(apm: &TestAgent) -> (Value, Vec<Value>) {
    let transaction = apm.expect_transaction("work").await.json().clone();
    let mut spans = apm.events(Kind::Span);
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    (transaction, spans)
}

pub(crate) fn names(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn equal_exit_spans_are_compressed_by_exact_match() {
    let apm = TestAgent::start().await;
    let (transaction, spans) = after(&apm, (0..5).map(|n| SELECT.at(n * 10).took(n + 1))).await;
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(span["name"], "SELECT FROM orders");
    assert_eq!(span["composite"], json!({ "compression_strategy": "exact_match", "count": 5, "sum": 15.0 }));
    assert_eq!(
        (&span["timestamp"], &span["duration"]),
        (&json!(0), &json!(45.0)),
        "from the first start to the last end"
    );
    assert_eq!(transaction["span_count"], json!({ "started": 1 }));
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn different_or_long_exit_spans_are_not_compressed() {
    for other in [
        SELECT.named("SELECT FROM users"),
        SELECT.to("mysql", "shop"),
        SELECT.to("postgresql", "audit"),
        SELECT.took(51),
    ] {
        let apm = TestAgent::start().await;
        let (transaction, spans) = after(&apm, [SELECT, other.at(10), SELECT.at(100)]).await;
        assert_eq!(spans.len(), 3, "{spans:?}");
        assert!(spans.iter().all(|span| span.get("composite").is_none()), "{spans:?}");
        assert_eq!(transaction["span_count"]["started"], 3);
    }
    let apm = TestAgent::start().await;
    let (_, spans) = after(&apm, [SELECT.took(50), SELECT.at(60).took(50)]).await;
    assert_eq!(spans.len(), 1, "a call that is exactly as long as the limit");
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn same_kind_compression_is_enabled_by_its_option() {
    let same_kind = |agent: AgentBuilder| agent.span_compression_same_kind_max_duration(Duration::from_millis(5));
    let apm = apm(same_kind).await;
    let calls = [
        SELECT,
        SELECT.named("SELECT FROM users").at(10),
        SELECT.at(20).took(5),
        SELECT.named("INSERT").at(30).took(6),
    ];
    let (_, spans) = after(&apm, calls).await;
    assert_eq!(names(&spans), ["Calls to postgresql/shop", "INSERT"]);
    assert_eq!(spans[0]["composite"], json!({ "compression_strategy": "same_kind", "count": 3, "sum": 9.0 }));

    let apm = self::apm(same_kind).await;
    let (_, spans) = after(&apm, [SELECT.took(60), SELECT.at(100).took(2)]).await;
    assert_eq!(spans.len(), 2, "equal names that are too long are no `same_kind` either");
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn compression_is_per_parent_and_ends_at_other_spans() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        SELECT.run(&tracer);
        tracer.in_span("load", |_| {
            SELECT.at(10).run(&tracer);
            SELECT.at(20).run(&tracer);
        });
        SELECT.at(30).run(&tracer);
    });
    let (_, spans) = sent(&apm).await;
    let calls: Vec<_> = spans.iter().filter(|span| span["name"] == "SELECT FROM orders").collect();
    let counts: Vec<_> = calls.iter().map(|span| span["composite"]["count"].as_u64()).collect();
    assert_eq!(counts, [None, Some(2), None], "what ended between them keeps the first and the last apart");
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn exit_spans_with_propagated_context_errors_or_children_are_not_compressed() {
    type Refer = fn(&Context);
    let refers: [(&str, Refer); 3] = [
        ("a place in another service", |_| trace_context::inject(&mut http::HeaderMap::new())),
        ("an error", |context| context.span().record_error(&std::io::Error::other("lost"))),
        ("a failure", |context| context.span().set_status(Status::error("lost"))),
    ];
    for (what, refer) in refers {
        let apm = TestAgent::start().await;
        let tracer = apm.agent().tracer_provider().tracer("db");
        apm.agent().start_transaction("work", "scheduled").in_scope(|| {
            for n in 0..3 {
                let call = SELECT.at(n * 10);
                let context = Context::current_with_span(call.start(&tracer));
                let attached = context.clone().attach();
                refer(&context);
                drop(attached);
                context.span().end_with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(n * 10 + 2));
            }
        });
        assert_eq!(sent(&apm).await.1.len(), 3, "{what}");
    }
    for (child, sent_spans, what) in
        [(SELECT.named("FETCH"), 4, "a child of its kind"), (SELECT.to("redis", ""), 1, "a child that vanishes")]
    {
        let apm = TestAgent::start().await;
        let tracer = apm.agent().tracer_provider().tracer("db");
        apm.agent().start_transaction("work", "scheduled").in_scope(|| {
            for n in 0..2 {
                let call = SELECT.at(n * 10);
                let context = Context::current_with_span(call.start(&tracer));
                let _attached = context.clone().attach();
                drop(child.start(&tracer));
                call.end_in(&context);
            }
        });
        assert_eq!(sent(&apm).await.1.len(), sent_spans, "{what}");
    }
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn failed_exit_spans_are_not_compressed() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        for n in 0..4 {
            let call = SELECT.at(n * 10);
            let mut span = call.start(&tracer);
            // the status is not set, the code alone says how it went
            span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(n == 0 || n == 2)));
            call.end(&mut span);
        }
    });
    let (_, spans) = sent(&apm).await;
    let outcomes: Vec<_> = spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failure", "success", "failure", "success"], "the first, and one that comes");
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn equal_exit_spans_over_the_exact_match_limit_are_not_same_kind() {
    let apm = apm(|agent| agent.span_compression_same_kind_max_duration(Duration::from_millis(100))).await;
    let (_, spans) = after(&apm, [SELECT.took(60), SELECT.at(100).took(60)]).await;
    assert_eq!(names(&spans), ["SELECT FROM orders"; 2]);
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn compression_continues_after_many_propagated_spans() {
    let apm = apm(|agent| agent.transaction_max_spans(-1)).await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        for n in 0..1100 {
            let call = SELECT.at(n * 10);
            let context = Context::current_with_span(call.start(&tracer));
            call.end_in(&context);
            let _attached = context.attach();
            trace_context::inject(&mut http::HeaderMap::new());
        }
        (1100..1105).for_each(|n| SELECT.named("SELECT FROM users").at(n * 10).run(&tracer));
    });
    let (_, spans) = sent(&apm).await;
    assert_eq!(spans.len(), 1101);
    assert_eq!(spans[1100]["composite"]["count"], 5);
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn buffered_exit_span_is_sent_after_cancel_panic_and_timeout() {
    async fn waits(tracer: BoxedTracer, end: fn()) {
        SELECT.at(0).run(&tracer);
        end();
        std::future::pending().await
    }
    let apm = TestAgent::start().await;
    let job = || apm.agent().start_transaction("work", "scheduled");
    let tracer = || BoxedTracer::new(Box::new(apm.agent().tracer_provider().tracer("db")));

    let cancelled = tokio::spawn(job().run(waits(tracer(), || {})));
    tokio::task::yield_now().await;
    cancelled.abort();
    cancelled.await.unwrap_err();
    tokio::spawn(job().run(waits(tracer(), || panic!("boom")))).await.unwrap_err();
    let deadline = Duration::from_millis(1);
    tokio::time::timeout(deadline, job().run(waits(tracer(), || {}))).await.unwrap_err();

    apm.expect_transactions("work", 3).await;
    let spans = apm.events(Kind::Span);
    assert_eq!(spans.len(), 3, "{spans:?}");
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn compression_can_be_disabled() {
    let apm = apm(|agent| agent.span_compression_enabled(false)).await;
    assert_eq!(after(&apm, [SELECT, SELECT.at(10)]).await.1.len(), 2);
}

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
        // trap 30: 9 ms in 23 ms are dropped
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
    assert_eq!(of("success"), &json!({ "count": 5, "sum": { "us": 13000 } }), "three that were one, and two");
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
                // all have begun before the first one ends, so that each found room
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
    assert_eq!(counted, 128 + 50, "those that are told go on counting");
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
    assert!(parent.contains(transaction["id"].as_str().unwrap()), "{parent} names the nearest that is sent");
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
    assert_eq!(transaction["span_count"], json!({ "started": 1, "dropped": 2 }), "who is dropped gives his place back");
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
