//! Transactions that start with an OpenTelemetry span and not with a layer.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, Span, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use tower_apm::testkit::{Kind, TestAgent};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

fn attributes(pairs: &[(&'static str, &'static str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect()
}

/// Records a root span with this name, these attributes and this status.
fn root(apm: &TestAgent, name: &'static str, kind: SpanKind, pairs: &[(&'static str, &'static str)], status: Status) {
    let tracer = apm.agent().tracer_provider().tracer("manual");
    let mut span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes(pairs)).start(&tracer);
    span.set_status(status);
}

// spec: tracing-api-otel.md
#[tokio::test]
async fn transaction_type_follows_span_kind_and_attributes() {
    let apm = TestAgent::start().await;
    root(&apm, "GET /rates", SpanKind::Server, &[("http.request.method", "GET")], Status::Unset);
    root(&apm, "shop.Market/Buy", SpanKind::Server, &[("rpc.system", "grpc")], Status::Unset);
    root(&apm, "sales receive", SpanKind::Consumer, &[("messaging.system", "kafka")], Status::Unset);
    root(&apm, "manual", SpanKind::Internal, &[], Status::Unset);
    apm.expect_transaction("GET /rates").await.kind("request");
    apm.expect_transaction("shop.Market/Buy").await.kind("request");
    apm.expect_transaction("sales receive").await.kind("messaging");
    apm.expect_transaction("manual").await.kind("unknown").outcome("unknown");
}

// spec: tracing-api-otel.md
#[tokio::test]
async fn later_attributes_change_the_transaction_type() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("manual");
    let context =
        Context::new().with_span(tracer.span_builder("GET /rates").with_kind(SpanKind::Server).start(&tracer));
    context.span().record_error(&std::io::Error::other("early"));
    context.span().set_attribute(KeyValue::new("url.full", "http://shop.example/rates"));
    context.span().record_error(&std::io::Error::other("later"));
    drop(context);
    apm.expect_transaction("GET /rates").await.kind("request");
    apm.expect_error("early").await.field("/transaction/type", "unknown");
    apm.expect_error("later").await.field("/transaction/type", "request");
}

#[tokio::test]
async fn late_errors_have_the_name_and_type_of_their_root_span() {
    let apm = TestAgent::start().await;
    let kafka = attributes(&[("messaging.system", "kafka")]);
    let tracer = apm.agent().tracer_provider().tracer("manual");
    let span = tracer.span_builder("settle sales").with_kind(SpanKind::Consumer).with_attributes(kafka).start(&tracer);
    let context = Context::new().with_span(span);
    let elsewhere = context.clone();
    context.span().end();
    drop(context);
    let attached = elsewhere.attach();
    tracing::error!(error = "manual", "it failed");
    drop(attached);

    let subscriber = tracing_subscriber::registry().with(apm.agent().tracing_layer());
    let default = tracing::subscriber::set_default(subscriber);
    let root = tracing::info_span!("settle sales", otel.kind = "consumer", messaging.system = "kafka");
    root.in_scope(|| ());
    let elsewhere = root.context();
    let follow_up = tracing::info_span!(parent: None, "follow up");
    follow_up.set_parent(root.context()).unwrap();
    drop(root);
    let attached = elsewhere.attach();
    tracing::error!(error = "by tracing", "it failed");
    drop(attached);
    follow_up.in_scope(|| tracing::error!(error = "below", "it failed"));
    drop(default);

    for error in ["manual", "by tracing", "below"] {
        let error = apm.expect_error(error).await;
        error.field("/transaction/type", "messaging").field("/transaction/name", "settle sales");
    }
}

