//! Sent messages.

use std::{
    collections::{BTreeMap, HashMap},
    future::{pending, ready},
    io,
};

use axum::{Router, body::Body, http::Request, routing::get};
use futures_util::FutureExt;
use serde_json::json;
use tower::ServiceExt;
use tower_apm::{
    Transaction, messaging,
    testkit::{Kind, TestAgent},
};

use crate::{PROTOCOLS, Refused, SaleError, TRACE, configured, only, span_by_otlp, start, text, timeless, traceparent};

type Sent = Result<(), SaleError>;

async fn work(apm: &TestAgent, work: impl Future) {
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.expect_transaction("work").await;
}

#[tokio::test]
async fn message_is_recorded_as_a_producer_exit_span() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        work(&apm, async {
            messaging::send("kafka", "sales").address("kafka.example", 9092).run(ready(Sent::Ok(()))).await.unwrap();
        })
        .await;
        let span = only(&apm, Kind::Span);
        let mut expected = json!({
            "name": "Kafka SEND to sales",
            "type": "messaging",
            "subtype": "kafka",
            "action": "send",
            "outcome": "success",
            "sync": true,
            "sample_rate": 1.0,
            "otel": { "span_kind": "PRODUCER" },
            "context": {
                "message": { "queue": { "name": "sales" } },
                "destination": {
                    "address": "kafka.example",
                    "port": 9092,
                    "service": { "name": "", "type": "", "resource": "kafka/sales" },
                },
                "service": { "target": { "type": "kafka", "name": "sales" } },
            },
        });
        if protocol.is_some() {
            expected = span_by_otlp(expected);
        }
        assert_eq!(timeless(&span), expected, "{protocol:?}");
        apm.expect_span("Kafka SEND to sales").await.child_of("work");
    }
}

#[tokio::test]
async fn rabbitmq_message_has_exchange_and_routing_key() {
    let apm = TestAgent::start().await;
    work(&apm, async {
        messaging::send("rabbitmq", "").routing_key("orders.new").run(ready(())).await;
    })
    .await;
    let span = only(&apm, Kind::Span);
    assert_eq!(span["name"], "RabbitMQ SEND to <default>");
    let message = json!({ "queue": { "name": "<default>" }, "routing_key": "orders.new" });
    assert_eq!(span["context"]["message"], message);
    assert_eq!(span["context"]["destination"]["service"]["resource"], "rabbitmq/<default>");
}

#[tokio::test]
async fn text_headers_contain_the_trace_of_the_span() {
    let apm = TestAgent::start().await;
    let mut headers = HashMap::<String, String>::new();
    work(&apm, messaging::send("rabbitmq", "orders").inject(&mut headers).run(ready(()))).await;
    assert!(headers.is_empty(), "the span started outside of the transaction");
    let transaction = apm.agent().start_transaction("sell", "scheduled");
    let run = transaction.in_scope(|| messaging::send("rabbitmq", "orders").inject(&mut headers).run(ready(())));
    run.await;
    let span = apm.expect_span("RabbitMQ SEND to orders").await;
    assert_eq!(headers["traceparent"], format!("00-{}-{}-01", span.trace_id(), span.id()));
    assert_eq!(headers["tracestate"], "es=s:1");
}

#[tokio::test]
async fn byte_headers_contain_the_trace_in_place_of_an_older_one() {
    let apm = TestAgent::start().await;
    let old = || {
        let names = ["traceparent", "traceparent", "tracestate", "elasticapmtraceparent", "tenant"];
        names.map(|name| (name.to_owned(), b"old".to_vec()))
    };
    let (mut list, mut map, mut tree) = (Vec::from(old()), HashMap::from(old()), BTreeMap::from(old()));
    work(&apm, async {
        let span = messaging::send("kafka", "sales").inject_message(&mut list).inject_message(&mut map);
        span.inject_message(&mut tree).run(ready(())).await;
    })
    .await;
    let span = apm.expect_span("Kafka SEND to sales").await;
    let sent: HashMap<_, _> = list.iter().cloned().collect();
    assert_eq!(list.len(), sent.len(), "each header once: {list:?}");
    assert_eq!(text(&sent, "traceparent"), format!("00-{}-{}-01", span.trace_id(), span.id()));
    assert_eq!(text(&sent, "tracestate"), "es=s:1");
    assert_eq!(text(&sent, "tenant"), "old");
    assert_eq!(sent["elasticapmtraceparent"].len(), 29);
    assert_eq!(map, sent);
    assert_eq!(tree, sent.into_iter().collect());
}

#[tokio::test]
async fn trace_that_ends_here_leaves_no_older_tracestate() {
    let apm = TestAgent::start().await;
    let mut headers = HashMap::from([("tracestate".to_owned(), b"es=s:0.5".to_vec())]);
    let received = messaging::receive("kafka", "orders").agent(apm.agent()).headers([("traceparent", traceparent())]);
    received.run(async { messaging::send("kafka", "sales").inject_message(&mut headers).end() }).await;
    assert!(!headers.contains_key("tracestate"), "{headers:?}");
    assert!(text(&headers, "traceparent").contains(TRACE));
}

