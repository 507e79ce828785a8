//! Which requests make a transaction, and what is it called? (agent-spec, section 5)

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Tracer, TracerProvider},
};
use tower_apm::{AgentBuilder, Outcome, ResponseExt, devserver::Kind, testkit::TestAgent};

use crate::http::{call, send};

async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

fn app(apm: &TestAgent) -> Router {
    let failing = || async {
        StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(std::io::Error::other("no such room"))
    };
    let app = Router::new().route("/listings/{id}", get(async || "ok")).route("/fails", get(failing));
    Router::new().merge(app).fallback(async || StatusCode::NOT_FOUND).layer(apm.layer())
}

#[tokio::test]
async fn section_5_3_a_request_without_a_route_is_named_by_its_path_where_asked_for() {
    let apm = apm(|agent| agent.use_path_as_transaction_name(true)).await;
    call(app(&apm), "/nowhere/7?token=hunter2").await;
    call(app(&apm), "/listings/7").await;
    apm.expect_transaction("GET /nowhere/7").await;
    apm.expect_transaction("GET /listings/{id}").await;
}

#[tokio::test]
async fn section_5_4_a_group_replaces_the_name_on_errors_too() {
    let apm = apm(|agent| agent.transaction_name_groups(["GET /listings/*", "* /fail*", "settle*"])).await;
    call(app(&apm), "/listings/7").await;
    call(app(&apm), "/fails").await;
    drop(apm.agent().start_transaction("settle auction 7", "scheduled"));
    apm.expect_transaction("GET /listings/*").await;
    apm.expect_transaction("* /fail*").await;
    apm.expect_transaction("settle*").await;
    apm.expect_error("no such room").await.field("/transaction/name", "* /fail*");
}

#[tokio::test]
async fn section_5_4_groups_and_paths_work_together() {
    let apm = apm(|agent| agent.use_path_as_transaction_name(true).transaction_name_groups(["GET /nowhere/*"])).await;
    call(app(&apm), "/nowhere/7").await;
    apm.expect_transaction("GET /nowhere/*").await;
}

#[tokio::test]
async fn section_5_5_some_callers_make_no_transaction() {
    let apm = apm(|agent| agent.transaction_ignore_user_agents(["kube-probe*", "*Bot"])).await;
    for agent in ["kube-probe/1.30", "GoogleBOT", "curl/8"] {
        let request = Request::get("/listings/7").header("user-agent", agent).body(Body::empty()).unwrap();
        send(app(&apm), request).await;
    }
    apm.expect_transactions("GET /listings/{id}", 1).await;
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
}

#[tokio::test]
async fn section_6_7_ignored_queues_make_neither_spans_nor_transactions() {
    let apm = apm(|agent| agent.ignore_message_queues(["internal.*"])).await;
    let span = |topic: &'static str, kind| {
        let tracer = apm.agent().tracer_provider().tracer("kafka");
        let topic = KeyValue::new("messaging.destination.name", topic);
        drop(
            tracer
                .span_builder(format!("{kind:?} {}", topic.value))
                .with_kind(kind)
                .with_attributes([topic])
                .start(&tracer),
        );
    };
    span("internal.audit", SpanKind::Consumer);
    span("sales", SpanKind::Consumer);
    apm.agent().start_transaction("produce", "scheduled").in_scope(|| {
        span("internal.audit", SpanKind::Producer);
        span("sales", SpanKind::Producer);
    });
    apm.expect_transaction("produce")
        .await
        .span_count(1)
        .field("/span_count/started", 1)
        .no_field("/span_count/dropped");
    apm.expect_span("Producer sales").await;
    apm.expect_transaction("Consumer sales").await;
    apm.expect_no_transaction("Consumer internal.audit").await;
}

async fn healthy(apm: &TestAgent, status: u16) -> Response<Body> {
    let handler = move || async move {
        tracing::info_span!("ping").in_scope(|| {});
        let status = StatusCode::from_u16(status).unwrap();
        if status.is_success() {
            status.into_response()
        } else {
            status.into_response().with_error(std::io::Error::other("no database"))
        }
    };
    let app = Router::new().route("/health", get(handler)).layer(apm.layer());
    let response = call(app, "/health").await;
    response.map(Body::from)
}

#[tokio::test]
async fn a_filter_decides_at_the_end_on_the_transaction_and_its_spans() {
    let apm =
        apm(|agent| agent.transaction_filter(|tx| tx.path() != Some("/health") || tx.outcome() != Outcome::Success))
            .await;
    healthy(&apm, 200).await;
    healthy(&apm, 503).await;
    apm.expect_transaction("GET /health")
        .await
        .status(503)
        .span("ping", |span| span)
        .error("no database", |error| error);
    apm.flush().await;
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (1, 1));
    let stats = apm.agent().stats();
    assert_eq!((stats.filtered, stats.recorded), (2, 3), "{stats:?}");
}

#[tokio::test]
async fn a_filter_sees_all_that_is_known() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let apm = apm(move |agent| {
        agent.transaction_filter(move |tx| {
            let seen = (tx.name().into_owned(), tx.kind().to_owned(), tx.status(), tx.has_errors());
            sees.lock().unwrap().push((seen, tx.duration().is_zero()));
            true
        })
    })
    .await;
    healthy(&apm, 503).await;
    drop(apm.agent().start_transaction("settle", "scheduled"));
    let expected = [("GET /health", "request", Some(503), true), ("settle", "scheduled", None, false)]
        .map(|(name, kind, status, errors)| ((name.to_owned(), kind.to_owned(), status, errors), false));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_filter_that_panics_keeps_the_transaction_and_the_request_goes_on() {
    let apm = apm(|agent| agent.transaction_filter(|_| panic!("broken filter"))).await;
    assert_eq!(healthy(&apm, 200).await.status(), 200);
    apm.expect_transaction("GET /health").await.span("ping", |span| span).no_error();
    assert_eq!(apm.agent().stats().contained_panics, 1);
}

#[tokio::test]
async fn a_span_that_outlives_a_transaction_that_was_turned_away_goes_with_it() {
    let apm = apm(|agent| agent.transaction_filter(|tx| tx.kind() != "boring")).await;
    for kind in ["boring", "scheduled"] {
        let late = apm.agent().start_transaction(kind, kind).in_scope(|| tracing::info_span!("late"));
        drop(late);
    }
    apm.expect_transaction("scheduled").await;
    apm.expect_span("late").await.child_of("scheduled");
    apm.flush().await;
    assert_eq!((apm.events(Kind::Span).len(), apm.agent().stats().filtered), (1, 2));
}