/// The status of a successful server span stays unset.
// spec: tracing-api-otel.md
#[tokio::test]
async fn outcome_of_an_unset_status_follows_the_response_status() {
    let statuses = [
        (&[("http.method", "GET"), ("http.status_code", "200")][..], Status::Unset, "success", Some("HTTP 2xx")),
        (
            &[("http.request.method", "GET"), ("http.response.status_code", "404")],
            Status::Unset,
            "success",
            Some("HTTP 4xx"),
        ),
        (
            &[("http.request.method", "GET"), ("http.response.status_code", "503")],
            Status::Unset,
            "failure",
            Some("HTTP 5xx"),
        ),
        (
            &[("http.request.method", "GET"), ("http.response.status_code", "200")],
            Status::error("late"),
            "failure",
            Some("HTTP 2xx"),
        ),
        (
            &[("http.request.method", "GET"), ("http.response.status_code", "503")],
            Status::Ok,
            "success",
            Some("HTTP 5xx"),
        ),
        (&[("rpc.system", "grpc"), ("rpc.grpc.status_code", "5")], Status::Unset, "success", Some("NOT_FOUND")),
        (&[("rpc.system", "grpc"), ("rpc.grpc.status_code", "13")], Status::Unset, "failure", Some("INTERNAL")),
        (
            &[("rpc.system.name", "grpc"), ("rpc.response.status_code", "UNAVAILABLE")],
            Status::Unset,
            "failure",
            Some("UNAVAILABLE"),
        ),
        (&[("http.request.method", "GET")], Status::Unset, "unknown", None),
        (&[], Status::Ok, "success", None),
    ];
    for (pairs, status, outcome, result) in statuses {
        let apm = TestAgent::start().await;
        root(&apm, "work", SpanKind::Server, pairs, status);
        let sent = apm.expect_transaction("work").await.outcome(outcome);
        match result {
            Some(result) => sent.result(result),
            None => sent.no_field("/result"),
        };
    }
    let apm = TestAgent::builder().configure(|agent| agent.root_exit_spans(true)).start().await;
    root(&apm, "call", SpanKind::Client, &[("http.response.status_code", "503")], Status::Unset);
    apm.expect_transaction("call").await.outcome("unknown").no_field("/result");
}

// spec: tracing-api-otel.md
#[tokio::test]
async fn request_response_and_message_attributes_become_context_fields() {
    let apm = TestAgent::start().await;
    let pairs = [
        ("http.request.method", "GET"),
        ("url.full", "https://shop.example/rates?token=hunter2&of=eth"),
        ("http.response.status_code", "200"),
        ("client.address", "192.0.2.7"),
        ("http.route", "/rates"),
        ("rpc.service", "shop.Market"),
    ];
    root(&apm, "GET /rates", SpanKind::Server, &pairs, Status::Unset);
    let queue = [("messaging.system", "kafka"), ("messaging.destination.name", "sales")];
    root(&apm, "sales receive", SpanKind::Consumer, &queue, Status::Ok);
    apm.expect_transaction("GET /rates")
        .await
        .status(200)
        .field("/context/request/method", "GET")
        .field("/context/request/url/full", "https://shop.example/rates?token=[REDACTED]&of=eth")
        .field("/context/request/url/pathname", "/rates")
        .field("/context/request/socket/remote_address", "192.0.2.7")
        .label("http.route", "/rates")
        .label("rpc.service", "shop.Market")
        .no_field("/otel/attributes");
    apm.expect_transaction("sales receive")
        .await
        .field("/context/message/queue/name", "sales")
        .label("messaging.system", "kafka");
    apm.assert_no_secret("hunter2");
}

// spec: tracing-api-otel.md
#[tokio::test]
async fn request_attributes_without_a_field_are_labels() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let context = opentelemetry::Context::current();
        context.span().set_attribute(KeyValue::new("db.system", "sqlite"));
        context.span().set_attribute(KeyValue::new("url.path", "/made-up"));
    };
    let app = axum::Router::new().route("/", axum::routing::get(handler)).layer(apm.layer());
    crate::http::call(app, "/").await;
    apm.expect_transaction("GET /")
        .await
        .kind("request")
        .label("db.system", "sqlite")
        .no_label("url.path")
        .field("/context/request/url/pathname", "/");
}

/// In milliseconds.
fn duration(apm: &TestAgent) -> f64 {
    apm.events(Kind::Transaction)[0]["duration"].as_f64().unwrap()
}

