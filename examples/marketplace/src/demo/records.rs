//! Reads and writes records of Kafka.

use std::time::{Duration, Instant};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::OwnedMessage,
    producer::{FutureProducer, FutureRecord},
};

use super::DemoError;
use crate::{config::KafkaConfig, wallet::log::kafka::client_config};

/// The number of records that are searched in each partition.
const SEARCHED: i64 = 1000;
/// How long a record can wait for its acknowledgement.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Searches the last records of a topic, and the records that follow until the time is over.
pub(super) async fn find(
    kafka: &KafkaConfig,
    topic: &str,
    partitions: i32,
    time: Duration,
    is_wanted: impl Fn(&[u8]) -> bool + Send + 'static,
) -> Result<Option<OwnedMessage>, DemoError> {
    let (kafka, topic) = (kafka.clone(), topic.to_owned());
    let search = move || {
        let consumer: BaseConsumer = client_config(&kafka)
            // needed to assign partitions; nothing is committed
            .set("group.id", format!("{topic}.demo"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(&topic, partition, Offset::OffsetTail(SEARCHED))?;
        }
        consumer.assign(&assignment)?;
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(message) = consumer.poll(POLL) {
                let message = message?;
                if is_wanted(message.payload().unwrap_or_default()) {
                    return Ok(Some(message.detach()));
                }
            }
        }
        Ok(None)
    };
    blocking(search).await
}

/// Sends a copy of a record to the partition of the record.
pub(super) async fn send_again(kafka: &KafkaConfig, record: &OwnedMessage) -> Result<(), DemoError> {
    let mut copy = FutureRecord::<[u8], [u8]>::to(record.topic()).partition(record.partition());
    copy.key = record.key();
    copy.payload = record.payload();
    copy.headers = record.headers().cloned();
    deliver(kafka, copy).await.map(|_| ())
}

/// Sends a record to partition 0. Returns its offset.
pub(super) async fn send(kafka: &KafkaConfig, payload: &str) -> Result<i64, DemoError> {
    deliver(kafka, FutureRecord::<[u8], _>::to(&kafka.topic).partition(0).payload(payload.as_bytes())).await
}

async fn deliver(kafka: &KafkaConfig, record: FutureRecord<'_, [u8], [u8]>) -> Result<i64, DemoError> {
    let producer: FutureProducer = client_config(kafka).create().map_err(DemoError::Kafka)?;
    let sent = producer.send(record, SEND_TIMEOUT).await;
    blocking(move || {
        drop(producer);
        Ok(())
    })
    .await?;
    sent.map(|delivery| delivery.offset).map_err(|(error, _)| DemoError::Kafka(error))
}

/// Runs a call that blocks.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, DemoError> {
    let done = tokio::task::spawn_blocking(call).await;
    // fails only if the runtime stops or the call panics
    done.unwrap_or(Err(KafkaError::Canceled)).map_err(DemoError::Kafka)
}
