//! A log in memory with the properties of the Kafka log: partitions, markers, fencing, and a consumer that lags behind.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use marketplace::wallet::{
    history::{Advance, History},
    log::{AppendError, ChangeLog, Epoch, EpochWriter, Event, LogError, LogRecord, Position, Unconsumed, Verdict},
};

const NAME: &str = "memory";
const PARTITIONS: i32 = 2;

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLog {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    partitions: Vec<Vec<Vec<u8>>>,
    generation: u64,
}

impl Default for Shared {
    fn default() -> Self {
        Self { partitions: vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()], generation: 0 }
    }
}

fn partition(user: &str) -> usize {
    user.len() % usize::try_from(PARTITIONS).unwrap()
}

impl MemoryLog {
    /// Appends a record that cannot be read.
    pub(crate) fn append_poison(&self) {
        self.shared.lock().unwrap().partitions[0].push(b"poison".to_vec());
    }

    /// Books at most `count` records of each partition, as the consumer does.
    pub(crate) async fn consume(&self, history: &History, count: usize) {
        for partition in 0..PARTITIONS {
            let from = history.position(NAME, partition).await.unwrap();
            let records = self.shared.lock().unwrap().partitions[usize::try_from(partition).unwrap()].clone();
            let mut to = from.clone();
            let start = usize::try_from(from.next_offset).unwrap();
            let mut events = Vec::new();
            for (offset, payload) in records.iter().enumerate().skip(start).take(count) {
                if let Some(Verdict::Valid(event)) = to.read(i64::try_from(offset).unwrap(), payload) {
                    events.push(event);
                }
            }
            if to.next_offset > from.next_offset {
                history.book(NAME, &[Advance { from: from.next_offset, to }], events).await.unwrap();
            }
        }
    }
}

#[async_trait]
impl ChangeLog for MemoryLog {
    fn name(&self) -> &str {
        NAME
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        let payload = LogRecord::change(event).encode().unwrap();
        self.shared.lock().unwrap().partitions[partition(&event.user)].push(payload);
        Ok(())
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        let mut shared = self.shared.lock().unwrap();
        shared.generation += 1;
        Ok(Box::new(Writer { log: self.clone(), generation: shared.generation, markers: Vec::new() }))
    }
}

struct Writer {
    log: MemoryLog,
    generation: u64,
    markers: Vec<usize>,
}

#[async_trait]
impl EpochWriter for Writer {
    async fn write_markers(&mut self, epoch: &Epoch) -> Result<(), LogError> {
        let mut shared = self.log.shared.lock().unwrap();
        if shared.generation != self.generation {
            return Err(LogError::Fenced);
        }
        let marker = LogRecord::Epoch { epoch: epoch.clone() }.encode().unwrap();
        self.markers = shared.partitions.iter().map(Vec::len).collect();
        shared.partitions.iter_mut().for_each(|partition| partition.push(marker.clone()));
        Ok(())
    }

    async fn read_unconsumed(&mut self, positions: &[Position]) -> Result<Vec<Unconsumed>, LogError> {
        let shared = self.log.shared.lock().unwrap();
        let mut unconsumed = Vec::new();
        for partition in 0..PARTITIONS {
            let at = usize::try_from(partition).unwrap();
            let known = positions.iter().find(|position| position.partition == partition);
            let mut position = known.cloned().unwrap_or_else(|| Position::start(partition));
            let start = usize::try_from(position.next_offset).unwrap();
            for (offset, payload) in shared.partitions[at].iter().enumerate().take(self.markers[at]).skip(start) {
                let offset = i64::try_from(offset).unwrap();
                if let Some(Verdict::Valid(event)) = position.read(offset, payload) {
                    unconsumed.push(Unconsumed { partition, offset, event });
                }
            }
        }
        Ok(unconsumed)
    }
}
