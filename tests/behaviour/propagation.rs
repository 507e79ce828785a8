//! Trace context and baggage of incoming and outgoing requests and messages.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, http::HeaderMap, response::IntoResponse, routing::get};
use http::Request;
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    propagation::TextMapPropagator,
    trace::{Link, Span, SpanBuilder, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::{Value, json};
use tower_apm::{
    Agent, AgentBuilder, EnvVars, ResponseExt, TraceContinuationStrategy, Transaction,
    devserver::{DevServer, Kind, Query},
    otel::ElasticPropagator,
    testkit::TestAgent,
    trace_context,
};

use crate::http::send;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

/// The headers of a request that the handler sends.
type Called = Arc<Mutex<HeaderMap>>;

fn app(apm: &TestAgent) -> (Router, Called) {
    let called = Called::default();
    let calls = called.clone();
    let handler = move || {
        trace_context::inject(&mut calls.lock().unwrap());
        async { "ok" }
    };
    (Router::new().route("/", get(handler)).layer(apm.layer()), called)
}

async fn request(app: Router, headers: &[(&str, &str)]) {
    let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
    send(app, request.body(axum::body::Body::empty()).unwrap()).await;
}

fn caller(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn text(headers: &Called, name: &str) -> Option<String> {
    headers.lock().unwrap().get(name).map(|value| value.to_str().unwrap().to_owned())
}

// spec: trace-continuation.md
#[tokio::test]
async fn trace_continuation_strategies_continue_or_restart_the_trace() {
    use TraceContinuationStrategy::{Continue, Restart, RestartExternal};

    for (strategy, state, is_continued) in [
        (Continue, None, true),
        (Continue, Some("other=1"), true),
        (Restart, Some("es=s:0.5,other=1"), false),
        (Restart, None, false),
        (RestartExternal, Some("other=1,es=s:0.5"), true),
        (RestartExternal, Some("es=x:0.5"), true),
        (RestartExternal, Some("other=1"), false),
        (RestartExternal, None, false),
    ] {
        let apm = apm(move |agent| agent.trace_continuation_strategy(strategy)).await;
        let (app, called) = app(&apm);
        let parent = caller("00");
        let headers: Vec<_> =
            [("traceparent", parent.as_str())].into_iter().chain(state.map(|state| ("tracestate", state))).collect();
        request(app, &headers).await;
        let out = (text(&called, "traceparent").unwrap(), text(&called, "tracestate"));
        if is_continued {
            assert!(out.0.starts_with(&format!("00-{TRACE}-")) && out.0.ends_with("-00"), "{strategy:?} {out:?}");
            assert_eq!(out.1.as_deref(), state, "{strategy:?}: tracestate is unchanged");
            continue;
        }
        assert!(!out.0.contains(TRACE) && out.0.ends_with("-01"), "{strategy:?} makes a new decision: {out:?}");
        assert_eq!(out.1.as_deref(), Some("es=s:1"), "{strategy:?}");
        let sent = apm.expect_transaction("GET /").await;
        let sent = sent.no_field("/parent_id").field("/sample_rate", 1.0);
        assert_eq!(sent.json()["links"], json!([{ "trace_id": TRACE, "span_id": PARENT }]), "{strategy:?}");
        assert!(out.0.contains(sent.trace_id()));
    }
}

// spec: trace-continuation.md
#[tokio::test]
async fn restart_without_a_valid_parent_adds_no_link() {
    let apm = apm(|agent| agent.trace_continuation_strategy(TraceContinuationStrategy::Restart)).await;
    request(app(&apm).0, &[("traceparent", "00-zz"), ("tracestate", "es=s:0.5")]).await;
    apm.expect_transaction("GET /").await.no_field("/links").no_field("/parent_id").field("/sample_rate", 1.0);
}

// spec: tracing-distributed-tracing.md
#[tokio::test]
async fn elastic_traceparent_header_is_read_and_sent_by_option() {
    let apm = apm(|agent| agent.use_elastic_traceparent_header(true)).await;
    let (app, called) = app(&apm);
    request(app, &[("elastic-apm-traceparent", &caller("01"))]).await;
    apm.expect_transaction("GET /").await.field("/trace_id", TRACE).field("/parent_id", PARENT);
    assert_eq!(text(&called, "elastic-apm-traceparent"), text(&called, "traceparent"));

    let apm = TestAgent::start().await;
    let (app, called) = self::app(&apm);
    request(app, &[]).await;
    assert_eq!(text(&called, "elastic-apm-traceparent"), None);
}

// spec: tracing-sampling.md
#[tokio::test]
async fn unsampled_transaction_is_sent_without_context_to_old_servers() {
    let server = DevServer::builder().version("7.17.0").bind("127.0.0.1:0").unwrap();
    let builder = Agent::builder().env_vars(EnvVars::empty()).server_url(server.url());
    let agent = builder.transaction_sample_rate(0.0).build().unwrap();
    let work = agent.start_transaction("settle", "scheduled");
    work.set_label("auctions", 3).set_custom_context("order", 1);
    work.run(async { tracing::info_span!("load").in_scope(|| {}) }).await;
    agent.flush(std::time::Duration::from_secs(30)).await.unwrap();
    let sent = server.store().query(&Query::new().kind(Kind::Transaction));
    let events: Vec<_> = sent.events.iter().map(|event| event.body()).collect();
    let [sent] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&sent["sampled"], sent["sample_rate"].as_f64()), (&json!(false), Some(0.0)));
    assert_eq!(
        (&sent["name"], &sent["type"], &sent["outcome"]),
        (&json!("settle"), &json!("scheduled"), &json!("success"))
    );
    assert!(sent.get("context").is_none() && sent.get("dropped_spans_stats").is_none(), "{sent}");
    assert_eq!(sent["span_count"]["started"], 0);
}

