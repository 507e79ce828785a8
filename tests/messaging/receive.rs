//! Received messages that are processed one by one.

use std::{
    collections::HashMap,
    future::{pending, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use serde_json::{Value, json};
use tower_apm::{
    AgentBuilder, CaptureBody, Outcome, Transaction, messaging,
    testkit::{Kind, TestAgent},
};
use tracing::{Instrument, info_span};

use crate::{
    PARENT, PROTOCOLS, Refused, SaleError, TRACE, configured, only, start, timeless, traceparent, transaction_by_otlp,
};

type Handled = Result<(), SaleError>;

fn captures_all(agent: AgentBuilder) -> AgentBuilder {
    agent.capture_body(CaptureBody::All)
}

/// `context.message` of one received message.
async fn message(apm: &TestAgent, received: messaging::Receive<'_>) -> Value {
    apm.clear();
    received.agent(apm.agent()).run(ready(())).await;
    apm.flush().await;
    only(apm, Kind::Transaction)["context"]["message"].clone()
}

#[tokio::test]
async fn message_is_a_transaction_in_the_trace_of_its_sender() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        let headers = HashMap::from([
            ("traceparent", traceparent().into_bytes()),
            ("tracestate", b"es=s:0.5".to_vec()),
            ("tenant", b"acme".to_vec()),
        ]);
        let received = messaging::receive("kafka", "sales").agent(apm.agent()).headers(&headers).body("sold");
        received.timestamp(SystemTime::now() - Duration::from_secs(60)).run(ready(Handled::Ok(()))).await.unwrap();
        apm.flush().await;

        let transaction = only(&apm, Kind::Transaction);
        assert_eq!((&transaction["trace_id"], &transaction["parent_id"]), (&TRACE.into(), &PARENT.into()));
        let mut sent = timeless(&transaction);
        let mut expected = json!({
            "name": "Kafka RECEIVE from sales",
            "type": "messaging",
            "outcome": "success",
            "sampled": true,
            "sample_rate": 0.5,
            "span_count": { "started": 0 },
            "context": {
                "message": {
                    "queue": { "name": "sales" },
                    "headers": { "traceparent": traceparent(), "tracestate": "es=s:0.5", "tenant": "acme" },
                },
                "service": { "framework": { "name": "Kafka" } },
            },
        });
        if protocol.is_some() {
            expected = transaction_by_otlp(expected);
        } else {
            let age = sent["context"]["message"].as_object_mut().unwrap().remove("age").unwrap();
            let age = age["ms"].as_u64().unwrap();
            assert!((60_000..70_000).contains(&age), "{age}");
        }
        assert_eq!(sent, expected, "{protocol:?}");
    }
}

#[tokio::test]
async fn message_without_trace_headers_starts_a_trace() {
    let apm = TestAgent::start().await;
    messaging::receive("kafka", "sales").agent(apm.agent()).headers([("traceparent", "broken")]).run(ready(())).await;
    let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await;
    transaction.no_field("/parent_id").no_field("/links").no_field("/context/message/age").field("/sample_rate", 1.0);
}

#[tokio::test]
async fn trace_goes_from_a_request_through_a_message_into_its_consumer() {
    let apm = TestAgent::start().await;
    let mut headers = HashMap::<String, Vec<u8>>::new();
    let producer = apm.agent().start_transaction("sell", "scheduled");
    producer.run(async { messaging::send("kafka", "sales").inject_message(&mut headers).end() }).await;
    let received = messaging::receive("kafka", "sales").agent(apm.agent()).headers(&headers);
    received.run(async { async {}.instrument(info_span!("settle")).await }).await;

    let sent = apm.expect_span("Kafka SEND to sales").await;
    let received = apm.expect_transaction("Kafka RECEIVE from sales").await;
    let received = received.field("/trace_id", sent.trace_id()).field("/parent_id", sent.id());
    received.span("settle", |span| span.child_of("Kafka RECEIVE from sales"));
}

