//! Detects that the process was forked after the agent had started.
//!
//! A fork copies the queue but not the agent's thread. In the child nothing takes events out of the queue, and a caller that
//! waited for the thread would block forever.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// The process that started the agent's thread.
#[derive(Debug)]
pub(super) struct Process {
    id: AtomicU32,
    warned: AtomicBool,
}

impl Process {
    pub(super) fn current() -> Self {
        Self { id: std::process::id().into(), warned: AtomicBool::new(false) }
    }

    /// Simulates a forked child from now on.
    #[cfg(test)]
    pub(super) fn pretend_fork(&self) {
        self.id.store(std::process::id().wrapping_add(1), Relaxed);
    }

    /// Returns true in a child that was forked from the process that started the agent. Costs a system call.
    pub(super) fn is_forked(&self) -> bool {
        self.id.load(Relaxed) != std::process::id()
    }

    /// Logs once why nothing is sent.
    pub(super) fn warn_forked(&self) {
        if !self.warned.swap(true, Relaxed) {
            tracing::warn!(
                target: "tower_apm",
                "this process was forked after the agent had started: the agent's thread does not exist here, so events \
                 are dropped; build the agent after the fork"
            );
        }
    }
}
