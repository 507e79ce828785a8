//! A remote context that is attached below the layer, as by a middleware that reads the trace headers a second time.

use std::collections::HashMap;

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tower_apm::{
    Transaction,
    otel::ElasticPropagator,
    testkit::{Kind, TestAgent},
    trace_context,
};
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::http::{empty, get as request, send};

const TRACE: u128 = 0x0af7651916cd43dd8448eb211c80319c;
const PARENT: u64 = 0xb7ad6b7169203331;

fn traceparent() -> String {
    format!("00-{TRACE:032x}-{PARENT:016x}-01")
}

fn remote(trace: u128) -> Context {
    let remote =
        SpanContext::new(TraceId::from(trace), SpanId::from(PARENT), TraceFlags::SAMPLED, true, TraceState::NONE);
    Context::current().with_remote_span_context(remote)
}

async fn handler() {
    assert!(Transaction::current().set_label("found", true).is_active());
    info_span!("work").in_scope(|| tracing::error!(error = "no funds", "not sold"));
    tracing::error!(error = "no stock", "not sold");
    let mut headers = http::HeaderMap::new();
    trace_context::inject(&mut headers);
    let sent = headers["traceparent"].to_str().unwrap();
    let own = Transaction::current().id().unwrap().to_string();
    Transaction::current().set_label("calls below itself", sent.contains(&own));
}

async fn expect_all_in_one(apm: &TestAgent) {
    let sent = apm.expect_transaction("GET /").await.label("found", true).label("calls below itself", true);
    let span = apm.expect_span("work").await.child_of("GET /");
    assert_eq!(span.trace_id(), sent.trace_id());
    apm.expect_error("no funds").await.child_of("work");
    apm.expect_error("no stock").await.child_of("GET /");
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 1, "{:?}", apm.events(Kind::Transaction));
}

/// As a middleware that attaches the context, of the trace that the layer has continued or of another one.
#[tokio::test]
async fn attached_remote_context_does_not_move_events_out_of_the_transaction() {
    for trace in [TRACE, 7] {
        let apm = TestAgent::start().await;
        let app = Router::new().route("/", get(move || async move { handler().with_context(remote(trace)).await }));
        let request = request("/").header("traceparent", traceparent());
        send(app.layer(apm.layer()), empty(request)).await;
        expect_all_in_one(&apm).await;
    }
}

/// As `axum-tracing-opentelemetry` does: a span around the handler with the caller as its parent.
#[tokio::test]
async fn span_with_a_remote_parent_belongs_to_the_transaction() {
    let middleware = async |request: Request, next: Next| -> Response {
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers: HashMap<_, _> =
            request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let span = info_span!("HTTP request", otel.kind = "server");
        span.set_parent(ElasticPropagator::new().extract(&headers)).unwrap();
        next.run(request).instrument(span).await
    };
    for caller in [true, false] {
        let apm = TestAgent::start().await;
        let app = Router::new().route("/", get(async || info_span!("work").in_scope(|| ())));
        let app = app.layer(from_fn(middleware)).layer(apm.layer());
        let request = request("/");
        let request = if caller { request.header("traceparent", traceparent()) } else { request };
        send(app, empty(request)).await;
        let sent = apm.expect_transaction("GET /").await;
        let outer = apm.expect_span("HTTP request").await.child_of("GET /");
        let inner = apm.expect_span("work").await.child_of("HTTP request");
        assert_eq!((outer.trace_id(), inner.trace_id()), (sent.trace_id(), sent.trace_id()));
        assert_eq!(apm.events(Kind::Transaction).len(), 1);
    }
}

#[tokio::test]
async fn remote_parent_outside_a_transaction_is_continued() {
    let apm = TestAgent::start().await;
    let subscriber =
        tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), apm.agent().tracing_layer());
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("consume");
        span.set_parent(remote(TRACE)).unwrap();
        span.in_scope(|| ());
    });
    let sent = apm.expect_transaction("consume").await;
    assert_eq!(sent.trace_id(), format!("{TRACE:032x}"));
    assert_eq!(sent.json()["parent_id"], format!("{PARENT:016x}"));
}
