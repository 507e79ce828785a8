//! From record to exporter: one bounded queue, one worker thread, and an account of what became of every event.
//!
//! ```text
//! request ─▶ Queue::push (never blocks) ─▶ worker thread: open batch ─▶ Backlog ─▶ current batch ─▶ server
//!                  └─ full: dropped and counted                     └─ full: events stay in the queue
//! ```
//!
//! The worker is a named thread with a runtime of its own, so it survives the host's and never blocks it.

mod backlog;
mod backoff;
mod conclude;
#[cfg(feature = "otlp")]
mod copy;
mod discard;
mod exporter;
mod flush;
mod health;
mod log_limit;
mod metrics;
mod process;
mod queue;
mod recovery;
mod stats;
mod timer;
mod work;
mod worker;

#[cfg(feature = "otlp")]
pub(crate) use self::copy::WithCopy;
pub(crate) use self::{
    discard::Discard,
    exporter::{Added, Batch, Delivery, Exporter, FailureCause, Losses, Rejection},
    health::{Health, Requests},
    metrics::{Measuring, MetricSource},
    queue::{Queue, for_service, is_worker_thread},
    work::WorkerSettings,
    worker::{Flusher, Worker},
};
pub use self::{
    flush::FlushTimeout,
    stats::{DropReason, Dropped, SecondaryStats, Stats},
};