#[tokio::test]
async fn headers_are_read_from_text_bytes_and_the_binary_form() {
    let apm = TestAgent::start().await;
    let mut binary = vec![0, 0];
    binary.extend(u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes());
    binary.push(1);
    binary.extend(u64::from_str_radix(PARENT, 16).unwrap().to_be_bytes());
    binary.extend([2, 1]);
    let text = HashMap::from([("traceparent".to_owned(), traceparent())]);
    let receive = || messaging::receive("kafka", "sales").agent(apm.agent());
    let all = [
        receive().carrier(&text),
        receive().headers(&text),
        receive().headers([("traceparent", traceparent().into_bytes())]),
        receive().headers([("elasticapmtraceparent", binary)]),
        // the last one is used, because producers append
        receive()
            .headers([("traceparent", format!("00-{}-{PARENT}-01", "1".repeat(32))), ("traceparent", traceparent())]),
    ];
    for received in all {
        apm.clear();
        received.run(ready(())).await;
        let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await;
        transaction.field("/trace_id", TRACE).field("/parent_id", PARENT);
    }
}

#[tokio::test]
async fn baggage_of_the_message_is_attached_and_passed_on() {
    let apm = TestAgent::start().await;
    let headers = [("traceparent", traceparent()), ("baggage", "shop=eu".to_owned())];
    let mut sent = HashMap::<String, String>::new();
    let received = messaging::receive("kafka", "sales").agent(apm.agent()).headers(headers);
    received.run(async { messaging::send("kafka", "bills").inject(&mut sent).end() }).await;
    assert_eq!(sent["baggage"], "shop=eu");
    let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await.label("baggage_shop", "eu");
    transaction.field("/context/message/queue/name", "sales").field("/otel/span_kind", "CONSUMER");
}

#[tokio::test]
async fn error_of_the_handler_fails_the_transaction_and_is_recorded() {
    for protocol in PROTOCOLS {
        let apm = start(protocol).await;
        let received = messaging::receive("kafka", "sales").agent(apm.agent());
        received.run(ready(Handled::Err(SaleError(Refused)))).await.unwrap_err();
        let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await.outcome("failure");
        transaction.error("SaleError", |error| error.handled(false).caused_by("no funds"));
    }
}

#[tokio::test]
async fn outcome_follows_the_result_unless_the_handler_sets_it() {
    let apm = configured(|agent| agent.ignore_exceptions(["*Refused"])).await;
    let receive = |topic: &str| messaging::receive("kafka", topic).agent(apm.agent());
    receive("set").run(async { outcome(Outcome::Success) }).await.unwrap_err();
    receive("ignored").run(ready(Err::<(), _>(Refused))).await.unwrap_err();
    receive("captured").run(async { lose() }).await;
    receive("blocking").in_scope(|| Handled::Err(SaleError(Refused))).unwrap_err();
    receive("blocking and good").in_scope(|| ());
    assert!(receive("cancelled").run(pending::<()>()).now_or_never().is_none());
    for (topic, expected) in [
        ("set", "success"),
        ("ignored", "failure"),
        ("captured", "failure"),
        ("blocking", "failure"),
        ("blocking and good", "success"),
        ("cancelled", "unknown"),
    ] {
        apm.expect_transaction(&format!("Kafka RECEIVE from {topic}")).await.outcome(expected);
    }
}

fn lose() {
    Transaction::current().capture_error(&std::io::Error::other("lost"));
}

fn outcome(outcome: Outcome) -> Handled {
    Transaction::current().set_outcome(outcome);
    Err(SaleError(Refused))
}

#[tokio::test]
async fn panic_of_the_handler_is_recorded_and_goes_on() {
    let apm = TestAgent::start().await;
    let received = messaging::receive("kafka", "sales").agent(apm.agent()).run(async {
        if true {
            panic!("boom");
        }
    });
    tokio::spawn(received).await.unwrap_err();
    let transaction = apm.expect_transaction("Kafka RECEIVE from sales").await.outcome("failure");
    transaction.error("boom", |error| error.handled(false));
}

#[tokio::test]
async fn started_transaction_takes_labels_and_any_output() {
    let apm = TestAgent::start().await;
    let started = messaging::receive("kafka", "sales").agent(apm.agent()).start();
    started.set_label("partition", 3);
    assert_eq!(started.run(async { 42 }).await, 42);
    apm.expect_transaction("Kafka RECEIVE from sales").await.label("partition", 3);
}

