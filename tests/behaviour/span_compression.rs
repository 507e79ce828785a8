//! Span compression, and helpers for exit spans that other modules use too.

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

/// An exit span with a start in milliseconds after the epoch and a duration in milliseconds.
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

/// Runs exit spans in a transaction and returns what was sent, as [`sent`].
pub(crate) async fn after(apm: &TestAgent, calls: impl IntoIterator<Item = Call>) -> (Value, Vec<Value>) {
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent()
        .start_transaction("work", "scheduled")
        .in_scope(|| calls.into_iter().for_each(|call| call.run(&tracer)));
    sent(apm).await
}

/// The transaction "work" and all spans, sorted by their start.
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
    assert_eq!(spans.len(), 1, "a duration equal to the limit is compressed");
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
    assert_eq!(spans.len(), 2, "spans over the exact-match limit are not compressed as same kind");
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
    assert_eq!(counts, [None, Some(2), None], "the span in between separates the first and the last exit span");
}

// spec: tracing-spans-compress.md
#[tokio::test]
async fn exit_spans_with_propagated_context_errors_or_children_are_not_compressed() {
    type Refer = fn(&Context);
    let refers: [(&str, Refer); 3] = [
        ("a propagated context", |_| trace_context::inject(&mut http::HeaderMap::new())),
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
    for (child, sent_spans, what) in [
        (SELECT.named("FETCH"), 4, "a child of the same type"),
        (SELECT.to("redis", ""), 1, "a child that is not recorded"),
    ] {
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
            // the status is unset, so the code decides about the outcome
            span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(n == 0 || n == 2)));
            call.end(&mut span);
        }
    });
    let (_, spans) = sent(&apm).await;
    let outcomes: Vec<_> = spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failure", "success", "failure", "success"], "the failed ones are not compressed");
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
    async fn buffer_span(tracer: BoxedTracer, end: fn()) {
        SELECT.at(0).run(&tracer);
        end();
        std::future::pending().await
    }
    let apm = TestAgent::start().await;
    let job = || apm.agent().start_transaction("work", "scheduled");
    let tracer = || BoxedTracer::new(Box::new(apm.agent().tracer_provider().tracer("db")));

    let cancelled = tokio::spawn(job().run(buffer_span(tracer(), || {})));
    tokio::task::yield_now().await;
    cancelled.abort();
    cancelled.await.unwrap_err();
    tokio::spawn(job().run(buffer_span(tracer(), || panic!("boom")))).await.unwrap_err();
    let deadline = Duration::from_millis(1);
    tokio::time::timeout(deadline, job().run(buffer_span(tracer(), || {}))).await.unwrap_err();

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
