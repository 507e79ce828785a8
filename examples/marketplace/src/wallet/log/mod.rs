//! The change log, which makes a change durable before it is confirmed.

mod direct;
mod epoch;
mod event;
#[cfg(feature = "kafka")]
pub mod kafka;

use async_trait::async_trait;

#[cfg(feature = "kafka")]
pub use self::kafka::KafkaLog;
pub use self::{
    direct::DirectLog,
    epoch::{Epoch, Position, Verdict},
    event::{DecodeError, Event, LogRecord, SCHEMA},
};
use super::error::Source;

/// A log of changes. The history is written from it.
#[async_trait]
pub trait ChangeLog: Send + Sync {
    /// Returns the name of the log, which distinguishes the epochs and positions of different logs.
    fn name(&self) -> &str;

    /// Appends a change. If this succeeds, the change is durable. After an error, the change may be durable.
    async fn append(&self, event: &Event) -> Result<(), AppendError>;

    /// Begins a rebuild. After this, rebuilds that began earlier can no longer write markers.
    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError>;
}

/// Writes the markers of one rebuild and reads the changes before them.
#[async_trait]
pub trait EpochWriter: Send + Sync {
    /// Writes the marker of `epoch` to all partitions or to none.
    async fn write_markers(&mut self, epoch: &Epoch) -> Result<(), LogError>;

    /// Returns the valid changes between `positions` and the markers, in the order of each partition.
    async fn read_unconsumed(&mut self, positions: &[Position]) -> Result<Vec<Unconsumed>, LogError>;
}

/// A valid change, and its partition and offset in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconsumed {
    pub partition: i32,
    pub offset: i64,
    pub event: Event,
}

/// The reason why a change was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another epoch has begun, so the change is ignored.
    #[error("another epoch has begun")]
    Replaced,
    #[error("the change was not appended to the log")]
    Failed(#[source] Source),
}

/// The reason why a step of a rebuild failed in the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("another rebuild has begun")]
    Fenced,
    #[error("{step} failed")]
    Failed { step: &'static str, source: Source },
}

impl LogError {
    pub(super) fn failed(step: &'static str) -> impl Fn(sea_orm::DbErr) -> Self {
        move |error| Self::Failed { step, source: error.into() }
    }
}