// spec: tracing-sampling.md
#[tokio::test]
async fn sample_rate_of_events_is_that_of_the_root() {
    let root = None;
    let caller = |flags, state| Some((caller(flags), state));
    // newer servers get no unsampled transactions
    let server = DevServer::builder().version("7.17.0").bind("127.0.0.1:0").unwrap();
    for (rate, incoming, sampled, expected) in [
        (0.99994, root.clone(), true, Some(0.9999)),
        (0.0, root, false, Some(0.0)),
        (0.25, caller("01", "other=1,es=s:0.5"), true, Some(0.5)),
        (0.25, caller("00", "es=s:0.5"), false, Some(0.0)),
        (0.25, caller("01", ""), true, None),
        (0.25, caller("01", "other=1"), true, None),
        (0.25, caller("01", "es=s:2"), true, None),
    ] {
        let builder = Agent::builder().env_vars(EnvVars::empty()).server_url(server.url());
        let agent = builder.transaction_sample_rate(rate).build().unwrap();
        let tracer = Arc::new(agent.tracer_provider().tracer("shop"));
        let handler = move || {
            tracer.start("work").end();
            std::future::ready("ok")
        };
        let app = Router::new().route("/", get(handler)).layer(agent.layer());
        let headers = match &incoming {
            Some((parent, "")) => vec![("traceparent", parent.as_str())],
            Some((parent, state)) => vec![("traceparent", parent.as_str()), ("tracestate", *state)],
            None => Vec::new(),
        };
        let case = format!("{rate} {headers:?}");
        let mut tries = 0;
        let (transactions, spans) = loop {
            tries += 1;
            server.clear();
            request(app.clone(), &headers).await;
            agent.flush(std::time::Duration::from_secs(30)).await.unwrap();
            let of = |kind| -> Vec<Value> {
                server.store().query(&Query::new().kind(kind)).events.iter().map(|event| event.body().clone()).collect()
            };
            let (transactions, spans) = (of(Kind::Transaction), of(Kind::Span));
            // one of ten thousand is not sampled
            if transactions[0]["sampled"] != json!(false) || !sampled || tries == 10 {
                break (transactions, spans);
            }
        };
        assert_eq!(transactions.len(), 1, "{case}");
        let weight = |event: &Value| event.get("sample_rate").map(|rate| rate.as_f64().unwrap());
        assert_eq!(weight(&transactions[0]), expected, "{case}");
        assert_eq!(transactions[0]["sampled"] == json!(false), !sampled, "{case}");
        assert_eq!(
            spans.iter().map(weight).collect::<Vec<_>>(),
            if sampled { vec![expected] } else { vec![] },
            "{case}"
        );
    }
}

