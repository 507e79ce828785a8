//! Tests of the Kafka consumer, and test environments with real servers.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use marketplace::{
    config::KafkaConfig,
    health::Health,
    wallet::{
        Accepted, Wallet,
        consumer::{ConsumerStatus, HistoryConsumer},
        history::History,
        log::{KafkaLog, LogRecord, SCHEMA},
    },
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _, StreamConsumer},
    message::Headers as _,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    database,
    proxy::Proxy,
    world::{Store, TIMEOUT, World, amount, change, change_until_decided, sum},
};

/// The topic of one test, and its consumer.
pub(crate) struct Kafka {
    pub(crate) config: KafkaConfig,
    /// The running consumer of the test environment.
    pub(crate) consumer: Option<Running>,
}

/// A consumer that runs until it is dropped or stopped.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    health: Health,
    status: ConsumerStatus,
    task: JoinHandle<Result<(), marketplace::wallet::consumer::ConsumerError>>,
}

impl Running {
    pub(crate) async fn start(config: &KafkaConfig, history: &History) -> Self {
        let (stop, stopped) = watch::channel(false);
        let health = Health::default();
        let consumer = HistoryConsumer::connect(config, history.clone(), health.part("consumer")).await.unwrap();
        let status = consumer.status();
        Self { stop, health, status, task: tokio::spawn(consumer.run(stopped)) }
    }

    /// Leaves the group.
    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(TIMEOUT, self.task).await.unwrap().unwrap().unwrap();
    }

    async fn wait_until_assigned(&self, partitions: usize) {
        wait_for(|| async { self.status.partitions() == partitions }, "the partitions are assigned").await;
    }
}

pub(crate) async fn wait_for<F: Future<Output = bool>>(condition: impl Fn() -> F, what: &str) {
    let end = Instant::now() + TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < end, "timed out: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn kafka_config() -> KafkaConfig {
    let topic = format!("test-{}", uuid::Uuid::new_v4().simple());
    KafkaConfig { brokers: database::variable("KAFKA_BROKERS"), topic }
}

/// Returns a test environment with Redis, Kafka, a database on the server of the variable `database`, and a consumer.
pub(crate) async fn world(database: &str) -> World {
    let mut world = world_without_consumer(&database::create(database).await).await;
    let kafka = world.kafka.as_mut().unwrap();
    kafka.consumer = Some(Running::start(&kafka.config, &world.history).await);
    world
}

async fn world_without_consumer(database: &str) -> World {
    let config = kafka_config();
    let history = History::new(database::open(database).await);
    let log = KafkaLog::connect(&config).await.unwrap();
    let world = World::new(Store::redis(), Arc::new(log), history).await;
    World { kafka: Some(Kafka { config, consumer: None }), ..world }
}

impl World {
    fn kafka(&self) -> &KafkaConfig {
        &self.kafka.as_ref().unwrap().config
    }

    async fn start_consumer(&self) -> Running {
        Running::start(self.kafka(), &self.history).await
    }
}

/// Sends records without encoding them.
pub(crate) async fn send(config: &KafkaConfig, partition: i32, payloads: &[Vec<u8>]) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
    for payload in payloads {
        let record = FutureRecord::<str, _>::to(&config.topic).partition(partition).payload(payload);
        producer.send(record, TIMEOUT).await.unwrap();
    }
}

/// Returns the partition of a user, which is found by a record of the user in the log.
async fn partition_of(world: &World, user: &str) -> i32 {
    for record in records(world.kafka(), &world.kafka().topic, 3).await {
        if record.key() == Some(user.as_bytes()) {
            return record.partition();
        }
    }
    panic!("{user} has no record");
}

/// Returns all records of a topic.
async fn records(config: &KafkaConfig, topic: &str, partitions: i32) -> Vec<rdkafka::message::OwnedMessage> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .set("group.id", format!("{topic}.test"))
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut records, mut open) = (Vec::new(), partitions);
    while open > 0 {
        match timeout(TIMEOUT, consumer.recv()).await.unwrap() {
            Ok(message) => records.push(message.detach()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    records
}

fn admin(config: &KafkaConfig) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap()
}

/// Deletes all records, as the retention of the topic does later.
async fn delete_records(config: &KafkaConfig) {
    let mut offsets = TopicPartitionList::new();
    for partition in 0..3 {
        offsets.add_partition_offset(&config.topic, partition, Offset::End).unwrap();
    }
    let deleted = admin(config).delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    deleted.elements().iter().for_each(|partition| partition.error().unwrap());
}

/// Waits until the history continues at the end of each partition.
async fn wait_until_at_the_end(world: &World) {
    let config = world.kafka().clone();
    let ends = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &config.brokers).set("group.id", "ends").create().unwrap();
        [0, 1, 2].map(|partition| consumer.fetch_watermarks(&config.topic, partition, TIMEOUT).unwrap().1)
    });
    let ends = ends.await.unwrap();
    for (partition, end) in (0..).zip(ends) {
        let position = || world.history.position(&world.kafka().topic, partition);
        wait_for(|| async { position().await.unwrap().next_offset == end }, "the position is at the end").await;
    }
}

fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

async fn make(wallet: &Wallet, prefix: &str, count: usize) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    for n in 0..count {
        let user = ["bob", "alice", "eve1", "carol"][n % 4];
        accepted.push(change_until_decided(wallet, change(user, &format!("{prefix}-{n}"), "1")).await.unwrap());
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn largest_poison_message_is_a_dead_letter() {
    let world = world("POSTGRES_URL").await;
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    // the limit of a producer, without headers
    let poison = vec![b'x'; 999_900];
    send(world.kafka(), partition_of(&world, "bob").await, std::slice::from_ref(&poison)).await;
    accepted.push(wallet.change(change("bob", "out", "-1")).await.unwrap());
    world.check(&wallet, &accepted).await;
    let dead = records(world.kafka(), &format!("{}.dead", world.kafka().topic), 1).await;
    assert_eq!(dead.len(), 1);
    let payload = dead[0].payload().unwrap();
    assert!(!payload.is_empty() && poison.starts_with(payload), "{} bytes", payload.len());
    let truncated = dead[0].headers().unwrap().iter().find(|header| header.key == "truncated-from").unwrap();
    assert_eq!(truncated.value, Some(b"999900".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn consumer_is_not_healthy_while_a_dead_letter_cannot_be_sent() {
    let world = world("POSTGRES_URL").await;
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    world.check(&wallet, &accepted).await;
    let consumer = &world.kafka.as_ref().unwrap().consumer.as_ref().unwrap();
    set_dead_letter_limit(world.kafka(), "100").await;
    send(world.kafka(), partition_of(&world, "bob").await, &[vec![b'x'; 500]]).await;
    let unhealthy = ["consumer: records cannot be booked"];
    wait_for(|| async { consumer.health.problems().await == unhealthy }, "the consumer is not healthy").await;
    set_dead_letter_limit(world.kafka(), "1000000").await;
    wait_for(|| async { consumer.health.problems().await.is_empty() }, "the consumer is healthy").await;
    accepted.push(wallet.change(change("bob", "out", "-1")).await.unwrap());
    world.check(&wallet, &accepted).await;
}

/// Sets how many bytes a batch of dead letters can have.
async fn set_dead_letter_limit(config: &KafkaConfig, bytes: &str) {
    let topic = format!("{}.dead", config.topic);
    let limit = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", bytes);
    let altered = admin(config).alter_configs(&[limit], &AdminOptions::new()).await.unwrap();
    altered.into_iter().for_each(|topic| drop(topic.unwrap()));
}

async fn duplicates_are_booked_once(server: &str) {
    let world = world(server).await;
    let wallet = world.open().await;
    let accepted = wallet.change(change("bob", "in", "10")).await.unwrap();
    let partition = partition_of(&world, "bob").await;
    let record = records(world.kafka(), &world.kafka().topic, 3).await.into_iter().find(|r| r.key().is_some()).unwrap();
    let copy = record.payload().unwrap().to_vec();
    send(world.kafka(), partition, &[copy.clone(), copy]).await;
    let accepted = [accepted, wallet.change(change("bob", "out", "-1")).await.unwrap()];
    world.check(&wallet, &accepted).await;
    assert_eq!(world.entries("bob").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn duplicates_are_booked_once_on_postgres() {
    duplicates_are_booked_once("POSTGRES_URL").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and MARIADB_URL"]
async fn duplicates_are_booked_once_on_mariadb() {
    duplicates_are_booked_once("MARIADB_URL").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn unreadable_records_become_dead_letters_and_later_records_are_booked() {
    let world = world("POSTGRES_URL").await;
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    let partition = partition_of(&world, "bob").await;
    let poison = [
        "not JSON".to_owned(),
        json!({ "schema": SCHEMA + 1 }).to_string(),
        json!({ "schema": SCHEMA, "type": "change", "epoch": "e", "user": "bob" }).to_string(),
        json!({ "schema": SCHEMA, "type": "change", "epoch": "e", "user": "bob", "key": "k", "amount": "0", "reason": "r", "at_ms": 0 })
            .to_string(),
    ];
    send(world.kafka(), partition, &poison.each_ref().map(|text| text.clone().into_bytes())).await;
    accepted.push(wallet.change(change("bob", "out", "-1")).await.unwrap());
    world.check(&wallet, &accepted).await;

    let dead = records(world.kafka(), &format!("{}.dead", world.kafka().topic), 1).await;
    let header = |record: &rdkafka::message::OwnedMessage, name: &str| {
        let headers = record.headers().unwrap();
        let value = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        String::from_utf8(value.unwrap().to_vec()).unwrap()
    };
    let expected = ["not JSON", "schema version 2", "missing field `key`", "amount must not be zero"];
    assert_eq!(dead.len(), expected.len());
    for (record, (payload, error)) in dead.iter().zip(poison.iter().zip(expected)) {
        assert_eq!(record.payload().unwrap(), payload.as_bytes());
        assert!(header(record, "error").contains(error), "{}", header(record, "error"));
        assert_eq!(
            (header(record, "topic"), header(record, "partition")),
            (world.kafka().topic.clone(), partition.to_string())
        );
    }
    assert!(header(&dead[1], "offset") > header(&dead[0], "offset"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn consumers_share_the_partitions_and_book_each_change_once() {
    let world = Arc::new(world_without_consumer(&database::create("POSTGRES_URL").await).await);
    let wallet = world.open().await;
    let first = world.start_consumer().await;
    first.wait_until_assigned(3).await;
    let load = {
        let wallet = wallet.clone();
        tokio::spawn(async move {
            join_all((0..4).map(|n| {
                let wallet = wallet.clone();
                async move { make(&wallet, &format!("load-{n}"), 90).await }
            }))
            .await
            .concat()
        })
    };
    // consumers join and leave under load, so that partitions are reassigned
    for _ in 0..3 {
        let second = world.start_consumer().await;
        wait_for(|| async { second.status.partitions() > 0 && first.status.partitions() > 0 }, "both are assigned")
            .await;
        sleep(Duration::from_millis(100)).await;
        second.stop().await;
        first.wait_until_assigned(3).await;
    }
    // one consumer is killed
    let killed = world.start_consumer().await;
    wait_for(|| async { killed.status.partitions() > 0 }, "assigned").await;
    killed.task.abort();
    let accepted = load.await.unwrap();
    assert_eq!(accepted.len(), 360);
    world.check(&wallet, &accepted).await;
    first.stop().await;
    assert_eq!(sum(&world.entries("bob").await), amount("92"));
}

/// The two consumers are in different groups, so each of them believes that it owns all partitions.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and MARIADB_URL"]
async fn consumer_that_has_lost_its_partition_writes_nothing() {
    let world = world("MARIADB_URL").await;
    let wallet = world.open().await;
    let mut accepted = make(&wallet, "before", 8).await;
    world.check(&wallet, &accepted).await;
    // the position is out of date, as if another consumer had written the partition
    let topic = world.kafka().topic.clone();
    let position = world.history.position(&topic, partition_of(&world, "bob").await).await.unwrap();
    let change_by_other = change_until_decided(&wallet, change("bob", "other", "1")).await.unwrap();
    world.check(&wallet, std::slice::from_ref(&change_by_other)).await;
    let stale = marketplace::wallet::history::Advance {
        from: position.next_offset,
        to: marketplace::wallet::log::Position { next_offset: position.next_offset + 1, ..position.clone() },
    };
    let error = world.history.book(&topic, &[stale], Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("another consumer"), "{error}");
    accepted.push(change_by_other);
    accepted.extend(make(&wallet, "after", 8).await);
    world.check(&wallet, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn database_outage_during_consumption_loses_nothing() {
    let url = database::create("POSTGRES_URL").await;
    let world = world_without_consumer(&url).await;
    let (proxy, through) = Proxy::of_url(&url).await;
    let consumer = Running::start(world.kafka(), &History::new(database::open(&through).await)).await;
    let wallet = world.open().await;
    let mut accepted = make(&wallet, "before", 8).await;
    world.check(&wallet, &accepted).await;
    assert!(consumer.health.problems().await.is_empty());
    proxy.cut();
    accepted.extend(make(&wallet, "outage", 8).await);
    wait_for(|| async { !consumer.health.problems().await.is_empty() }, "the consumer is not healthy").await;
    assert_eq!(consumer.health.problems().await, ["consumer: records cannot be booked"]);
    proxy.restore().await;
    accepted.extend(make(&wallet, "after", 8).await);
    world.check(&wallet, &accepted).await;
    assert!(consumer.health.problems().await.is_empty());
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn idle_consumer_is_healthy_again_when_the_database_returns() {
    let url = database::create("POSTGRES_URL").await;
    let world = world_without_consumer(&url).await;
    let wallet = world.open().await;
    let consumer = world.start_consumer().await;
    let accepted = make(&wallet, "before", 8).await;
    world.check(&wallet, &accepted).await;
    wait_until_at_the_end(&world).await;
    consumer.stop().await;
    let (proxy, through) = Proxy::of_url(&url).await;
    let history = History::new(database::open(&through).await);
    proxy.cut();
    let consumer = Running::start(world.kafka(), &history).await;
    let unhealthy = ["consumer: records cannot be booked"];
    wait_for(|| async { consumer.health.problems().await == unhealthy }, "the consumer is not healthy").await;
    proxy.restore().await;
    wait_for(|| async { consumer.health.problems().await.is_empty() }, "the consumer is healthy").await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn late_consumer_gets_all_changes_and_void_ones_do_not_count() {
    let world = world_without_consumer(&database::create("POSTGRES_URL").await).await;
    let wallet = world.open().await;
    let mut accepted = make(&wallet, "first", 8).await;
    let old = records(world.kafka(), &world.kafka().topic, 3).await;
    world.lose_balances().await;
    accepted.extend(make(&wallet, "second", 8).await);
    // a change of the first epoch after the marker of the second epoch
    let record = old.iter().find(|record| record.key().is_some()).unwrap();
    let LogRecord::Change(mut event) = LogRecord::decode(record.payload().unwrap()).unwrap() else { panic!() };
    event.key = "void".to_owned();
    send(world.kafka(), record.partition(), &[LogRecord::change(&event).encode().unwrap()]).await;
    world.lose_balances().await;
    accepted.extend(make(&wallet, "third", 8).await);
    let consumer = world.start_consumer().await;
    world.check(&wallet, &accepted).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn topic_that_has_lost_its_records_stops_the_consumer_and_the_rebuild() {
    let world = world_without_consumer(&database::create("POSTGRES_URL").await).await;
    let wallet = world.open().await;
    let accepted = make(&wallet, "before", 8).await;
    let consumer = world.start_consumer().await;
    world.check(&wallet, &accepted).await;
    consumer.stop().await;
    drop(wallet);
    // an empty topic for which the history contains positions after the end
    let other = kafka_config();
    let log = KafkaLog::connect(&other).await.unwrap();
    drop(log);
    for partition in 0..3 {
        let position = world.history.position(&world.kafka().topic, partition).await.unwrap();
        let moved = marketplace::wallet::log::Position { next_offset: 1000, ..position.clone() };
        let advance = marketplace::wallet::history::Advance {
            from: 0,
            to: marketplace::wallet::log::Position { next_offset: 1000, ..moved },
        };
        world.history.book(&other.topic, &[advance], Vec::new()).await.unwrap();
    }
    world.lose_balances().await;
    let parts =
        marketplace::wallet::WalletParts { log: Arc::new(KafkaLog::connect(&other).await.unwrap()), ..world.parts() };
    let error = Wallet::open(parts).await.unwrap_err();
    let causes = causes(&error);
    assert!(causes.iter().any(|cause| cause.contains("records are lost")), "{causes:?}");
    let consumer = Running::start(&other, &world.history).await;
    let ended = timeout(TIMEOUT, consumer.task).await.unwrap().unwrap().unwrap_err();
    assert!(ended.to_string().contains("records are lost"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn topic_whose_records_were_all_deleted_goes_on_if_they_are_in_the_history() {
    let world = world_without_consumer(&database::create("POSTGRES_URL").await).await;
    let wallet = world.open().await;
    let consumer = world.start_consumer().await;
    // behind the end of the markers' transaction, which is not a record
    wait_until_at_the_end(&world).await;
    consumer.stop().await;
    delete_records(world.kafka()).await;
    let consumer = world.start_consumer().await;
    let mut accepted = make(&wallet, "first", 8).await;
    world.check(&wallet, &accepted).await;
    // the same for the rebuild
    world.lose_balances().await;
    accepted.extend(make(&wallet, "second", 8).await);
    world.check(&wallet, &accepted).await;
    wait_until_at_the_end(&world).await;
    delete_records(world.kafka()).await;
    world.lose_balances().await;
    accepted.extend(make(&wallet, "third", 8).await);
    world.check(&wallet, &accepted).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn records_that_were_deleted_before_they_were_consumed_stop_the_rebuild_and_the_consumer() {
    let world = world_without_consumer(&database::create("POSTGRES_URL").await).await;
    let wallet = world.open().await;
    let consumer = world.start_consumer().await;
    let accepted = make(&wallet, "before", 8).await;
    world.check(&wallet, &accepted).await;
    consumer.stop().await;
    make(&wallet, "lost", 8).await;
    drop(wallet);
    delete_records(world.kafka()).await;
    world.lose_balances().await;
    let error = Wallet::open(world.parts()).await.unwrap_err();
    assert!(causes(&error).iter().any(|cause| cause.contains("records are lost")), "{error:?}");
    let consumer = world.start_consumer().await;
    let ended = timeout(TIMEOUT, consumer.task).await.unwrap().unwrap().unwrap_err();
    assert!(ended.to_string().contains("records are lost"), "{ended}");
}
