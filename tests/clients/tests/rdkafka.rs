//! Messages of rdkafka on its in-process broker, and on a real Kafka.

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use futures_util::FutureExt;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfigAndContext,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord, Producer},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower_apm::{
    AgentBuilder, CaptureBody, OtlpProtocol, Transaction,
    rdkafka::{InstrumentedProducer, instrument},
    testkit::{Kind, TestAgent},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A broker with a topic that only this test uses.
struct Kafka {
    brokers: String,
    topic: String,
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Kafka {
    fn mock() -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("sales", 1, 1).unwrap();
        Self { brokers: mock.bootstrap_servers(), topic: "sales".to_owned(), mock: Some(mock) }
    }

    /// The server of `run.sh`.
    async fn real() -> Self {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let brokers = env::var("KAFKA_BROKERS").expect("KAFKA_BROKERS is not set: use tests/clients/run.sh");
        let topic = format!("sales-{}-{}", std::process::id(), TOPICS.fetch_add(1, Relaxed));
        let kafka = Self { brokers, topic, mock: None };
        let admin: AdminClient<DefaultClientContext> = kafka.config().create().unwrap();
        let created = timeout(DEADLINE, async {
            loop {
                // fails until the broker is ready
                let topic = NewTopic::new(&kafka.topic, 1, TopicReplication::Fixed(1));
                match admin.create_topics([&topic], &AdminOptions::new()).await.as_deref() {
                    Ok([Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))]) => return,
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        created.await.expect("the broker creates no topic");
        kafka
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("message.timeout.ms", "30000");
        config
    }

    fn producer(&self) -> InstrumentedProducer {
        let producer: FutureProducer = self.config().create().unwrap();
        instrument(producer)
    }

    /// Reads the topic from its beginning.
    fn consumer(&self) -> StreamConsumer {
        let consumer: StreamConsumer = self.config().set("group.id", "test").create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(&self.topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        consumer
    }

    async fn received(&self, messages: usize) -> Vec<OwnedMessage> {
        let consumer = self.consumer();
        let mut received = Vec::new();
        while received.len() < messages {
            received.push(timeout(DEADLINE, consumer.recv()).await.unwrap().unwrap().detach());
        }
        received
    }

    fn record(&self) -> FutureRecord<'_, str, str> {
        FutureRecord::to(&self.topic).key("42").payload("sold")
    }
}

async fn start(protocol: Option<OtlpProtocol>) -> TestAgent {
    let builder = TestAgent::builder().configure(|agent| agent.capture_body(CaptureBody::All));
    match protocol {
        None => builder.start().await,
        Some(protocol) => builder.otlp(protocol).start().await,
    }
}

async fn configured(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

/// Runs the work in a transaction.
async fn work(apm: &TestAgent, work: impl Future) {
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.expect_transaction("work").await;
}

/// Returns the document without ids and times.
fn timeless(event: &Value) -> Value {
    let mut event = event.clone();
    for field in ["id", "trace_id", "parent_id", "transaction_id", "timestamp", "duration"] {
        event.as_object_mut().unwrap().remove(field);
    }
    event
}

/// Returns the document that the server creates from the same span over OTLP.
fn span_by_otlp(mut span: Value) -> Value {
    for field in ["otel", "sync", "sample_rate"] {
        span.as_object_mut().unwrap().remove(field);
    }
    let context = &mut span["context"];
    context["destination"]["service"]["name"] = "kafka".into();
    context["destination"]["service"]["type"] = "messaging".into();
    context["service"]["framework"] = json!({ "name": "axum" });
    span
}

/// Returns the document that the server creates from the same transaction over OTLP, which has no fields for the age,
/// the headers and the body of a message.
fn transaction_by_otlp(mut transaction: Value) -> Value {
    transaction["result"] = "Success".into();
    let queue = transaction["context"]["message"]["queue"].clone();
    transaction["context"]["message"] = json!({ "queue": queue });
    let fields = transaction.as_object_mut().unwrap();
    fields.remove("span_count");
    fields.retain(|name, value| name != "sample_rate" || *value != 1.0);
    transaction
}

fn pairs(message: &OwnedMessage) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = message.headers().map(|headers| headers.iter().collect::<Vec<_>>()).unwrap_or_default();
    headers.into_iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let value = pairs(message).into_iter().find(|(key, _)| key == name)?.1?;
    Some(String::from_utf8(value).unwrap())
}

/// Sends a message in one transaction and receives it through Kafka in another transaction.
async fn one_trace(kafka: &Kafka, protocol: Option<OtlpProtocol>) {
    let apm = start(protocol).await;
    let producer = kafka.producer();
    work(&apm, async {
        let tenant = OwnedHeaders::new().insert(Header { key: "tenant", value: Some("acme") });
        producer.send(kafka.record().headers(tenant), DEADLINE).await.unwrap();
    })
    .await;
    let consumer = kafka.consumer();
    let message = timeout(DEADLINE, consumer.recv()).await.unwrap().unwrap();
    let handle = async {
        assert!(Transaction::current().is_active());
        Ok::<_, KafkaError>(message.payload().map(<[u8]>::len))
    };
    let handled = tower_apm::rdkafka::receive(&message).agent(apm.agent()).run(handle).await;
    assert_eq!(handled.unwrap(), Some(4));

    let name = format!("Kafka SEND to {}", kafka.topic);
    let span = apm.expect_span(&name).await.child_of("work");
    let resource = format!("kafka/{}", kafka.topic);
    let mut expected = json!({
        "name": name,
        "type": "messaging",
        "subtype": "kafka",
        "action": "send",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "PRODUCER" },
        "context": {
            "message": { "queue": { "name": kafka.topic } },
            "destination": { "service": { "name": "", "type": "", "resource": resource } },
            "service": { "target": { "type": "kafka", "name": kafka.topic } },
        },
    });
    if protocol.is_some() {
        expected = span_by_otlp(expected);
    }
    assert_eq!(timeless(span.json()), expected, "{protocol:?}");

    let received = apm.expect_transaction(&format!("Kafka RECEIVE from {}", kafka.topic)).await;
    let received = received.field("/trace_id", span.trace_id()).field("/parent_id", span.id());
    let mut sent = timeless(received.json());
    let mut expected = json!({
        "name": format!("Kafka RECEIVE from {}", kafka.topic),
        "type": "messaging",
        "outcome": "success",
        "sampled": true,
        "sample_rate": 1.0,
        "span_count": { "started": 0 },
        "context": {
            "message": {
                "queue": { "name": kafka.topic },
                "headers": {
                    "tenant": "acme",
                    "traceparent": format!("00-{}-{}-01", span.trace_id(), span.id()),
                    "tracestate": "es=s:1",
                },
                "body": "sold",
            },
            "service": { "framework": { "name": "Kafka" } },
        },
    });
    if protocol.is_some() {
        expected = transaction_by_otlp(expected);
    } else {
        let age = sent["context"]["message"].as_object_mut().unwrap().remove("age").unwrap();
        assert!(age["ms"].as_u64().is_some_and(|age| age < 60_000), "{age}");
        // it is valid UTF-8 for some ids
        sent["context"]["message"]["headers"].as_object_mut().unwrap().remove("elasticapmtraceparent");
    }
    assert_eq!(sent, expected, "{protocol:?}");
}

#[tokio::test]
async fn message_is_an_exit_span_and_a_transaction_of_one_trace() {
    for protocol in [None, Some(OtlpProtocol::HttpProtobuf)] {
        one_trace(&Kafka::mock(), protocol).await;
    }
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn message_through_a_real_broker_is_of_one_trace() {
    for protocol in [None, Some(OtlpProtocol::HttpProtobuf)] {
        one_trace(&Kafka::real().await, protocol).await;
    }
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn message_that_a_real_broker_refuses_fails_its_span() {
    let kafka = Kafka { topic: "no-such-topic".to_owned(), ..Kafka::real().await };
    let apm = TestAgent::start().await;
    let producer: FutureProducer = kafka.config().set("message.timeout.ms", "500").create().unwrap();
    let producer = instrument(producer);
    work(&apm, async { producer.send(kafka.record(), DEADLINE).await.unwrap_err() }).await;
    apm.expect_span("Kafka SEND to no-such-topic").await.outcome("failure");
    apm.expect_error("KafkaError").await.child_of("Kafka SEND to no-such-topic");
}

#[tokio::test]
async fn forwarded_message_gets_a_new_trace_and_keeps_its_other_headers() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let producer = kafka.producer();
    let old = |headers: OwnedHeaders, key| headers.insert(Header { key, value: Some("old") });
    let headers = ["traceparent", "tenant", "traceparent", "tracestate", "elasticapmtraceparent"];
    let headers = headers.into_iter().fold(OwnedHeaders::new(), old);
    let headers = headers.insert(Header { key: "binary", value: Some(&[0_u8, 255][..]) });
    let headers = headers.insert(Header::<&str> { key: "none", value: None });
    work(&apm, async { producer.send(kafka.record().headers(headers), DEADLINE).await.unwrap() }).await;
    let span = apm.expect_span("Kafka SEND to sales").await;
    let message = kafka.received(1).await.remove(0);
    let sent = pairs(&message);
    let traceparent = format!("00-{}-{}-01", span.trace_id(), span.id());
    let expected = [
        ("tenant".to_owned(), Some(b"old".to_vec())),
        ("binary".to_owned(), Some(vec![0, 255])),
        ("none".to_owned(), None),
        ("traceparent".to_owned(), Some(traceparent.into_bytes())),
        ("tracestate".to_owned(), Some(b"es=s:1".to_vec())),
    ];
    assert_eq!(sent[..5], expected);
    assert_eq!((sent.len(), &*sent[5].0), (6, "elasticapmtraceparent"));

    tower_apm::rdkafka::receive(&message).agent(apm.agent()).run(async {}).await;
    let received = apm.expect_transaction("Kafka RECEIVE from sales").await;
    received.field("/parent_id", span.id()).no_field("/context/message/headers/binary");
}

#[tokio::test]
async fn queued_message_ends_its_span_with_the_acknowledgement() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let producer = kafka.producer();
    work(&apm, async {
        let delivery = producer.send_result(kafka.record()).map_err(|(error, _)| error).unwrap();
        delivery.await.unwrap().unwrap();
    })
    .await;
    apm.expect_span("Kafka SEND to sales").await.outcome("success").child_of("work");
    let message = kafka.received(1).await.remove(0);
    assert!(header(&message, "traceparent").is_some());
}

#[tokio::test]
async fn delivery_that_is_not_awaited_has_an_unknown_outcome() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let producer = kafka.producer();
    work(&apm, async {
        drop(producer.send_result(kafka.record()).map_err(|(error, _)| error).unwrap());
        let cancelled = producer.send(kafka.record(), DEADLINE).now_or_never();
        assert!(cancelled.is_none());
    })
    .await;
    let outcomes: Vec<_> = apm.events(Kind::Span).iter().map(|span| span["outcome"].clone()).collect();
    assert_eq!(outcomes, ["unknown", "unknown"]);
}

#[tokio::test]
async fn refused_message_fails_its_span_and_is_returned() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let producer: FutureProducer = kafka.config().set("message.max.bytes", "2000").create().unwrap();
    let producer = instrument(producer);
    let large = "x".repeat(3000);
    work(&apm, async {
        let large = || kafka.record().payload(&large);
        let (error, message) = producer.send(large(), DEADLINE).await.unwrap_err();
        assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
        assert_eq!(message.payload().map(<[u8]>::len), Some(3000));
        let (_, record) = producer.send_result(large()).err().unwrap();
        assert_eq!(record.payload, large().payload);
    })
    .await;
    let outcomes: Vec<_> = apm.events(Kind::Span).iter().map(|span| span["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failure", "failure"]);
    apm.expect_error("KafkaError")
        .await
        .child_of("Kafka SEND to sales")
        .field_contains("/exception/message", "MessageSizeTooLarge");
}

