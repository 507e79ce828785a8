//! Callers that wait for the delivery of all events that were recorded before the call.

use std::time::Instant;

/// The error of a flush or a shutdown that did not deliver all events within its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} events were not delivered in time")]
#[non_exhaustive]
pub struct FlushTimeout {
    /// The number of events that are still waiting.
    pub waiting: u64,
}

pub(super) type Done = Box<dyn FnOnce(Result<(), FlushTimeout>) + Send>;

pub(super) struct Flush {
    /// The flush is over when this many of the events taken from the queue are settled: delivered, or dropped and counted.
    pub(super) target: u64,
    pub(super) deadline: Instant,
    pub(super) done: Done,
    /// True for the last flush, after which the worker ends.
    pub(super) is_shutdown: bool,
}

impl Flush {
    pub(super) fn is_over(&self, concluded: u64, now: Instant) -> bool {
        self.target <= concluded || self.deadline <= now
    }

    pub(super) fn answer(self, concluded: u64, waiting: u64) {
        (self.done)(if self.target <= concluded { Ok(()) } else { Err(FlushTimeout { waiting }) });
    }
}
