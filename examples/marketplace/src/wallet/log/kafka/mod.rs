//! The change log in Kafka.

mod drop_blocking;
mod epoch;
mod producer;
pub(in crate::wallet) mod topics;

use async_trait::async_trait;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};

use self::epoch::KafkaEpoch;
pub(in crate::wallet) use self::producer::Producer;
pub use self::topics::{PARTITIONS, TopicError};
use super::{AppendError, ChangeLog, EpochWriter, Event, LogError, LogRecord, Position, SCHEMA};
use crate::{config::KafkaConfig, wallet::error::Source};

/// Appends changes to a topic.
pub struct KafkaLog {
    config: KafkaConfig,
    producer: Producer,
}

impl KafkaLog {
    /// Creates the topics unless they exist, and connects a producer.
    pub async fn connect(config: &KafkaConfig) -> Result<Self, TopicError> {
        topics::create(config).await?;
        let producer = Producer::connect(config).map_err(TopicError::Client)?;
        Ok(Self { config: config.clone(), producer })
    }
}

/// Records that are not in the history are not in the topic any more, or the topic is another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} of {topic} has the records from {first} to {end}, but the history continues at {next}: records are lost"
)]
pub struct LostRecords {
    topic: String,
    partition: i32,
    first: i64,
    end: i64,
    next: i64,
}

/// Checks that a partition with the records from `first` to `end` still has all records behind a position.
pub(in crate::wallet) fn check_records(
    topic: &str,
    position: &Position,
    (first, end): (i64, i64),
) -> Result<(), LostRecords> {
    let (partition, next) = (position.partition, position.next_offset);
    // a new topic can be one whose first records were never needed
    if next > end || (next < first && next > 0) {
        return Err(LostRecords { topic: topic.to_owned(), partition, first, end, next });
    }
    Ok(())
}

/// Returns the settings that all clients share.
pub(crate) fn client_config(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "marketplace")
        .set("socket.connection.setup.timeout.ms", "2000")
        .set("reconnect.backoff.max.ms", "1000");
    client
}

/// The headers of a record. A reader uses only the payload.
fn headers(record: &LogRecord) -> OwnedHeaders {
    let kind = match record {
        LogRecord::Change(_) => "change",
        LogRecord::Epoch { .. } => "epoch",
    };
    OwnedHeaders::new()
        .insert(Header { key: "content-type", value: Some("application/json") })
        .insert(Header { key: "schema-version", value: Some(&SCHEMA.to_string()) })
        .insert(Header { key: "record-type", value: Some(kind) })
        .insert(Header { key: "epoch", value: Some(record.epoch().as_str()) })
}

/// Returns the partition of a user (FNV-1a). All changes of a user are in one partition, so their order is kept.
fn partition(user: &str) -> i32 {
    let hash = user.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i32::try_from(hash % PARTITIONS.unsigned_abs()).unwrap_or_default()
}

/// Runs a call that blocks.
pub(in crate::wallet) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, Source> {
    Ok(tokio::task::spawn_blocking(call).await??)
}

#[async_trait]
impl ChangeLog for KafkaLog {
    fn name(&self) -> &str {
        &self.config.topic
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        let record = LogRecord::change(event);
        let payload = record.encode().map_err(|error| AppendError::Failed(error.into()))?;
        let message = FutureRecord::to(&self.config.topic)
            .key(&event.user)
            .partition(partition(&event.user))
            .payload(&payload)
            .headers(headers(&record));
        self.producer.send(message).await.map_err(|error| AppendError::Failed(error.into()))
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        Ok(Box::new(KafkaEpoch::begin(&self.config).await?))
    }
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog").field("topic", &self.config.topic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_spread_over_the_partitions() {
        let mut counts = [0; 3];
        for user in 0..300 {
            counts[usize::try_from(partition(&format!("user-{user}"))).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
        // must never change, because the changes of a user would otherwise be in two partitions
        assert_eq!(["bob", "alice", ""].map(partition), [2, 2, 1]);
    }

    #[test]
    fn records_are_lost_if_the_partition_does_not_continue_the_history() {
        for (next, watermarks, is_lost) in [
            (0, (0, 0), false),
            (0, (7, 9), false), // nothing was ever consumed
            (3, (0, 9), false),
            (7, (7, 9), false),
            (6, (7, 9), true),
            (6, (7, 7), true),
            (7, (7, 7), false),
            (9, (0, 9), false),
            (10, (0, 9), true),
        ] {
            let position = Position { partition: 1, next_offset: next, epoch: None };
            let lost = check_records("changes", &position, watermarks);
            assert_eq!(lost.is_err(), is_lost, "{next} {watermarks:?}");
        }
    }
}
