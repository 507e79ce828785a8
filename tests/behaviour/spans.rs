//! Spans of `tracing` and OpenTelemetry below a transaction.

use std::time::SystemTime;

use axum::{Router, handler::Handler, routing::get};
use opentelemetry::{
    KeyValue,
    trace::{Event, TraceContextExt, Tracer, TracerProvider},
};
use tower_apm::{
    Transaction,
    testkit::{Kind, TestAgent},
};
use tower_http::trace::TraceLayer;
use tracing::{Instrument, info_span, instrument::WithSubscriber};
use tracing_subscriber::layer::SubscriberExt;

use crate::http::{call, empty, get as request, send};

async fn run<T: 'static>(apm: &TestAgent, handler: impl Handler<T, ()>) {
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
}

#[tracing::instrument]
async fn load(page: i64) {
    tokio::task::yield_now().await;
    store().await;
}

#[tracing::instrument]
async fn store() {}

// spec: tracing-api-otel.md
#[tokio::test]
async fn tracing_spans_nest_as_the_code_does() {
    let apm = TestAgent::start().await;
    run(&apm, async || load(2).await).await;
    let transaction = apm
        .expect_transaction("GET /")
        .await
        .span("load", |span| span.kind("app", "internal").label("page", 2).child_of("GET /"))
        .span("store", |span| span.child_of("load"))
        .span_count(2);
    let span = apm.expect_span("store").await;
    assert_eq!(span.trace_id(), transaction.trace_id());
    assert_eq!(span.json()["transaction_id"], transaction.id());
}

#[tokio::test]
async fn concurrent_branches_do_not_mix() {
    async fn branch(name: &'static str) {
        async {
            tokio::task::yield_now().await;
            async {}.instrument(info_span!("leaf", branch = name)).await;
        }
        .instrument(info_span!("branch", otel.name = name))
        .await;
    }
    let apm = TestAgent::start().await;
    run(&apm, async || {
        tokio::join!(branch("left"), branch("right"));
    })
    .await;
    apm.expect_transaction("GET /")
        .await
        .span("leaf", |span| span.label("branch", "left").child_of("left"))
        .span("leaf", |span| span.label("branch", "right").child_of("right"))
        .span_count(4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawned_task_belongs_to_its_span() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let bare = tokio::spawn(async { info_span!("lost").in_scope(|| ()) });
        let current = tokio::spawn(load(1).in_current_span());
        let own = tokio::spawn(async {}.instrument(info_span!("own")));
        let _ = tokio::join!(bare, current, own);
    })
    .await;
    apm.expect_transaction("GET /")
        .await
        .span("load", |span| span.child_of("GET /"))
        .span("own", |span| span.child_of("GET /"))
        .no_span("lost");
}

#[tokio::test]
async fn explicit_parent_is_kept() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let parent = info_span!("parent");
        info_span!(parent: &parent, "child").in_scope(|| ());
    })
    .await;
    apm.expect_transaction("GET /").await.span("child", |span| span.child_of("parent"));
}

#[tokio::test]
async fn request_span_can_be_an_explicit_parent() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let request = tracing::Span::current();
        let entered = info_span!(parent: &request, "entered");
        entered.in_scope(|| info_span!("below").in_scope(|| ()));
        drop(info_span!(parent: request.id(), "never entered"));
        let above = info_span!(parent: &request, "above");
        drop(info_span!(parent: &above, "child"));
        tokio::spawn(async {}.instrument(info_span!(parent: &request, "spawned"))).await.unwrap();
        info_span!(parent: None, "apart").in_scope(|| ());
    })
    .await;
    let sent = apm.expect_transaction("GET /").await;
    let sent = sent.span("below", |span| span.child_of("entered")).span("child", |span| span.child_of("above"));
    for name in ["entered", "never entered", "above", "spawned"] {
        apm.expect_span(name).await.child_of("GET /").field("/trace_id", sent.trace_id());
    }
    sent.no_span("apart");
}

#[tokio::test]
async fn blocking_work_in_the_request_span_is_recorded() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let request = tracing::Span::current();
        let work = move || request.in_scope(|| info_span!("hash").in_scope(|| Transaction::current().is_active()));
        assert!(tokio::task::spawn_blocking(work).await.unwrap());
    })
    .await;
    apm.expect_transaction("GET /").await.span("hash", |span| span.child_of("GET /"));
}

#[tokio::test]
async fn debug_spans_are_not_recorded() {
    let apm = TestAgent::start().await;
    run(&apm, async || tracing::debug_span!("inner workings").in_scope(|| info_span!("below").in_scope(|| ()))).await;
    apm.expect_transaction("GET /").await.no_span("inner workings").span("below", |span| span.child_of("GET /"));
}

#[tokio::test]
async fn trace_layer_makes_no_second_transaction() {
    let apm = TestAgent::start().await;
    let trace = || TraceLayer::new_for_http().make_span_with(|_: &http::Request<_>| info_span!("http request"));
    let routes = || Router::new().route("/listings/{id}", get(async || load(1).await));
    call(routes().layer(trace()).layer(apm.layer()), "/listings/7").await;
    apm.expect_transactions("GET /listings/{id}", 1).await.remove(0).span("load", |span| span.child_of("http request"));
    apm.clear();

    call(routes().layer(apm.layer()).layer(trace()), "/listings/7").await;
    apm.expect_transactions("GET /listings/{id}", 1)
        .await
        .remove(0)
        .span("load", |span| span.child_of("GET /listings/{id}"));
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
}

