//! Writes batches of records into the history.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    message::OwnedMessage,
};
use tokio::{sync::watch, time::timeout};
use tower_apm::Transaction;

use super::{Assignment, ConsumerError, ConsumerStatus, DeadLetters, Received, log_retry};
use crate::wallet::{
    booking::{self, Booking, LogMessage as _},
    error::Source,
    history::{Advance, BookError, History},
    log::{
        DecodeError, Event, Position, Verdict,
        kafka::{blocking, check_records},
    },
    maintenance::jitter,
    rebuild::backoff,
};

/// How long a request to Kafka can take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads records in the order of their partitions and books them.
pub(super) struct Reader {
    consumer: Arc<StreamConsumer<Assignment>>,
    topic: String,
    history: History,
    dead_letters: DeadLetters,
    status: ConsumerStatus,
    /// The rebalance to which `positions` belong.
    generation: u64,
    /// The positions that this reader has read from the history or written to it.
    positions: HashMap<i32, Position>,
}

/// The records of one batch.
#[derive(Default)]
struct Batch {
    records: Vec<(OwnedMessage, Verdict)>,
    advances: Vec<Advance>,
}

/// The consumer must stop.
struct Stopped;

impl Reader {
    pub(super) fn new(
        consumer: Arc<StreamConsumer<Assignment>>,
        topic: String,
        history: History,
        dead_letters: DeadLetters,
        status: ConsumerStatus,
    ) -> Self {
        Self { consumer, topic, history, dead_letters, status, generation: 0, positions: HashMap::new() }
    }

    /// Books what was received. Tries again until it succeeds or the consumer is to stop.
    pub(super) async fn process(
        &mut self,
        received: Received,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), ConsumerError> {
        let generation = self.status.generation();
        if generation != self.generation {
            self.generation = generation;
            self.positions.clear();
        }
        let Received { records, ends } = received;
        if let Err(Stopped) = self.process_records(records, stop).await? {
            // the ends are behind records that are not booked
            return Ok(());
        }
        if !ends.is_empty() {
            self.process_ends(ends, stop).await?;
        }
        Ok(())
    }

