//! The partitions that the group has assigned to a consumer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, ConsumerContext, Rebalance},
};

use crate::health::PartHealth;

/// The state of a consumer, which is reported in the health of its process. Clones share the state.
#[derive(Debug, Clone)]
pub struct ConsumerStatus {
    state: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    health: PartHealth,
    partitions: AtomicUsize,
    /// Changes with each rebalance.
    generation: AtomicU64,
    is_failing: AtomicBool,
}

impl ConsumerStatus {
    pub(super) fn new(health: PartHealth) -> Self {
        let state = Shared {
            health,
            partitions: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        };
        let status = Self { state: Arc::new(state) };
        status.show();
        status
    }

    /// Returns the number of assigned partitions.
    pub fn partitions(&self) -> usize {
        self.state.partitions.load(Ordering::Relaxed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.generation.load(Ordering::Acquire)
    }

    /// Shows whether the last attempt to read a position, to send a dead letter or to book a batch has failed.
    pub(super) fn set_failing(&self, is_failing: bool) {
        self.state.is_failing.store(is_failing, Ordering::Relaxed);
        self.show();
    }

    pub(super) fn set_partitions(&self, partitions: usize) {
        self.state.partitions.store(partitions, Ordering::Relaxed);
        self.state.generation.fetch_add(1, Ordering::AcqRel);
        self.show();
    }

    fn show(&self) {
        if self.partitions() == 0 {
            self.state.health.set_not_ready("no partition is assigned");
        } else if self.state.is_failing.load(Ordering::Relaxed) {
            self.state.health.set_not_ready("records cannot be booked");
        } else {
            self.state.health.set_ready();
        }
    }
}

/// Updates the status of a consumer after each rebalance.
pub(super) struct Assignment {
    status: ConsumerStatus,
}

impl Assignment {
    pub(super) fn new(status: ConsumerStatus) -> Self {
        Self { status }
    }
}

impl ClientContext for Assignment {}

impl ConsumerContext for Assignment {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            // This is the whole assignment, because the group does not use the cooperative protocol.
            Rebalance::Assign(partitions) => {
                self.status.set_partitions(partitions.count());
                tracing::info!(partitions = partitions.count(), "partitions were assigned");
            }
            Rebalance::Revoke(_) | Rebalance::Error(_) => self.status.set_partitions(0),
        }
    }
}
