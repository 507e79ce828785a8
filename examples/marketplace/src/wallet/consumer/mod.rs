//! The consumer, which reads the change log in Kafka and writes the history.
//!
//! Each batch is one database transaction, which writes the entries and the positions after the batch. A position is
//! updated only if it has not changed since this consumer read it. Each record is therefore booked once, even while two
//! consumers believe that they own the same partition. The offsets in Kafka are only a hint.

mod assignment;
mod batch;
mod dead_letters;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rdkafka::{
    Message as _,
    consumer::{Consumer as _, StreamConsumer},
    error::KafkaError,
    message::{BorrowedMessage, OwnedMessage},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tower_apm::messaging::Receive;

pub use self::assignment::ConsumerStatus;
use self::{assignment::Assignment, batch::Reader, dead_letters::DeadLetters};
use super::{
    booking::LogMessage,
    error::Source,
    history::History,
    log::kafka::{self, LostRecords, TopicError},
};
use crate::{config::KafkaConfig, health::PartHealth};

/// The consumer group.
const GROUP: &str = "wallet-history";
/// The maximum number of records in one database transaction.
const BATCH: usize = 500;
/// How long a batch waits for further records after its first record.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// The delay after an error of Kafka's client.
const ERROR_DELAY: Duration = Duration::from_millis(200);

/// The reason why the consumer has ended.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    #[error("the consumer cannot connect to Kafka")]
    Client(#[source] KafkaError),
    #[error(transparent)]
    Topics(#[from] TopicError),
    #[error(transparent)]
    Lost(#[from] LostRecords),
}

/// A consumer of the change log.
pub struct HistoryConsumer {
    consumer: Arc<StreamConsumer<Assignment>>,
    reader: Reader,
    status: ConsumerStatus,
}

impl HistoryConsumer {
    /// Creates the topics unless they exist, and joins the consumer group.
    ///
    /// `health` reports whether the consumer is ready.
    pub async fn connect(config: &KafkaConfig, history: History, health: PartHealth) -> Result<Self, ConsumerError> {
        kafka::topics::create(config).await?;
        let status = ConsumerStatus::new(health);
        let consumer: StreamConsumer<Assignment> = kafka::client_config(config)
            .set("group.id", format!("{GROUP}.{}", config.topic))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500")
            .create_with_context(Assignment::new(status.clone()))
            .map_err(ConsumerError::Client)?;
        consumer.subscribe(&[&config.topic]).map_err(ConsumerError::Client)?;
        let consumer = Arc::new(consumer);
        let dead_letters = DeadLetters::connect(config).map_err(ConsumerError::Client)?;
        let reader = Reader::new(consumer.clone(), config.topic.clone(), history, dead_letters, status.clone());
        Ok(Self { consumer, reader, status })
    }

    /// Returns the state of the consumer.
    pub fn status(&self) -> ConsumerStatus {
        self.status.clone()
    }

    /// Writes the history until `stop` is true or its sender is dropped. Then leaves the group.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), ConsumerError> {
        let mut stopping = stop.clone();
        let result = loop {
            let received = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break Ok(()),
                received = receive(&self.consumer) => received,
            };
            match received {
                Ok(received) => {
                    if let Err(error) = self.reader.process(received, &mut stop).await {
                        break Err(error);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the change log cannot be read");
                    sleep(ERROR_DELAY).await;
                }
            }
        };
        self.status.set_partitions(0);
        // leaving the group blocks
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        result
    }
}

/// What the consumer has received.
#[derive(Default)]
struct Received {
    records: Vec<OwnedMessage>,
    /// Partitions without further records.
    ends: BTreeSet<i32>,
}

impl Received {
    fn add(&mut self, next: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), KafkaError> {
        match next {
            Ok(record) => self.records.push(record.detach()),
            Err(KafkaError::PartitionEOF(partition)) => {
                self.ends.insert(partition);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Waits for a record or the end of a partition, and for more of them for a short time.
async fn receive(consumer: &StreamConsumer<Assignment>) -> Result<Received, KafkaError> {
    let mut received = Received::default();
    received.add(consumer.recv().await)?;
    let end = Instant::now() + BATCH_TIME;
    while received.records.len() < BATCH {
        let Ok(next) = timeout_at(end, consumer.recv()).await else { break };
        // an error occurs again, or it is over
        if received.add(next).is_err() {
            break;
        }
    }
    Ok(received)
}

impl LogMessage for OwnedMessage {
    fn place(&self) -> Option<(i32, i64)> {
        Some((self.partition(), self.offset()))
    }

    fn receive(&self) -> Receive<'_> {
        tower_apm::rdkafka::receive(self)
    }

    fn receive_batch(messages: &[&Self]) -> Receive<'static> {
        tower_apm::rdkafka::receive_batch(messages.iter().copied())
    }
}

impl std::fmt::Debug for HistoryConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryConsumer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Logs an error after which the operation is retried.
fn log_retry(error: &Source, message: &'static str) {
    tracing::warn!(error = &**error as &dyn std::error::Error, "{message}");
}
