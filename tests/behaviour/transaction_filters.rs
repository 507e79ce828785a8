//! Ignored requests and messages, and transaction filters.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{self, Request, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::{
    KeyValue,
    trace::{FutureExt, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use tower_apm::{AgentBuilder, ErrorVerdict, Outcome, ResponseExt, Transaction, devserver::Kind, testkit::TestAgent};
use tracing::Instrument;

use crate::{
    http::{call, send},
    transaction_names::{apm, app},
};

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn ignored_user_agents_make_no_transaction() {
    let apm = apm(|agent| agent.transaction_ignore_user_agents(["kube-probe*", "*Bot"])).await;
    for agent in ["kube-probe/1.30", "GoogleBOT", "curl/8"] {
        let request = Request::get("/listings/7").header("user-agent", agent).body(Body::empty()).unwrap();
        send(app(&apm), request).await;
    }
    apm.expect_transactions("GET /listings/{id}", 1).await;
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
}

// spec: tracing-instrumentation-messaging.md
#[tokio::test]
async fn ignored_queues_make_no_spans_and_no_transactions() {
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
async fn transaction_filter_drops_the_transaction_with_its_spans() {
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
async fn transaction_filter_sees_name_type_status_and_errors() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let apm = apm(move |agent| {
        agent.transaction_filter(move |tx| {
            let seen = (tx.name().into_owned(), tx.transaction_type().to_owned(), tx.status(), tx.has_errors());
            log.lock().unwrap().push((seen, tx.duration().is_zero()));
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
async fn panicking_transaction_filter_keeps_the_transaction() {
    let apm = apm(|agent| agent.transaction_filter(|_| panic!("broken filter"))).await;
    assert_eq!(healthy(&apm, 200).await.status(), 200);
    apm.expect_transaction("GET /health").await.span("ping", |span| span).no_error();
    assert_eq!(apm.agent().stats().contained_panics, 1);
}

#[tokio::test]
async fn late_span_of_a_filtered_transaction_is_dropped() {
    let apm = apm(|agent| agent.transaction_filter(|tx| tx.transaction_type() != "boring")).await;
    for kind in ["boring", "scheduled"] {
        let late = apm.agent().start_transaction(kind, kind).in_scope(|| tracing::info_span!("late"));
        drop(late);
    }
    apm.expect_transaction("scheduled").await;
    apm.expect_span("late").await.child_of("scheduled");
    apm.flush().await;
    assert_eq!((apm.events(Kind::Span).len(), apm.agent().stats().filtered), (1, 2));
}

fn ignoring(agent: AgentBuilder) -> AgentBuilder {
    agent.transaction_ignore_urls(["/health*"])
}

#[tracing::instrument]
async fn ping() {
    tokio::task::yield_now().await;
    tracing::info_span!("deeper").in_scope(|| {});
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn ignored_request_makes_no_spans() {
    let apm = apm(ignoring).await;
    let provider = apm.agent().tracer_provider();
    let handler = move |tx: Transaction| async move {
        tx.set_label("seen", true);
        ping().await;
        let task = tokio::spawn(ping().in_current_span());
        task.await.unwrap();
        let tracer = provider.tracer("manual");
        drop(tracer.span_builder("manual").with_kind(SpanKind::Client).start(&tracer));
        assert_eq!((tx.is_active(), Transaction::current().is_active(), tx.trace_id()), (false, false, None));
        let stream = futures_util::stream::once(async {
            ping().await;
            Ok::<_, std::convert::Infallible>("alive")
        });
        Body::from_stream(stream)
    };
    let module = Router::new().route("/health", get(handler)).layer(tower_apm::layer().module("inner"));
    let app = module.route("/listings/{id}", get(async || ping().await)).layer(apm.layer());
    assert_eq!(call(app.clone(), "/health").await.body(), "alive");
    call(app, "/listings/7").await;
    apm.expect_transaction("GET /listings/{id}").await.span_count(2);
    apm.flush().await;
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (1, 2));
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn span_outside_the_layer_is_dropped_with_the_ignored_request() {
    let apm = apm(ignoring).await;
    let app = Router::new().route("/health", get(async || ping().await)).layer(apm.layer());
    let tracer = apm.agent().tracer_provider().tracer("outside");
    let outside = tracer.start("outside");
    let context = opentelemetry::Context::new().with_span(outside);
    call(app, "/health").with_context(context).await;
    apm.flush().await;
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (0, 0));
}

// spec: tracing-instrumentation-http.md, error-tracking.md
#[tokio::test]
async fn errors_of_ignored_requests_are_sent_without_a_transaction() {
    let apm = apm(ignoring).await;
    let layer = apm.layer().on_error(|_, error| match error.to_string().as_str() {
        "not interesting" => ErrorVerdict::Discard,
        _ => ErrorVerdict::Record,
    });
    let handler = async |tx: Transaction, Path(way): Path<String>| {
        match way.as_str() {
            "extracted" => drop(tx.capture_error(&std::io::Error::other("extracted"))),
            "current" => drop(Transaction::current().capture_error(&std::io::Error::other("current"))),
            "logged" => tracing::error!(error = "logged", "no pulse"),
            "panicked" => panic!("panicked"),
            _ => {}
        }
        StatusCode::SERVICE_UNAVAILABLE.into_response().with_error(std::io::Error::other(way))
    };
    let app = Router::new().route("/health/{way}", get(handler)).layer(layer);
    for way in ["extracted", "current", "logged", "answered", "not%20interesting"] {
        call(app.clone(), &format!("/health/{way}")).await;
    }
    let request = Request::get("/health/panicked").body(Body::empty()).unwrap();
    tokio::spawn(tower::ServiceExt::oneshot(app, request)).await.unwrap_err();
    for way in ["extracted", "current", "answered", "panicked"] {
        let error = apm.expect_error(way).await;
        error.no_field("/trace_id").no_field("/transaction_id").no_field("/parent_id").no_field("/transaction");
    }
    apm.expect_error("no pulse").await.no_field("/transaction");
    apm.flush().await;
    let stats = apm.agent().stats();
    // `extracted`, `current` and `logged` are the error of the response too; equal errors are one document
    assert_eq!((apm.events(Kind::Error).len(), apm.events(Kind::Transaction).len()), (5, 0), "{stats:?}");
    assert_eq!((stats.filtered, stats.suppressed_errors), (1, 3), "{stats:?}");
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn ignored_request_propagates_the_trace_of_its_caller() {
    let apm = apm(ignoring).await;
    let handler = async || {
        ping().await;
        let span = tracing::info_span!("outgoing");
        let _entered = span.enter();
        let mut headers = http::HeaderMap::new();
        tower_apm::trace_context::inject(&mut headers);
        headers.get("traceparent").map_or_else(|| "none".to_owned(), |value| value.to_str().unwrap().to_owned())
    };
    let app = Router::new().route("/health", get(handler)).layer(apm.layer());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::get("/health").header("traceparent", parent).body(Body::empty()).unwrap();
    assert_eq!(send(app.clone(), request).await.body(), parent);
    assert_eq!(call(app, "/health").await.body(), "none");
}

// spec: tracing-instrumentation-messaging.md
#[tokio::test]
async fn spans_below_an_ignored_message_are_ignored() {
    let apm = apm(|agent| agent.ignore_message_queues(["internal.*"])).await;
    let tracer = apm.agent().tracer_provider().tracer("kafka");
    let consume = |topic: &'static str| {
        let topic = KeyValue::new("messaging.destination.name", topic);
        let span = tracer.span_builder(format!("consume {}", topic.value)).with_kind(SpanKind::Consumer);
        let context = opentelemetry::Context::new().with_span(span.with_attributes([topic]).start(&tracer));
        let _attached = context.attach();
        tracing::info_span!("handle").in_scope(|| tracing::info_span!("deeper").in_scope(|| {}));
        Transaction::current().capture_error(&std::io::Error::other("spoiled"));
    };
    consume("internal.audit");
    apm.expect_error("spoiled").await.no_field("/transaction");
    consume("sales");
    apm.expect_transaction("consume sales").await.span_count(2);
    apm.flush().await;
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (1, 2));
}

#[tokio::test]
async fn started_transaction_within_an_ignored_request_is_recorded() {
    let apm = apm(ignoring).await;
    let agent = apm.agent().clone();
    let handler = move || {
        let agent = agent.clone();
        async move { agent.start_transaction("repair", "scheduled").run(ping()).await }
    };
    call(Router::new().route("/health", get(handler)).layer(apm.layer()), "/health").await;
    apm.expect_transaction("repair").await.span_count(2);
    assert_eq!(apm.events(Kind::Transaction).len(), 1);
}

#[tokio::test]
async fn transaction_filter_is_not_called_for_unsampled_transactions() {
    let filter = |agent: AgentBuilder| agent.transaction_sample_rate(0.0).transaction_filter(|_| false);
    let apm = apm(filter).await;
    // after the first delivery, the agent knows that the server accepts no unsampled transactions
    apm.agent().capture_error(&std::io::Error::other("first"));
    apm.expect_error("first").await;
    healthy(&apm, 200).await;
    apm.flush().await;
    assert_eq!((apm.agent().stats().filtered, apm.events(Kind::Transaction).len()), (0, 0));
}

#[tokio::test]
async fn transaction_with_too_many_spans_is_kept_without_calling_the_filter() {
    let filter = |agent: AgentBuilder| agent.transaction_max_spans(-1).transaction_filter(|_| false);
    let apm = apm(filter).await;
    let spans = |count| {
        apm.agent().start_transaction(format!("{count} spans"), "scheduled").in_scope(|| {
            (0..count).for_each(|_| tracing::info_span!("step").in_scope(|| {}));
        });
    };
    spans(1000);
    assert_eq!((apm.agent().stats().filtered, apm.agent().stats().recorded), (1001, 0));
    spans(1100);
    apm.expect_transaction("1100 spans").await.field("/span_count/started", 1100);
    apm.flush().await;
    assert_eq!((apm.events(Kind::Span).len(), apm.agent().stats().filtered), (1100, 1001));
}
