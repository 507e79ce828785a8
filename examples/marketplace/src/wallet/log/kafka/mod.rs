//! The change log in Kafka.

mod epoch;
pub(in crate::wallet) mod topics;

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use tower_apm::rdkafka::InstrumentedProducer;

use self::epoch::KafkaEpoch;
pub use self::topics::{PARTITIONS, TopicError};
use super::{AppendError, ChangeLog, EpochWriter, Event, LogError, LogRecord, SCHEMA};
use crate::{config::KafkaConfig, wallet::error::Source};

/// How long a record can wait for its acknowledgement.
const MESSAGE_TIMEOUT_MS: &str = "3000";
/// How long a record can wait for space in the producer's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Appends changes to a topic.
pub struct KafkaLog {
    config: KafkaConfig,
    producer: RwLock<InstrumentedProducer>,
}

impl KafkaLog {
    /// Creates the topics unless they exist, and connects a producer.
    pub async fn connect(config: &KafkaConfig) -> Result<Self, TopicError> {
        topics::create(config).await?;
        let producer = RwLock::new(producer(config).map_err(TopicError::Client)?);
        Ok(Self { config: config.clone(), producer })
    }

    fn producer(&self) -> InstrumentedProducer {
        self.producer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces a producer that can no longer send records, for instance because the broker has lost its state.
    fn replace_if_failed(&self, failed: &InstrumentedProducer) {
        if failed.client().fatal_error().is_none() {
            return;
        }
        match producer(&self.config) {
            Ok(new) => {
                let old = std::mem::replace(&mut *self.producer.write().unwrap_or_else(PoisonError::into_inner), new);
                // dropping the last clone blocks
                tokio::task::spawn_blocking(move || drop(old));
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a Kafka producer cannot be created");
            }
        }
    }
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

/// Creates an idempotent producer that waits for the acknowledgement of all in-sync replicas.
pub(in crate::wallet) fn producer(config: &KafkaConfig) -> Result<InstrumentedProducer, KafkaError> {
    let producer: FutureProducer = client_config(config)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("linger.ms", "1")
        .create()?;
    Ok(tower_apm::rdkafka::instrument(producer))
}

/// Returns the headers of a record. Readers use only the payload.
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
        let producer = self.producer();
        let message = FutureRecord::to(&self.config.topic)
            .key(&event.user)
            .partition(partition(&event.user))
            .payload(&payload)
            .headers(headers(&record));
        match producer.send(message, QUEUE_TIMEOUT).await {
            Ok(_) => Ok(()),
            Err((error, _)) => {
                self.replace_if_failed(&producer);
                Err(AppendError::Failed(error.into()))
            }
        }
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
}
