//! Very many labels, values, headers or spans produce bounded events in linear time.

use std::{collections::BTreeMap, io};

use axum::{Router, http::HeaderMap, routing::get};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{Span, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, Tracer, TracerProvider},
};
use serde_json::{Value, json};
use tower_apm::{
    User,
    testkit::{Kind, TestAgent},
    trace_context,
};

use crate::http::{empty, get as request, send};

const MANY: usize = 100_000;
/// The server refuses a longer line.
const MAX_LINE: usize = 300 * 1024;

fn keys() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("k{number}"))
}

fn count(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

/// Checks that every event is delivered and within the size limit.
async fn expect_small(apm: &TestAgent) {
    apm.flush().await;
    let stats = apm.agent().stats();
    assert_eq!((stats.accepted, stats.dropped.total(), stats.rejected), (stats.recorded, 0, 0), "{stats}");
    assert_eq!(stats.truncated, 0, "{stats}");
    for kind in [Kind::Transaction, Kind::Span, Kind::Error] {
        assert!(apm.events(kind).iter().all(|event| event.to_string().len() < MAX_LINE));
    }
}

#[tokio::test]
async fn custom_context_is_limited_to_128_values_and_counts_the_excess() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("work", "job");
    keys().for_each(|key| _ = work.set_custom_context(key, 1));
    work.capture_error(&io::Error::other("no sale"));
    let own = work.error(&io::Error::other("no rate"));
    keys().fold(own, |error, key| error.custom(key + "x", 1)).capture();
    drop(work);
    let transaction = apm.expect_transaction("work").await.custom("/k127", 1);
    assert_eq!(count(&transaction.json()["context"]["custom"]), 128);
    for error in apm.events(Kind::Error) {
        assert_eq!(count(&error["context"]["custom"]), 128);
    }
    // the last 128 values of the error have no room in addition to those of the transaction
    assert_eq!(apm.agent().stats().excess_custom as usize, (MANY - 128) + (MANY - 128) + 128);
    expect_small(&apm).await;
}

#[tokio::test]
async fn custom_context_is_limited_to_64_kib_with_keys() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("work", "job");
    for number in 0..128 {
        work.set_custom_context(format!("{number}{}", "k".repeat(1000)), number);
    }
    work.set_custom_context("large", "x".repeat(100_000));
    drop(work);
    let transaction = apm.expect_transaction("work").await;
    let custom = &transaction.json()["context"]["custom"];
    let bytes: usize = custom.as_object().unwrap().iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
    assert!((60 * 1024..64 * 1024).contains(&bytes), "{bytes}");
    // a note replaces the large value, which is counted too
    assert_eq!(custom["large"], "[left out: too large]");
    assert_eq!(apm.agent().stats().excess_custom as usize, 129 - (count(custom) - 1));
    expect_small(&apm).await;
}

#[tokio::test]
async fn wide_and_deep_values_are_bounded() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("work", "job");
    let wide: BTreeMap<String, usize> = keys().zip(0..).collect();
    let fits: BTreeMap<String, usize> = keys().zip(0..).take(4000).collect();
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    work.set_custom_context("wide", wide).set_custom_context("fits", fits).set_custom_context("deep", &deep);
    drop(work);
    let custom =
        apm.expect_transaction("work").await.custom("/wide", "[left out: too large]").json()["context"]["custom"]
            .clone();
    assert_eq!(count(&custom["fits"]), 4000);
    assert!(custom["deep"].is_array());
    expect_small(&apm).await;
}

#[tokio::test]
async fn labels_users_and_links_are_bounded() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("work", "job");
    let mut headers = HeaderMap::new();
    for (number, key) in keys().enumerate() {
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", number + 1);
        headers.insert("traceparent", parent.parse().unwrap());
        work.set_label(key.clone(), 1).link(&trace_context::extract(&headers)).set_user(User::id(&key).email(key));
    }
    let own = work.error(&io::Error::other("no rate"));
    keys().fold(own, |error, key| error.label(key + "x", 1)).capture();
    drop(work);
    let transaction = apm.expect_transaction("work").await.user_id("k99999");
    assert_eq!(count(&transaction.json()["context"]["tags"]), 128);
    assert_eq!(transaction.json()["links"].as_array().unwrap().len(), 1000);
    assert_eq!(count(&apm.events(Kind::Error)[0]["context"]["tags"]), 128);
    let stats = apm.agent().stats();
    assert_eq!((stats.excess_labels as usize, stats.excess_links as usize), (2 * (MANY - 128) + 128, MANY - 1000));
    expect_small(&apm).await;
}

#[tokio::test]
async fn spans_with_many_attributes_links_and_events_are_bounded() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("bounds");
    let attributes = || keys().map(|key| KeyValue::new(key, 1)).collect::<Vec<_>>();
    let linked = |number: usize| {
        let id = SpanId::from(number as u64 + 1);
        SpanContext::new(TraceId::from(1), id, TraceFlags::SAMPLED, true, Default::default())
    };
    let links = || (0..MANY).map(|number| opentelemetry::trace::Link::with_context(linked(number))).collect::<Vec<_>>();
    apm.agent().start_transaction("work", "job").in_scope(|| {
        let builder = tracer.span_builder("built").with_attributes(attributes()).with_links(links());
        let mut built = tracer.build(builder);
        attributes().into_iter().for_each(|attribute| built.set_attribute(attribute));
        (0..MANY).for_each(|number| built.add_link(linked(number), Vec::new()));
        (0..10).for_each(|_| built.add_event("exception", attributes()));
        built.end();
        // the transaction itself
        let context = Context::current();
        attributes().into_iter().for_each(|attribute| context.span().set_attribute(attribute));
    });
    let mut root = tracer.build(tracer.span_builder("root").with_attributes(attributes()).with_links(links()));
    attributes().into_iter().for_each(|attribute| root.set_attribute(attribute));
    root.end();
    let span = apm.expect_span("built").await;
    assert_eq!(count(&span.json()["context"]["tags"]).max(count(&span.json()["otel"]["attributes"])), 128);
    expect_small(&apm).await;
}

#[tokio::test]
async fn large_baggage_is_bounded() {
    let apm = TestAgent::start().await;
    let baggage = Context::current_with_baggage(keys().map(|key| KeyValue::new(key, "v")));
    let _attached = baggage.attach();
    apm.agent().start_transaction("work", "job").in_scope(|| {
        tracing::info_span!("inner").in_scope(|| apm.agent().capture_error(&io::Error::other("no rate")));
        let mut headers = HeaderMap::new();
        trace_context::inject(&mut headers);
        assert!(headers["baggage"].len() <= 8192);
    });
    apm.expect_transaction("work").await;
    expect_small(&apm).await;
}

#[tokio::test]
async fn many_headers_are_bounded() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let mut headers = HeaderMap::new();
        for number in 0..20_000 {
            headers.insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), number.into());
        }
        headers
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    let request = (0..20_000).fold(request("/"), |request, number| request.header(format!("x-{number}"), number));
    send(app, empty(request)).await;
    let transaction = apm.expect_transaction("GET /").await;
    for message in ["request", "response"] {
        let headers = count(&transaction.json()["context"][message]["headers"]);
        assert!((1..=256).contains(&headers), "{message}: {headers}");
    }
    expect_small(&apm).await;
}