#[tokio::test]
async fn ignored_queue_makes_no_transaction_and_carries_the_trace_on() {
    let apm = configured(|agent| agent.ignore_message_queues(["audit*"])).await;
    let mut sent = HashMap::<String, String>::new();
    let headers =
        [("traceparent", traceparent()), ("tracestate", "es=s:0.5,a=1".to_owned()), ("baggage", "shop=eu".to_owned())];
    let received = messaging::receive("kafka", "audit-log").agent(apm.agent()).headers(headers);
    let work = async {
        assert!(!Transaction::current().is_active());
        async {}.instrument(info_span!("settle")).await;
        messaging::send("kafka", "sales").inject(&mut sent).end();
        Handled::Err(SaleError(Refused))
    };
    received.run(work).await.unwrap_err();
    assert_eq!(sent["traceparent"], traceparent(), "the sender is propagated as the parent");
    assert_eq!((&*sent["tracestate"], &*sent["baggage"]), ("es=s:0.5,a=1", "shop=eu"));
    let error = apm.expect_error("SaleError").await;
    assert!(error.json().get("transaction_id").is_none(), "{}", error.json());
    assert!(apm.events(Kind::Transaction).is_empty() && apm.events(Kind::Span).is_empty());
}

#[tokio::test]
async fn ignored_queue_without_a_sender_has_no_trace() {
    let apm = configured(|agent| agent.ignore_message_queues(["audit*"])).await;
    let mut sent = HashMap::<String, String>::new();
    let received = messaging::receive("kafka", "audit-log").agent(apm.agent());
    received.run(async { tower_apm::otel::inject_carrier(&mut sent) }).await;
    assert!(sent.is_empty(), "{sent:?}");
    messaging::receive("kafka", "audit-log").agent(apm.agent()).in_scope(|| tower_apm::otel::inject_carrier(&mut sent));
    assert!(sent.is_empty(), "{sent:?}");
    apm.expect_nothing().await;
}

#[tokio::test]
async fn unsampled_message_records_errors_only_and_carries_the_decision_on() {
    let apm = configured(captures_all).await;
    let mut sent = HashMap::<String, String>::new();
    let headers = [("traceparent", format!("00-{TRACE}-{PARENT}-00")), ("tenant", "acme".to_owned())];
    let received = messaging::receive("kafka", "sales").agent(apm.agent()).headers(headers).body("sold");
    let settle = async {
        messaging::send("kafka", "bills").inject(&mut sent).end();
        Transaction::current().capture_error(&Refused);
        Transaction::current().id().unwrap()
    };
    let id = received.start().run(settle).await;
    assert_eq!(sent["traceparent"], format!("00-{TRACE}-{id}-00"));
    let error = apm.expect_error("Refused").await.no_field("/context/message");
    assert_eq!(error.json()["transaction"]["sampled"], false);
    assert!(apm.events(Kind::Span).is_empty() && apm.events(Kind::Transaction).is_empty());
}

#[tokio::test]
async fn disabled_agent_runs_the_handler_only() {
    let apm = configured(|agent| agent.recording(false)).await;
    let received = messaging::receive("kafka", "sales").agent(apm.agent()).headers([("traceparent", traceparent())]);
    received.run(ready(Handled::Err(SaleError(Refused)))).await.unwrap_err();
    apm.expect_nothing().await;
    messaging::receive("kafka", "sales").run(ready(Handled::Err(SaleError(Refused)))).await.unwrap_err();
}

#[tokio::test]
async fn age_is_zero_if_the_clock_of_the_sender_is_ahead() {
    let apm = TestAgent::start().await;
    let receive = |sent: SystemTime| messaging::receive("kafka", "sales").timestamp(sent);
    let ahead = message(&apm, receive(SystemTime::now() + Duration::from_secs(3600))).await;
    assert_eq!(ahead["age"]["ms"], 0);
    let long_ago = message(&apm, receive(UNIX_EPOCH + Duration::from_millis(1))).await;
    assert!(long_ago["age"]["ms"].as_u64().unwrap() > 1_000_000_000_000, "{long_ago}");
}