#[tokio::test]
async fn batch_is_linked_to_its_senders() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let producer = kafka.producer();
    work(&apm, async {
        for _ in 0..2 {
            producer.send(kafka.record(), DEADLINE).await.unwrap();
        }
    })
    .await;
    let batch = kafka.received(2).await;
    tower_apm::rdkafka::receive_batch(&batch).agent(apm.agent()).run(async {}).await;
    let received = apm.expect_transaction("Kafka RECEIVE from sales").await.no_field("/parent_id");
    let mut senders: Vec<_> = apm.events(Kind::Span).iter().map(|span| span["id"].clone()).collect();
    let mut linked: Vec<_> =
        received.json()["links"].as_array().unwrap().iter().map(|link| link["span_id"].clone()).collect();
    senders.sort_by_key(Value::to_string);
    linked.sort_by_key(Value::to_string);
    assert_eq!(linked, senders);
}

#[tokio::test]
async fn batch_of_several_topics_is_named_without_a_topic() {
    let apm = TestAgent::start().await;
    let message =
        |topic: &str| OwnedMessage::new(None, None, topic.to_owned(), rdkafka::Timestamp::NotAvailable, 0, 0, None);
    let batch = [message("sales"), message("bills")];
    tower_apm::rdkafka::receive_batch(&batch).agent(apm.agent()).run(async {}).await;
    apm.expect_transaction("Kafka RECEIVE").await.no_field("/context/message");
}