#[tokio::test]
async fn explicit_start_and_end_times_are_used() {
    let now = SystemTime::now();
    for ago in [Duration::from_secs(90), Duration::from_secs(20 * 365 * 24 * 3600)] {
        let apm = TestAgent::start().await;
        let tracer = apm.agent().tracer_provider().tracer("manual");
        let start = now - ago;
        let mut span = tracer.span_builder("replayed").with_start_time(start).start(&tracer);
        span.end_with_timestamp(start + Duration::from_millis(1500));
        let micros = start.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
        apm.expect_transaction("replayed").await.field("/timestamp", micros);
        // both clocks are read one after the other
        assert!((duration(&apm) - 1500.0).abs() < 500.0, "{}", duration(&apm));
    }
}

#[tokio::test]
async fn explicit_start_time_is_kept_for_a_span_built_later() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("manual");
    // the bridge of `tracing` builds a span when it is first entered
    let builder = tracer.span_builder("late").with_start_time(SystemTime::now() - Duration::from_secs(60));
    drop(builder.start(&tracer));
    apm.expect_transaction("late").await;
    assert!((60_000.0..120_000.0).contains(&duration(&apm)), "{}", duration(&apm));
}

#[tokio::test]
async fn end_before_the_start_is_a_duration_of_zero() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("manual");
    let mut span = tracer.start("backwards");
    span.end_with_timestamp(SystemTime::now() - Duration::from_secs(60));
    apm.expect_transaction("backwards").await.field("/duration", 0.0);
}

/// 1024 characters are sent. The rest must not use memory of the queue.
// spec: tracing-api-otel.md, field-limits.md
#[tokio::test]
async fn long_names_are_truncated_before_they_are_queued() {
    let configure = |agent: tower_apm::AgentBuilder| agent.max_queue_bytes(64 * 1024);
    let apm = TestAgent::builder().configure(configure).start().await;
    let long = || "n".repeat(1_000_000);
    let tracer = apm.agent().tracer_provider().tracer("manual");
    tracer.span_builder("root").start(&tracer).update_name(long());
    apm.agent().start_transaction("job", "scheduled").in_scope(|| {
        opentelemetry::Context::map_current(|context| context.span().update_name(long()));
    });
    drop(apm.agent().start_transaction(long(), long()));
    apm.flush().await;
    let stats = apm.agent().stats();
    assert_eq!((stats.accepted, stats.recorded), (3, 3), "{stats}");
    let sent = "n".repeat(1023) + "…";
    for transaction in apm.events(Kind::Transaction) {
        assert_eq!(transaction["name"], sent);
    }
}

// spec: span-links.md
#[tokio::test]
async fn links_over_the_limits_are_counted() {
    let apm = TestAgent::start().await;
    let link =
        || Link::with_context(SpanContext::new(7.into(), 8.into(), Default::default(), true, Default::default()));
    let links = |count| (0..count).map(|_| link()).collect::<Vec<_>>();
    let tracer = apm.agent().tracer_provider().tracer("manual");
    drop(tracer.span_builder("root").with_links(links(1002)).start(&tracer));
    assert_eq!(apm.agent().stats().excess_links, 2);
    let message = [("traceparent".to_owned(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned())];
    let message = tower_apm::otel::extract_carrier(&HashMap::from(message));
    let batch = apm.agent().start_transaction("batch", "messaging");
    (0..1001).for_each(|_| drop(batch.link(&message).clone()));
    batch.in_scope(|| {
        opentelemetry::Context::map_current(|context| context.span().add_link(link().span_context, Vec::new()));
        let mut span = tracer.span_builder("built with links").with_links(links(130)).start(&tracer);
        span.add_link(link().span_context, Vec::new());
    });
    assert_eq!(apm.agent().stats().excess_links, 2 + 2 + 3);
    let count = |event: &serde_json::Value| event["links"].as_array().map(Vec::len);
    apm.flush().await;
    for transaction in apm.events(Kind::Transaction) {
        assert_eq!(count(&transaction), Some(1000), "{}", transaction["name"]);
    }
    assert_eq!(count(&apm.events(Kind::Span)[0]), Some(128));
    assert_eq!(apm.agent().stats().truncated, 0, "all of them fit into a line");
}
