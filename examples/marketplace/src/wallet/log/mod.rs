//! The change log: what makes a change durable before it is confirmed.

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
    /// The name of the log. Epochs and positions of different logs are never mixed up.
    fn name(&self) -> &str;

    /// Appends a change. When this returns, the change is durable. After an error it can be durable.
    async fn append(&self, event: &Event) -> Result<(), AppendError>;

    /// Begins a rebuild. Any rebuild that began earlier can no longer write a marker.
    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError>;
}

/// The log's part of one rebuild.
#[async_trait]
pub trait EpochWriter: Send + Sync {
    /// Writes the marker of `epoch` to each partition: to all of them or to none.
    async fn write_markers(&mut self, epoch: &Epoch) -> Result<(), LogError>;

    /// Returns the changes that count between `positions` and the markers, in the order of each partition.
    async fn read_unconsumed(&mut self, positions: &[Position]) -> Result<Vec<Unconsumed>, LogError>;
}

/// A change that counts, and its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconsumed {
    pub partition: i32,
    pub offset: i64,
    pub event: Event,
}

/// Why a change was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another epoch has begun, so the change does not count.
    #[error("another epoch has begun")]
    Replaced,
    #[error("the change was not appended to the log")]
    Failed(#[source] Source),
}

/// Why the log cannot take part in a rebuild.
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