#[tokio::test]
async fn ignored_topic_and_unsampled_transaction_carry_the_trace_on() {
    let kafka = Kafka::mock();
    let ignores: fn(AgentBuilder) -> AgentBuilder = |agent| agent.ignore_message_queues(["sales"]);
    let unsampled: fn(AgentBuilder) -> AgentBuilder = |agent| agent.transaction_sample_rate(0.0);
    for (at, (options, flag)) in [(ignores, "01"), (unsampled, "00")].into_iter().enumerate() {
        let apm = configured(options).await;
        let producer = kafka.producer();
        let sell = async {
            producer.send(kafka.record(), DEADLINE).await.unwrap();
            Transaction::current().id().unwrap()
        };
        let sender = apm.agent().start_transaction("sell", "scheduled").run(sell).await;
        let message = kafka.received(at + 1).await.remove(at);
        let traceparent = header(&message, "traceparent").unwrap();
        assert!(traceparent.ends_with(&format!("{sender}-{flag}")), "{traceparent} is not below {sender}");
        apm.flush().await;
        assert!(apm.events(Kind::Span).is_empty());
        let received = tower_apm::rdkafka::receive(&message).agent(apm.agent());
        received.run(async { assert_eq!(Transaction::current().is_active(), flag == "00") }).await;
    }
}