// spec: tracing-distributed-tracing.md, tracing-spans-limit.md
#[tokio::test]
async fn dropped_span_propagates_its_recorded_ancestor() {
    let apm = apm(|agent| agent.transaction_max_spans(0)).await;
    let tracer = Arc::new(apm.agent().tracer_provider().tracer("shop"));
    let called = Called::default();
    let calls = called.clone();
    let handler = move || {
        let outer = tracing::info_span!("work").entered();
        let call = SpanBuilder::from_name("GET").with_kind(SpanKind::Client).start(&*tracer);
        let _active = Context::current_with_span(call).attach();
        trace_context::inject(&mut calls.lock().unwrap());
        drop(outer);
        std::future::ready("ok")
    };
    request(Router::new().route("/", get(handler)).layer(apm.layer()), &[]).await;
    let sent = apm.expect_transaction("GET /").await.field("/span_count/dropped", 2);
    let expected = format!("00-{}-{}-01", sent.trace_id(), sent.id());
    assert_eq!(text(&called, "traceparent"), Some(expected));
    assert_eq!(text(&called, "tracestate").as_deref(), Some("es=s:1"));
}

// spec: trace-continuation.md
#[tokio::test]
async fn restart_keeps_the_baggage() {
    let apm = apm(|agent| agent.trace_continuation_strategy(TraceContinuationStrategy::Restart)).await;
    let (app, called) = app(&apm);
    let headers = [("traceparent", caller("01")), ("tracestate", "es=s:0.5".into()), ("baggage", "user=0xabc".into())];
    request(app, &headers.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!(text(&called, "baggage").as_deref(), Some("user=0xabc"));
    apm.expect_transaction("GET /").await.no_field("/parent_id").label("baggage_user", "0xabc");
}

// spec: tracing-distributed-tracing.md
#[tokio::test]
async fn inject_replaces_copied_trace_headers() {
    let apm = TestAgent::start().await;
    let mut headers = HeaderMap::new();
    for name in ["traceparent", "tracestate", "elastic-apm-traceparent"] {
        headers.insert(name, "stale".parse().unwrap());
    }
    let sender = tower_apm::otel::extract_carrier(&HashMap::from([("traceparent".to_owned(), caller("01"))]));
    apm.agent()
        .start_transaction_from(&sender, "produce", "scheduled")
        .in_scope(|| trace_context::inject(&mut headers));
    let sent = apm.expect_transaction("produce").await;
    assert_eq!(headers["traceparent"], format!("00-{TRACE}-{}-01", sent.id()));
    assert_eq!(headers.len(), 1, "{headers:?}");
}

#[tokio::test]
async fn w3c_propagator_of_opentelemetry_propagates_no_tracestate() {
    use opentelemetry_sdk::propagation::TraceContextPropagator;

    let apm = TestAgent::start().await;
    let state = [("traceparent".to_owned(), caller("01")), ("tracestate".to_owned(), "es=s:0.5,other=1".to_owned())];
    let sender = tower_apm::otel::extract_carrier(&HashMap::from(state));
    let through = |propagator: &dyn TextMapPropagator| {
        let mut carrier = HashMap::new();
        let work = apm.agent().start_transaction_from(&sender, "produce", "scheduled");
        work.in_scope(|| propagator.inject_context(&Context::current(), &mut carrier));
        carrier
    };
    // as documented in docs/opentelemetry.md
    let theirs = through(&TraceContextPropagator::new());
    assert!(theirs["traceparent"].starts_with(&format!("00-{TRACE}-")));
    assert_eq!(theirs.get("tracestate").map(String::as_str).unwrap_or_default(), "");
    let ours = through(&ElasticPropagator::new());
    assert_eq!(ours["tracestate"], "es=s:0.5,other=1");
}

// spec: tracing-distributed-tracing.md
#[tokio::test]
async fn baggage_is_propagated_and_attached_by_option() {
    let apm = apm(|agent| agent.baggage_to_attach(["user*", "session"])).await;
    let called = Called::default();
    let calls = called.clone();
    let handler = move || async move {
        trace_context::inject(&mut calls.lock().unwrap());
        tracing::info_span!("work").in_scope(|| {});
        let error = std::io::Error::other("no such room");
        axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(error)
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    request(app, &[("baggage", "user=0x%61bc;ttl=1, session=hunter2,other=1")]).await;
    assert_eq!(text(&called, "baggage").as_deref(), Some("other=1,session=hunter2,user=0xabc;ttl=1"));
    let labels = |event: &Value| event["context"]["tags"].clone();
    let sent = apm.expect_transaction("GET /").await.label("baggage_user", "0xabc").no_label("baggage_other");
    assert_eq!(labels(sent.json())["baggage_session"], "[REDACTED]");
    apm.expect_span("work").await.label("baggage_user", "0xabc").no_label("baggage_other");
    apm.expect_error("no such room").await.label("baggage_user", "0xabc").no_label("baggage_other");
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn client_baggage_becomes_at_most_16_labels() {
    let apm = apm(|agent| agent.baggage_to_attach(["*", "user"])).await;
    let (app, called) = app(&apm);
    let labels = |events: Vec<Value>| -> std::collections::BTreeSet<String> {
        let tags = events.iter().filter_map(|event| event["context"]["tags"].as_object());
        tags.flat_map(|tags| tags.keys()).filter(|key| key.starts_with("baggage_")).cloned().collect()
    };
    for from in [0, 60, 120] {
        let many: Vec<_> = (from..from + 60).map(|number| format!("k{number}=v")).collect();
        request(app.clone(), &[("baggage", &format!("{},user=0xabc", many.join(",")))]).await;
        assert_eq!(text(&called, "baggage").unwrap().split(',').count(), 61, "all of it is propagated");
    }
    apm.flush().await;
    let found = labels(apm.events(Kind::Transaction));
    assert_eq!(found.len(), 17, "{found:?}");
    assert!(found.contains("baggage_user"), "{found:?}");
}

#[tokio::test]
async fn outgoing_baggage_respects_the_w3c_limits() {
    let apm = apm(|agent| agent).await;
    let (members, lengths) = (200, 300);
    let mut headers = HeaderMap::new();
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let baggage = (0..members).map(|number| KeyValue::new(format!("k{number}"), "v".repeat(lengths)));
        let _attached = Context::current().with_baggage(baggage).attach();
        trace_context::inject(&mut headers);
    });
    let sent = headers["baggage"].to_str().unwrap();
    assert!(sent.len() <= 8192 && sent.split(',').count() <= 64, "{} bytes", sent.len());
}

// spec: span-links.md
#[tokio::test]
async fn span_links_can_be_added_after_the_start() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("batch", "messaging");
    for parent in [caller("01"), "not one".to_owned()] {
        work.link(&trace_context::extract_message(|name| (name == "traceparent").then_some(parent.as_bytes())));
    }
    drop(work);
    let sent = apm.expect_transaction("batch").await;
    assert_eq!(sent.json()["links"], json!([{ "trace_id": TRACE, "span_id": PARENT }]));
}

