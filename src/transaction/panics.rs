//! Recorded panics that wait for the filters.
//!
//! User code must not run inside the panic hook, because a panic there aborts the process. So the hook stores the panic
//! here, and filters run on the agent's thread, or on the thread that flushes or shuts down.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::inner::{Handle, Panic, Panics, Recorder};
use crate::{
    pipeline::{Flusher, for_service},
    record::attach,
};

/// The most panics that wait; further ones are counted as suppressed errors.
const MAX_WAITING: usize = 256;
/// The interval at which a panicking thread checks whether its panic has been filtered.
const LOOK: Duration = Duration::from_millis(1);

impl Default for Panics {
    fn default() -> Self {
        Self {
            waiting: ArrayQueue::new(MAX_WAITING),
            unsettled: AtomicUsize::new(0),
            wake: Notify::new(),
            flusher: OnceLock::new(),
        }
    }
}

impl Panics {
    /// Returns false if there is no room.
    pub(super) fn push(&self, panic: Panic) -> bool {
        self.unsettled.fetch_add(1, SeqCst);
        if self.waiting.push(panic).is_err() {
            self.unsettled.fetch_sub(1, SeqCst);
            return false;
        }
        self.wake.notify_one();
        true
    }

    /// Delivers what [`wait_for_delivery`](Self::wait_for_delivery) waits for.
    pub(crate) fn set_flusher(&self, flusher: Flusher) {
        // an agent has one worker
        let _ = self.flusher.set(flusher);
    }

    /// Blocks until the panics that were recorded are delivered, at most for `timeout`. For a process that ends now.
    pub(crate) fn wait_for_delivery(&self, timeout: Duration) {
        let Some(flusher) = self.flusher.get() else { return };
        let began = Instant::now();
        while self.unsettled.load(SeqCst) > 0 && began.elapsed() < timeout {
            thread::sleep(LOOK);
        }
        flusher.flush_blocking(timeout.saturating_sub(began.elapsed()));
    }
}

impl Recorder {
    /// Filters and sends the panics that the hook has recorded.
    pub(crate) fn settle_panics(&self) {
        while let Some(Panic { handle, error, parent, baggage }) = self.panics().waiting.pop() {
            let _attached = attach(baggage);
            for_service(|| match handle {
                Handle::None => self.error(error),
                handle => handle.error(error, parent),
            });
            self.panics().unsettled.fetch_sub(1, SeqCst);
        }
    }

    /// Filters and sends recorded panics as they arrive. Never returns.
    pub(crate) async fn keep_settling_panics(&self) {
        loop {
            self.panics().wake.notified().await;
            self.settle_panics();
        }
    }
}