#[tokio::test]
async fn message_outside_of_a_transaction_is_sent_as_it_is() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    kafka.producer().send(kafka.record(), DEADLINE).await.unwrap();
    let message = kafka.received(1).await.remove(0);
    assert!(message.headers().is_none(), "{:?}", pairs(&message));
    apm.expect_nothing().await;
}

#[tokio::test]
async fn header_name_that_is_not_utf_8_stops_neither_consumer_nor_producer() {
    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let name = std::hint::black_box([b'n', 0xff]);
    // SAFETY: only pointer and length reach librdkafka; a producer in another language writes such a name
    let name = unsafe { str::from_utf8_unchecked(&name) };
    let headers = OwnedHeaders::new().insert(Header { key: name, value: Some("v") });
    let headers = headers.insert(Header { key: "traceparent", value: Some("old") });
    let producer = kafka.producer();
    work(&apm, async { producer.send(kafka.record().headers(headers), DEADLINE).await.unwrap() }).await;
    let span = apm.expect_span("Kafka SEND to sales").await;
    let message = kafka.received(1).await.remove(0);
    tower_apm::rdkafka::receive(&message).agent(apm.agent()).run(async {}).await;
    let received = apm.expect_transaction("Kafka RECEIVE from sales").await;
    received.field("/parent_id", span.id()).outcome("success").no_error();
}

#[tokio::test]
async fn wrapper_of_a_producer_with_a_context_is_the_producer_in_all_else() {
    struct Context;
    impl ClientContext for Context {}

    let kafka = Kafka::mock();
    let apm = TestAgent::start().await;
    let producer = FutureProducer::from_config_and_context(&kafka.config(), Context).unwrap();
    let producer: InstrumentedProducer<Context> = instrument(producer);
    let clone = producer.clone();
    let task = work(&apm, async {
        let (one, other) =
            tokio::join!(producer.send(kafka.record(), DEADLINE), clone.send(kafka.record(), Duration::ZERO));
        (one.unwrap(), other.unwrap());
    });
    task.await;
    producer.flush(DEADLINE).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
    assert_eq!(apm.events(Kind::Span).len(), 2);
    assert!(kafka.mock.is_some());
}