// spec: tracing-distributed-tracing.md
#[tokio::test]
async fn message_headers_propagate_the_trace_to_the_consumer() {
    let apm = TestAgent::start().await;
    let producer = apm.agent().start_transaction("produce", "scheduled");
    let mut headers = HashMap::<String, Vec<u8>>::new();
    producer.in_scope(|| {
        let context = Context::current().with_baggage([KeyValue::new("shop", "eu")]);
        let _attached = context.attach();
        trace_context::inject_message(&mut headers);
    });
    let sent = apm.expect_transaction("produce").await;
    for without in ["", "traceparent"] {
        apm.clear();
        let get = |name: &str| headers.get(name).filter(|_| name != without).map(Vec::as_slice);
        let sender = trace_context::extract_message(get);
        assert_eq!(sender.span_id().unwrap().to_string(), sent.id());
        apm.agent().start_transaction_from(&sender, "consume", "messaging").run(async {}).await;
        let consumed = apm.expect_transaction("consume").await;
        consumed.field("/trace_id", sent.trace_id()).field("/parent_id", sent.id()).label("baggage_shop", "eu");
    }
}

// spec: tracing-instrumentation-messaging.md, span-links.md
#[tokio::test]
async fn batch_of_one_message_has_a_link_and_no_parent() {
    let apm = TestAgent::start().await;
    let producer = apm.agent().start_transaction("produce", "scheduled");
    let mut headers = HashMap::<String, Vec<u8>>::new();
    producer.in_scope(|| trace_context::inject_message(&mut headers));
    let sender = trace_context::extract_message(|name| headers.get(name).map(Vec::as_slice));
    apm.agent().start_transaction("consume a batch", "messaging").link(&sender);
    let tracer = apm.agent().tracer_provider().tracer("kafka");
    let carrier = [("traceparent".to_owned(), String::from_utf8(headers["traceparent"].clone()).unwrap())];
    let message = ElasticPropagator::new().extract_with_context(&Context::new(), &HashMap::from(carrier));
    let message = message.span().span_context().clone();
    let batch = tracer.span_builder("poll a batch").with_kind(SpanKind::Consumer);
    drop(batch.with_links(vec![Link::with_context(message)]).start(&tracer));

    let sent = apm.expect_transaction("produce").await;
    for name in ["consume a batch", "poll a batch"] {
        let consumed = apm.expect_transaction(name).await.no_field("/parent_id");
        assert_ne!(consumed.trace_id(), sent.trace_id(), "{name}");
        assert_eq!(consumed.json()["links"], json!([{ "trace_id": sent.trace_id(), "span_id": sent.id() }]), "{name}");
    }
}