    async fn process_records(
        &mut self,
        messages: Vec<OwnedMessage>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Result<(), Stopped>, ConsumerError> {
        let repositioned = match self.position(&messages, stop).await? {
            Ok(repositioned) => repositioned,
            Err(Stopped) => return Ok(Err(Stopped)),
        };
        let batch = self.read(messages, &repositioned);
        for (message, verdict) in &batch.records {
            if let Verdict::Poison(error) = verdict
                && let Err(Stopped) = self.send_to_dead_letters(message, error, stop).await
            {
                return Ok(Err(Stopped));
            }
        }
        if batch.advances.is_empty() {
            return Ok(Ok(()));
        }
        self.book(batch, stop).await
    }

    /// Moves positions to the ends of their partitions, behind entries that are not records: those that end transactions.
    ///
    /// Without this, Kafka could delete such an entry behind the position, as if a record were lost.
    async fn process_ends(
        &mut self,
        ends: BTreeSet<i32>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), ConsumerError> {
        // what was received, with these entries; not set after a seek
        let consumed = match self.consumer.position() {
            Ok(consumed) => consumed,
            Err(error) => {
                log_retry(&error.into(), "the end of a partition is not known");
                return Ok(());
            }
        };
        let mut advances = Vec::new();
        for partition in ends {
            let Some(position) = self.positions.get(&partition) else {
                // the first event since a rebalance: the partition is read from where the history ends
                match self.position_in_history(partition, stop).await? {
                    Ok(position) => self.seek(position).await,
                    Err(Stopped) => return Ok(()),
                }
                continue;
            };
            let end = consumed.find_partition(&self.topic, partition).map(|partition| partition.offset());
            if let Some(Offset::Offset(end)) = end
                && end > position.next_offset
            {
                let to = Position { next_offset: end, ..position.clone() };
                advances.push(Advance { from: position.next_offset, to });
            }
        }
        if advances.is_empty() {
            return Ok(());
        }
        // if this is stopped, the next consumer moves the positions
        self.book(Batch { records: Vec::new(), advances }, stop).await.map(|_| ())
    }

    /// Reads the positions of partitions whose first record since a rebalance is in the batch.
    ///
    /// If a partition does not continue at the end of the history, this moves the consumer to that position. Returns
    /// the partitions that were moved. Their records in the batch must not be used.
    async fn position(
        &mut self,
        messages: &[OwnedMessage],
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Result<HashSet<i32>, Stopped>, ConsumerError> {
        let mut repositioned = HashSet::new();
        for message in messages {
            let partition = message.partition();
            if repositioned.contains(&partition) || self.positions.contains_key(&partition) {
                continue;
            }
            let position = match self.position_in_history(partition, stop).await? {
                Ok(position) => position,
                Err(Stopped) => return Ok(Err(Stopped)),
            };
            if position.next_offset == message.offset() {
                self.positions.insert(partition, position);
            } else {
                repositioned.insert(partition);
                self.seek(position).await;
            }
        }
        Ok(Ok(repositioned))
    }

    async fn position_in_history(
        &self,
        partition: i32,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Result<Position, Stopped>, ConsumerError> {
        let mut failures = 0;
        loop {
            let read = async {
                let position = self.history.position(&self.topic, partition).await?;
                let (consumer, topic) = (self.consumer.clone(), self.topic.clone());
                let watermarks = blocking(move || consumer.fetch_watermarks(&topic, partition, TIMEOUT)).await?;
                Ok::<_, Source>((position, watermarks))
            };
            match read.await {
                Ok((position, watermarks)) => {
                    check_records(&self.topic, &position, watermarks)?;
                    self.status.set_failing(false);
                    return Ok(Ok(position));
                }
                Err(error) => {
                    log_retry(&error, "the position of a partition cannot be read");
                    self.status.set_failing(true);
                    failures += 1;
                }
            }
            if wait_or_stop(stop, failures).await {
                return Ok(Err(Stopped));
            }
        }
    }

    /// Moves the consumer to a position of a partition.
    ///
    /// If this fails, the next record of the partition causes another attempt.
    async fn seek(&mut self, position: Position) {
        let (consumer, topic) = (self.consumer.clone(), self.topic.clone());
        let (partition, offset) = (position.partition, Offset::Offset(position.next_offset));
        match blocking(move || consumer.seek(&topic, partition, offset, TIMEOUT)).await {
            Ok(()) => {
                self.positions.insert(partition, position);
            }
            Err(error) => {
                log_retry(&error, "a partition cannot be read again");
                self.positions.remove(&partition);
            }
        }
    }

    /// Decides whether each record counts, in the order of its partition.
    fn read(&self, messages: Vec<OwnedMessage>, repositioned: &HashSet<i32>) -> Batch {
        let mut after = self.positions.clone();
        let mut batch = Batch::default();
        for message in messages {
            let partition = message.partition();
            let position = after.get_mut(&partition).filter(|_| !repositioned.contains(&partition));
            let payload = message.payload().unwrap_or_default();
            if let Some(verdict) = position.and_then(|position| position.read(message.offset(), payload)) {
                batch.records.push((message, verdict));
            }
        }
        batch.advances = after
            .into_values()
            .filter_map(|to| {
                let from = self.positions.get(&to.partition)?.next_offset;
                (to.next_offset != from).then_some(Advance { from, to })
            })
            .collect();
        // so that two consumers lock the rows in the same order
        batch.advances.sort_by_key(|advance| advance.to.partition);
        batch
    }

    /// Copies a record that cannot be read to the dead letters, and records the error.
    async fn send_to_dead_letters(
        &self,
        message: &OwnedMessage,
        error: &DecodeError,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Stopped> {
        let mut failures = 0;
        loop {
            let started = message.receive().start();
            Booking { message, event: None }.describe(&started, 1);
            started.set_label("result", "dead letter");
            let tx = Transaction::clone(&started);
            let sent = started.run(async {
                self.dead_letters.send(message, error).await?;
                tx.error(error).handled(false).capture();
                tx.set_outcome(tower_apm::Outcome::Failure);
                Ok(())
            });
            match sent.await {
                Ok(()) => return Ok(()),
                Err::<(), rdkafka::error::KafkaError>(error) => {
                    tx.discard();
                    self.status.set_failing(true);
                    log_retry(&error.into(), "a dead letter cannot be sent");
                    failures += 1;
                }
            }
            if wait_or_stop(stop, failures).await {
                return Err(Stopped);
            }
        }
    }

    async fn book(
        &mut self,
        batch: Batch,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Result<(), Stopped>, ConsumerError> {
        let mut failures = 0;
        loop {
            match self.book_once(&batch).await {
                Ok(()) => {
                    self.status.set_failing(false);
                    self.commit_hint(&batch.advances);
                    self.positions.extend(batch.advances.into_iter().map(|Advance { to, .. }| (to.partition, to)));
                    return Ok(Ok(()));
                }
                Err(BookError::Moved(_)) => {
                    tracing::info!("another consumer has booked a partition: the batch is dropped");
                    for Advance { to, .. } in batch.advances {
                        match self.position_in_history(to.partition, stop).await? {
                            Ok(position) => self.seek(position).await,
                            Err(Stopped) => return Ok(Err(Stopped)),
                        }
                    }
                    return Ok(Ok(()));
                }
                Err(error) => {
                    self.status.set_failing(true);
                    log_retry(&error.into(), "a batch cannot be booked");
                    failures += 1;
                }
            }
            if wait_or_stop(stop, failures).await {
                return Ok(Err(Stopped));
            }
        }
    }

    async fn book_once(&self, batch: &Batch) -> Result<(), BookError> {
        let events: Vec<Event> = batch.records.iter().filter_map(|(_, verdict)| valid(verdict)).cloned().collect();
        let recorded: Vec<_> = batch.records.iter().filter(|(_, verdict)| change(verdict).is_some()).collect();
        let void = recorded.len() - events.len();
        if void > 0 {
            tracing::info!(changes = void, "changes of other epochs were ignored");
        }
        let bookings: Vec<_> =
            recorded.iter().map(|(message, verdict)| Booking { message, event: change(verdict) }).collect();
        let result = |_: &(), at: usize| if valid(&recorded[at].1).is_some() { "booked" } else { "void" };
        booking::record(&bookings, self.history.book(&self.topic, &batch.advances, events), result).await
    }

    /// Commits the offsets in Kafka. They are used for monitoring and as the start of the next consumer.
    fn commit_hint(&self, advances: &[Advance]) {
        let mut offsets = TopicPartitionList::new();
        for Advance { to, .. } in advances {
            // cannot fail for an offset that is not negative
            let _ = offsets.add_partition_offset(&self.topic, to.partition, Offset::Offset(to.next_offset));
        }
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(error = &error as &dyn std::error::Error, "offsets were not committed");
        }
    }
}

fn valid(verdict: &Verdict) -> Option<&Event> {
    match verdict {
        Verdict::Valid(event) => Some(event),
        _ => None,
    }
}

fn change(verdict: &Verdict) -> Option<&Event> {
    match verdict {
        Verdict::Valid(event) | Verdict::Void(event) => Some(event),
        Verdict::Marker | Verdict::Poison(_) => None,
    }
}

/// Waits before the next attempt. Returns `true` if the consumer must stop.
async fn wait_or_stop(stop: &mut watch::Receiver<bool>, failures: u32) -> bool {
    timeout(backoff(failures, jitter()), stop.wait_for(|stop| *stop)).await.is_ok()
}
