//! What the worker asks of the part that measures.

use std::time::{Duration, Instant};

use super::{
    Queue,
    health::{Health, Watch},
};
use crate::record::{MetricsRecord, TransactionRecord};

/// Sees every transaction on its way to the exporter, and tells of all of them from time to time.
pub(crate) trait MetricSource: Send + 'static {
    fn observe(&mut self, transaction: &TransactionRecord);

    /// What was measured since the last call; `health` is what the worker saw of itself. Its own failure is no samples.
    /// Called on the worker's thread.
    fn collect(&mut self, health: &Health) -> Vec<MetricsRecord>;
}

/// A source, and when it is asked.
pub(crate) struct Measuring {
    pub(super) source: Box<dyn MetricSource>,
    pub(super) watch: Watch,
    interval: Duration,
    pub(super) next: Instant,
    /// Asked for the last time, at the worker's end.
    pub(super) closed: bool,
}

impl Measuring {
    pub(crate) fn new(source: impl MetricSource, interval: Duration) -> Self {
        Self {
            source: Box::new(source),
            watch: Watch::default(),
            interval,
            next: Instant::now() + interval,
            closed: false,
        }
    }

    /// The metrics of the interval that is over.
    pub(super) fn due(&mut self, now: Instant, queue: &Queue) -> Vec<MetricsRecord> {
        if self.closed || now < self.next {
            return Vec::new();
        }
        self.next = now + self.interval;
        self.source.collect(&self.watch.take(queue))
    }

    /// The metrics of the interval that ends with the worker.
    pub(super) fn close(&mut self, queue: &Queue) -> Vec<MetricsRecord> {
        self.closed = true;
        self.source.collect(&self.watch.take(queue))
    }
}