#[tokio::test]
async fn labels_of_a_span_around_the_layer_are_kept() {
    let apm = TestAgent::start().await;
    let around = async {
        Transaction::current().set_label("tenant", "7").set_custom_context("gateway", "eu");
        call(Router::new().route("/", get(async || ())).layer(apm.layer()), "/").await
    };
    let subscriber = tracing_subscriber::registry().with(apm.agent().tracing_layer());
    async { around.instrument(info_span!("outer")).await }.with_subscriber(subscriber).await;
    apm.expect_transaction("GET /").await.label("tenant", "7").field("/context/custom/gateway", "eu");
}

#[tokio::test]
async fn spans_over_the_limit_are_counted() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_max_spans(3)).start().await;
    run(&apm, async || (0..10).for_each(|_| info_span!("one").in_scope(|| ()))).await;
    apm.expect_transaction("GET /").await.span_count(3).field("/span_count/dropped", 7);
    assert_eq!(apm.events(Kind::Span).len(), 3);
}

#[tokio::test]
async fn database_span_is_a_dependency() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let span = info_span!(
            "query",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.namespace = "shop",
            db.query.text = "SELECT id FROM listings WHERE price > 3",
            server.address = "db.example",
            server.port = 5432
        );
        span.in_scope(|| ());
        info_span!("old", otel.kind = "client", db.system = "sqlite", db.statement = "DELETE FROM carts")
            .in_scope(|| ());
    })
    .await;
    apm.expect_transaction("GET /")
        .await
        .span("SELECT FROM listings", |span| {
            span.kind("db", "postgresql")
                .field("/context/db/instance", "shop")
                .field("/context/db/type", "sql")
                .field_contains("/context/db/statement", "SELECT id FROM listings")
                .field("/context/destination/address", "db.example")
                .field("/context/destination/port", 5432)
                .field("/context/service/target/type", "postgresql")
                .field("/context/service/target/name", "shop")
        })
        .span("DELETE FROM carts", |span| span.kind("db", "sqlite"));
}

#[tokio::test]
async fn http_span_is_a_dependency() {
    let apm = TestAgent::start().await;
    run(&apm, async || {
        let span = info_span!(
            "GET",
            otel.kind = "client",
            http.request.method = "GET",
            url.full = "http://user:hunter2@chain.example:8545/rpc?token=hunter2",
            http.response.status_code = 503_u16,
            server.address = "chain.example",
            server.port = 8545_u16
        );
        span.in_scope(|| ());
    })
    .await;
    apm.expect_transaction("GET /").await.span("GET chain.example:8545", |span| {
        span.kind("external", "http")
            .outcome("failure")
            .field("/context/http/response/status_code", 503)
            .field("/context/destination/service/resource", "chain.example:8545")
            .field("/context/service/target/name", "chain.example:8545")
    });
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn called_service_joins_the_trace() {
    let apm = TestAgent::start().await;
    let callee = Router::new().route("/rpc", get(async || "ok")).layer(apm.layer());
    let caller = async move || {
        async move {
            let mut request = empty(request("/rpc"));
            tower_apm::trace_context::inject(request.headers_mut());
            tokio::spawn(send(callee, request)).await.unwrap();
        }
        .instrument(info_span!("call the chain"))
        .await;
    };
    call(Router::new().route("/", get(caller)).layer(apm.layer()), "/").await;
    let called = apm.expect_transaction("GET /rpc").await;
    let span = apm.expect_span("call the chain").await;
    assert_eq!((called.trace_id(), called.json()["parent_id"].as_str()), (span.trace_id(), Some(span.id())));
}

#[tokio::test]
async fn in_process_request_is_a_child_transaction() {
    let apm = TestAgent::start().await;
    let inner = Router::new().route("/inner", get(async || "ok")).layer(apm.layer());
    let outer = async move || {
        call(inner, "/inner").await;
    };
    call(Router::new().route("/outer", get(outer)).layer(apm.layer()), "/outer").await;
    let outer = apm.expect_transactions("GET /outer", 1).await.remove(0);
    let inner = apm.expect_transactions("GET /inner", 1).await.remove(0);
    assert_eq!((inner.trace_id(), inner.json()["parent_id"].as_str()), (outer.trace_id(), Some(outer.id())));
}

#[tokio::test]
async fn opentelemetry_context_contains_the_transaction_only_during_the_request() {
    let apm = TestAgent::start().await;
    let handler = async || opentelemetry::Context::current().span().span_context().trace_id().to_string();
    let trace_id = call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await.into_body();
    assert_eq!(trace_id, apm.expect_transaction("GET /").await.trace_id());
    assert!(!opentelemetry::Context::current().has_active_span());
}

#[tokio::test]
async fn spans_belong_to_the_transaction_without_a_request_span() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || load(1).await)).layer(apm.layer().request_span(false));
    call(app, "/").await;
    apm.expect_transaction("GET /").await.span("load", |span| span.child_of("GET /"));
}

// spec: error-tracking.md, tracing-api-otel.md
#[tokio::test]
async fn exception_event_of_the_span_builder_is_an_error() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("app");
    let lost = vec![KeyValue::new("exception.message", "lost"), KeyValue::new("exception.type", "shop::Lost")];
    let events = vec![Event::new("exception", SystemTime::now(), lost, 0)];
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        drop(tracer.span_builder("load").with_events(events).start(&tracer));
    });
    let span = apm.expect_span("load").await;
    apm.expect_transaction("work").await.error("lost", |error| error.field("/parent_id", span.id()));
}
