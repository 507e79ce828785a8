//! Writes the markers of a new epoch, and reads the records before them.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord, Producer as _},
};

use super::{PARTITIONS, blocking, check_records, client_config, drop_blocking::DropBlocking, headers};
use crate::{
    config::KafkaConfig,
    wallet::{
        error::Source,
        log::{Epoch, EpochWriter, LogError, LogRecord, Position, Unconsumed, Verdict},
    },
};

/// How long a request to Kafka can take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long reading can go without progress.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// The transactional producer of a rebuild. A later producer with the same id fences this one.
pub(super) struct KafkaEpoch {
    config: KafkaConfig,
    producer: DropBlocking<FutureProducer>,
    /// The offset of the own marker in each partition.
    markers: HashMap<i32, i64>,
}

impl KafkaEpoch {
    pub(super) async fn begin(config: &KafkaConfig) -> Result<Self, LogError> {
        let producer: FutureProducer = client_config(config)
            .set("transactional.id", format!("{}.epoch", config.topic))
            .set("transaction.timeout.ms", "10000")
            .set("message.timeout.ms", "5000")
            .create()
            .map_err(|error| failed("connecting to Kafka")(error.into()))?;
        let (client, producer) = (producer.clone(), DropBlocking::new(producer));
        blocking(move || client.init_transactions(TIMEOUT)).await.map_err(failed("beginning an epoch"))?;
        Ok(Self { config: config.clone(), producer, markers: HashMap::new() })
    }

    async fn send_markers(&self, epoch: &Epoch) -> Result<HashMap<i32, i64>, Source> {
        let record = LogRecord::Epoch { epoch: epoch.clone() };
        let payload = record.encode()?;
        let producer = self.producer.get()?;
        producer.begin_transaction()?;
        let mut markers = HashMap::new();
        for partition in 0..PARTITIONS {
            let marker = FutureRecord::<(), _>::to(&self.config.topic)
                .partition(partition)
                .payload(&payload)
                .headers(headers(&record));
            let delivery = producer.send(marker, TIMEOUT).await.map_err(|(error, _)| error)?;
            markers.insert(partition, delivery.offset);
        }
        let client = producer.clone();
        blocking(move || client.commit_transaction(TIMEOUT)).await?;
        Ok(markers)
    }
}

fn failed(step: &'static str) -> impl Fn(Source) -> LogError {
    move |source| match source.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code) {
        // the queued records of a fenced producer are purged
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::PurgeQueue,
        ) => LogError::Fenced,
        _ => LogError::Failed { step, source },
    }
}

#[async_trait]
impl EpochWriter for KafkaEpoch {
    async fn write_markers(&mut self, epoch: &Epoch) -> Result<(), LogError> {
        self.markers = self.send_markers(epoch).await.map_err(failed("writing the markers"))?;
        Ok(())
    }

    async fn read_unconsumed(&mut self, positions: &[Position]) -> Result<Vec<Unconsumed>, LogError> {
        let (config, markers, positions) = (self.config.clone(), self.markers.clone(), positions.to_vec());
        let read = tokio::task::spawn_blocking(move || read(&config, &markers, &positions)).await;
        read.map_err(Source::from).and_then(|read| read).map_err(failed("reading the log"))
    }
}

/// Reads the valid changes from `positions` to the markers. Blocks.
fn read(config: &KafkaConfig, markers: &HashMap<i32, i64>, positions: &[Position]) -> Result<Vec<Unconsumed>, Source> {
    let consumer: BaseConsumer = client_config(config)
        // required to assign partitions, although nothing is committed
        .set("group.id", format!("{}.rebuild", config.topic))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        // records that are deleted meanwhile are not skipped
        .set("auto.offset.reset", "error")
        .create()?;
    let mut positions: HashMap<i32, Position> = positions.iter().map(|p| (p.partition, p.clone())).collect();
    let mut open = HashSet::new();
    let mut assignment = TopicPartitionList::new();
    for (&partition, &marker) in markers {
        let position = positions.entry(partition).or_insert_with(|| Position::start(partition));
        let (first, end) = consumer.fetch_watermarks(&config.topic, partition, TIMEOUT)?;
        check_records(&config.topic, position, (first, end))?;
        if position.next_offset <= marker {
            open.insert(partition);
            let begin = Offset::Offset(position.next_offset.max(first));
            assignment.add_partition_offset(&config.topic, partition, begin)?;
        }
    }
    consumer.assign(&assignment)?;
    let mut unconsumed = Vec::new();
    let mut progress = Instant::now();
    while !open.is_empty() {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if progress.elapsed() > READ_TIMEOUT {
                return Err("the log does not answer".into());
            }
            continue;
        };
        let message = message?;
        let (partition, offset) = (message.partition(), message.offset());
        progress = Instant::now();
        let marker = markers.get(&partition).copied().unwrap_or_default();
        if offset >= marker {
            open.remove(&partition);
        }
        let position = positions.get_mut(&partition).filter(|_| offset <= marker);
        let verdict = position.and_then(|position| position.read(offset, message.payload().unwrap_or_default()));
        if let Some(Verdict::Valid(event)) = verdict {
            unconsumed.push(Unconsumed { partition, offset, event });
        }
    }
    Ok(unconsumed)
}