#[tokio::test]
async fn each_message_of_a_call_gets_the_trace_where_the_span_is_current() {
    let apm = TestAgent::start().await;
    let mut messages = vec![HashMap::<String, String>::new(); 2];
    work(&apm, async {
        let send = async { messages.iter_mut().for_each(|headers| tower_apm::otel::inject_carrier(headers)) };
        messaging::send("rabbitmq", "orders").run(send).await;
    })
    .await;
    let span = apm.expect_span("RabbitMQ SEND to orders").await;
    for headers in messages {
        assert!(headers["traceparent"].contains(span.id()), "{headers:?}");
    }
}

#[tokio::test]
async fn error_fails_the_span_and_is_recorded_with_its_causes() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        work(&apm, messaging::send("kafka", "sales").run(ready(Sent::Err(SaleError(Refused))))).await;
        assert!(apm.events(Kind::Span).is_empty(), "the span started outside of the transaction");
        apm.clear();
        work(&apm, async {
            let _ = messaging::send("kafka", "sales").run(ready(Sent::Err(SaleError(Refused)))).await;
        })
        .await;
        apm.expect_span("Kafka SEND to sales").await.outcome("failure");
        apm.expect_error("SaleError").await.child_of("Kafka SEND to sales").caused_by("no funds");
    }
}

#[tokio::test]
async fn errors_of_any_common_type_fail_the_span() {
    let apm = TestAgent::start().await;
    work(&apm, async {
        let boxed: Result<(), Box<dyn std::error::Error + Send + Sync>> = Err(Box::new(SaleError(Refused)));
        let local: Result<(), Box<dyn std::error::Error>> = Err("no connection".into());
        let _ = messaging::send("nats", "a").run(ready(boxed)).await;
        let _ = messaging::send("nats", "b").run(ready(local)).await;
        let _ = messaging::send("nats", "c").run(ready(Err::<(), _>(io::Error::other("no route")))).await;
        messaging::send("nats", "d").fail(&io::Error::other("no room"));
    })
    .await;
    for topic in ["a", "b", "c", "d"] {
        apm.expect_span(&format!("NATS SEND to {topic}")).await.outcome("failure");
    }
    apm.expect_error("SaleError").await.child_of("NATS SEND to a");
    apm.expect_error("no connection").await.child_of("NATS SEND to b");
    apm.expect_error("no route").await.child_of("NATS SEND to c");
    apm.expect_error("no room").await.child_of("NATS SEND to d");
}

#[tokio::test]
async fn cancelled_message_has_an_unknown_outcome() {
    let apm = TestAgent::start().await;
    work(&apm, async {
        assert!(messaging::send("kafka", "sales").run(pending::<Sent>()).now_or_never().is_none());
    })
    .await;
    apm.expect_span("Kafka SEND to sales").await.outcome("unknown");
}

#[tokio::test]
async fn ignored_queue_has_no_span_and_carries_the_trace_of_the_transaction() {
    let apm = configured(|agent| agent.ignore_message_queues(["audit*"])).await;
    let mut headers = HashMap::<String, Vec<u8>>::new();
    work(&apm, async {
        messaging::send("kafka", "audit-log").inject_message(&mut headers).run(ready(())).await;
    })
    .await;
    let transaction = apm.expect_transaction("work").await.span_count(0);
    assert!(apm.events(Kind::Span).is_empty());
    assert!(text(&headers, "traceparent").contains(transaction.id()), "{headers:?}");
}

#[tokio::test]
async fn unsampled_transaction_has_no_span_and_carries_the_trace_on() {
    let apm = configured(|agent| agent.transaction_sample_rate(0.0)).await;
    let mut headers = HashMap::<String, Vec<u8>>::new();
    let sell = async {
        let span = messaging::send("kafka", "sales").inject_message(&mut headers);
        let _ = span.run(ready(Sent::Err(SaleError(Refused)))).await;
        let transaction = Transaction::current();
        (transaction.trace_id().unwrap(), transaction.id().unwrap())
    };
    let (trace_id, id) = apm.agent().start_transaction("work", "scheduled").run(sell).await;
    apm.expect_error("SaleError").await.field("/parent_id", id.to_string());
    assert!(apm.events(Kind::Span).is_empty());
    assert_eq!(text(&headers, "traceparent"), format!("00-{trace_id}-{id}-00"));
    assert_eq!(text(&headers, "tracestate"), "es=s:0");
}

#[tokio::test]
async fn ignored_request_carries_the_trace_of_its_caller_on() {
    let apm = configured(|agent| agent.transaction_ignore_urls(["/health"])).await;
    let handler = async || {
        let mut headers = HashMap::<String, String>::new();
        messaging::send("kafka", "sales").inject(&mut headers).run(ready(())).await;
        headers["traceparent"].clone()
    };
    let app = Router::new().route("/health", get(handler)).layer(apm.layer());
    let request = Request::get("/health").header("traceparent", traceparent()).body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let sent = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(sent, traceparent());
    apm.expect_nothing().await;
}

#[tokio::test]
async fn message_outside_of_a_transaction_changes_nothing() {
    let apm = TestAgent::start().await;
    let old = HashMap::from([("traceparent".to_owned(), b"forwarded".to_vec())]);
    let mut headers = old.clone();
    messaging::send("kafka", "sales").inject_message(&mut headers).run(ready(())).await;
    assert_eq!(headers, old);
    apm.expect_nothing().await;
}
