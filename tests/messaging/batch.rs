//! Batches of received messages.

use std::{collections::HashMap, future::ready};

use serde_json::{Value, json};
use tower_apm::{
    messaging,
    testkit::{Kind, TestAgent},
};

use crate::{PARENT, PROTOCOLS, TRACE, only, start, timeless, traceparent, transaction_by_otlp};

fn sender(span: u64) -> HashMap<&'static str, String> {
    HashMap::from([("traceparent", format!("00-{TRACE}-{span:016x}-01"))])
}

#[tokio::test]
async fn batch_is_a_trace_with_a_link_to_each_sender() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        let received = messaging::receive("kafka", "sales").agent(apm.agent());
        let received = received.message(&sender(1)).message([("tenant", "acme")]).message(&sender(2)).body("sold");
        received.run(ready(())).await;
        apm.flush().await;
        let transaction = only(&apm, Kind::Transaction);
        assert_ne!(transaction["trace_id"], TRACE);
        assert!(transaction.get("parent_id").is_none(), "{transaction}");
        let mut expected = json!({
            "name": "Kafka RECEIVE from sales",
            "type": "messaging",
            "outcome": "success",
            "sampled": true,
            "sample_rate": 1.0,
            "span_count": { "started": 0 },
            "links": [
                { "trace_id": TRACE, "span_id": "0000000000000001" },
                { "trace_id": TRACE, "span_id": "0000000000000002" },
            ],
            "context": {
                "message": { "queue": { "name": "sales" } },
                "service": { "framework": { "name": "Kafka" } },
            },
        });
        if protocol.is_some() {
            expected = transaction_by_otlp(expected);
        }
        assert_eq!(timeless(&transaction), expected, "{protocol:?}");
    }
}

// spec: span-links.md
#[tokio::test]
async fn batch_of_one_has_a_link_and_no_parent_and_equal_senders_are_linked_once() {
    let apm = TestAgent::start().await;
    let headers = [("traceparent", traceparent())];
    let received = messaging::receive("kafka", "sales").agent(apm.agent());
    received.message(headers.clone()).message(headers).run(ready(())).await;
    let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await.no_field("/parent_id");
    assert_eq!(transaction.json()["links"], json!([{ "trace_id": TRACE, "span_id": PARENT }]));
}

#[tokio::test]
async fn links_beyond_a_thousand_are_counted() {
    let apm = TestAgent::start().await;
    let mut received = messaging::receive("kafka", "sales").agent(apm.agent());
    for span in (1..=1003).chain([1]) {
        received = received.message(&sender(span));
    }
    received.run(ready(())).await;
    let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await;
    assert_eq!(transaction.json()["links"].as_array().map(Vec::len), Some(1000));
    assert_eq!(apm.agent().stats().excess_links, 3);
}

#[tokio::test]
async fn batch_from_several_topics_is_named_without_one() {
    let apm = TestAgent::start().await;
    messaging::receive("kafka", "").agent(apm.agent()).message(&sender(1)).run(ready(())).await;
    let transaction = apm.expect_transaction("Kafka RECEIVE").await;
    assert_eq!(transaction.json()["context"].get("message"), None::<&Value>);
}