// spec: trace-continuation.md
#[tokio::test]
async fn trace_continuation_strategy_applies_to_messages() {
    let apm = apm(|agent| agent.trace_continuation_strategy(TraceContinuationStrategy::Restart)).await;
    let sender = tower_apm::otel::extract_carrier(&HashMap::from([("traceparent".to_owned(), caller("01"))]));
    apm.agent().start_transaction_from(&sender, "consume", "messaging").run(async {}).await;
    let sent = apm.expect_transaction("consume").await.no_field("/parent_id");
    assert_eq!(sent.json()["links"], json!([{ "trace_id": TRACE, "span_id": PARENT }]));
}

#[tokio::test]
async fn elastic_propagator_propagates_tracestate_and_baggage() {
    let apm = TestAgent::start().await;
    let propagator = ElasticPropagator::new();
    let mut carrier = HashMap::new();
    apm.agent().start_transaction("produce", "scheduled").in_scope(|| {
        let context = Context::current().with_baggage([KeyValue::new("shop", "eu")]);
        propagator.inject_context(&context, &mut carrier);
    });
    let sent = apm.expect_transaction("produce").await;
    assert_eq!(carrier["traceparent"], format!("00-{}-{}-01", sent.trace_id(), sent.id()));
    assert_eq!((carrier["tracestate"].as_str(), carrier["baggage"].as_str()), ("es=s:1", "shop=eu"));

    let context = propagator.extract_with_context(&Context::new(), &carrier);
    assert!(context.span().span_context().is_remote());
    assert_eq!(context.baggage().get("shop").map(ToString::to_string).as_deref(), Some("eu"));
    let again: &mut HashMap<String, String> = &mut HashMap::new();
    propagator.inject_context(&context, again);
    assert_eq!(*again, carrier, "the context of another tracer is propagated unchanged");
    let fields: Vec<_> = propagator.fields().collect();
    assert_eq!(fields, ["traceparent", "tracestate", "baggage", "elastic-apm-traceparent"]);
}

// spec: tracing-distributed-tracing.md
#[tokio::test]
async fn ensure_parent_id_returns_one_parent_for_a_page() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("page", "scheduled");
    let parent = work.ensure_parent_id().unwrap();
    assert_eq!(work.ensure_parent_id(), Some(parent), "the id does not change");
    drop(work);
    apm.expect_transaction("page").await.field("/parent_id", parent.to_string());
    assert_eq!(Transaction::default().ensure_parent_id(), None);
}

// spec: transport.md
#[tokio::test]
async fn context_propagation_only_propagates_and_records_no_events() {
    let apm = apm(|agent| agent.context_propagation_only(true)).await;
    let called = Called::default();
    let calls = called.clone();
    let handler = move || async move {
        trace_context::inject(&mut calls.lock().unwrap());
        tracing::info_span!("work").in_scope(|| {});
        axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(std::io::Error::other("no such room"))
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    request(app, &[("traceparent", &caller("01")), ("tracestate", "es=s:0.5")]).await;
    let out = text(&called, "traceparent").unwrap();
    assert!(out.starts_with(&format!("00-{TRACE}-")) && out.ends_with("-01") && !out.contains(PARENT), "{out}");
    assert_eq!(text(&called, "tracestate").as_deref(), Some("es=s:0.5"));
    apm.flush().await;
    assert_eq!(apm.agent().stats().recorded, 0);
    assert!(apm.events(Kind::Transaction).is_empty());
}
