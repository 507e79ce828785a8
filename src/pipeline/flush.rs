//! A caller that waits for the events that were recorded so far.

use std::time::Instant;

/// Some events were not delivered before the timeout of a flush or a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} events were not delivered in time")]
#[non_exhaustive]
pub struct FlushTimeout {
    /// Events that were still waiting.
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