#[tokio::test]
async fn headers_are_redacted_and_binary_ones_left_out() {
    let apm = TestAgent::start().await;
    let headers: [(&str, &[u8]); 8] = [
        ("X-Api-Key", b"hunter2"),
        ("Authorization", b"Bearer hunter2"),
        ("cookie", b"theme=hunter2"),
        ("note", b"password=hunter2"),
        ("binary", &[0, 159, 146, 150]),
        ("tag", b"a"),
        ("tenant", "\u{e4}cme".as_bytes()),
        ("tag", b"b"),
    ];
    let sent = message(&apm, messaging::receive("kafka", "sales").headers(headers)).await;
    assert_eq!(sent["headers"]["X-Api-Key"], "[REDACTED]");
    assert_eq!(sent["headers"]["tenant"], "\u{e4}cme");
    assert_eq!(sent["headers"]["tag"], json!(["a", "b"]));
    assert!(sent["headers"].get("binary").is_none(), "{sent}");
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn headers_are_left_out_if_they_are_not_captured() {
    let apm = configured(|agent| agent.capture_headers(false)).await;
    let sent = message(&apm, messaging::receive("kafka", "sales").headers([("tenant", "acme")])).await;
    assert_eq!(sent, json!({ "queue": { "name": "sales" } }));
}

#[tokio::test]
async fn body_is_captured_for_transactions_only_where_asked_for() {
    for (capture, expected) in [
        (CaptureBody::Off, None),
        (CaptureBody::Errors, None),
        (CaptureBody::Transactions, Some("sold")),
        (CaptureBody::All, Some("sold")),
    ] {
        let apm = configured(move |agent| agent.capture_body(capture)).await;
        let sent = message(&apm, messaging::receive("kafka", "sales").body("sold")).await;
        assert_eq!(sent.get("body").and_then(Value::as_str), expected, "{capture:?}");
    }
}

#[tokio::test]
async fn body_is_redacted_by_what_it_is() {
    let apm = configured(captures_all).await;
    let receive = || messaging::receive("kafka", "sales");
    let json = receive().body(r#"{"user":"ada","password":"hunter2"}"#);
    assert_eq!(message(&apm, json).await["body"], r#"{"user":"ada","password":"[REDACTED]"}"#);
    let form = receive().headers([("Content-Type", "application/x-www-form-urlencoded")]).body("a=1&password=hunter2");
    assert_eq!(message(&apm, form).await["body"], "a=1&password=[REDACTED]");
    let xml = receive().body("<sale><password>hunter2</password></sale>");
    let xml = message(&apm, xml).await;
    assert!(xml["body"].as_str().unwrap().starts_with("<sale>"), "{xml}");
    let broken = receive().headers([("content-type", "application/json")]).body("password: hunter2");
    assert_eq!(message(&apm, broken).await["body"], "[REDACTED]");
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn body_is_text_of_at_most_ten_thousand_characters() {
    let apm = configured(captures_all).await;
    let long = "\u{e4}".repeat(50_000);
    let sent = message(&apm, messaging::receive("kafka", "sales").body(&long)).await;
    let body = sent["body"].as_str().unwrap();
    assert_eq!(body.chars().count(), 10_000);
    assert!(body.ends_with('…'));
    for binary in [&[0xff, 0xfe][..], b"\x08\x01\x12\x04sale"] {
        let sent = message(&apm, messaging::receive("kafka", "sales").body(binary)).await;
        assert!(sent.get("body").is_none(), "{sent}");
    }
}

#[tokio::test]
async fn rabbitmq_message_has_a_routing_key_and_no_generated_name() {
    let apm = TestAgent::start().await;
    let received = messaging::receive("rabbitmq", "amq.gen-JzTY20BRgKO").routing_key("orders.new");
    let sent = message(&apm, received).await;
    assert_eq!(sent, json!({ "queue": { "name": "amq.gen-*" }, "routing_key": "orders.new" }));
    apm.expect_transaction("RabbitMQ RECEIVE from amq.gen-*").await;
}

#[tokio::test]
async fn large_message_is_sent_within_the_limit_of_an_event() {
    let apm = configured(|agent| captures_all(agent).long_field_max_length(1_000_000)).await;
    let headers: Vec<_> = (0..300).map(|n| (format!("header-{n}"), "v".repeat(4000))).collect();
    let body = "b".repeat(900_000);
    let sent = message(&apm, messaging::receive("kafka", "sales").headers(headers).body(&body)).await;
    assert_eq!(sent["queue"]["name"], "sales");
    assert_eq!(apm.agent().stats().dropped.total(), 0);
}
