//! Data for the hints of the test kit: started transactions and ignored requests of an agent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering::Relaxed};

use super::inner::{TransactionInner, Watch};

/// The most ignored requests that are listed.
const MAX_NAMED: usize = 16;
/// The most transactions that are kept before ended ones are removed.
const MIN_KEPT: usize = 64;

/// A transaction that has not ended.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    pub(crate) name: String,
    pub(crate) is_request: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub(super) fn begins(&self, shared: &Arc<TransactionInner>) {
        if !shared.ids().sampled {
            self.unsampled.fetch_add(1, Relaxed);
        }
        let mut transactions = lock(&self.transactions);
        transactions.begun += 1;
        transactions.kept.push(Arc::downgrade(shared));
        if transactions.kept.len() >= transactions.full.max(MIN_KEPT) {
            transactions.kept.retain(|shared| shared.strong_count() > 0);
            transactions.full = transactions.kept.len() * 2;
        }
    }

    pub(crate) fn ignored(&self, request: impl FnOnce() -> String) {
        let mut ignored = lock(&self.ignored);
        if ignored.len() < MAX_NAMED {
            ignored.push(request());
        }
    }

    /// Returns how many transactions have started.
    pub(crate) fn begun(&self) -> u64 {
        lock(&self.transactions).begun
    }

    /// Returns how many of them were unsampled when they started.
    pub(crate) fn unsampled(&self) -> u64 {
        self.unsampled.load(Relaxed)
    }

    pub(crate) fn open(&self) -> Vec<OpenTransaction> {
        let kept: Vec<_> = lock(&self.transactions).kept.iter().filter_map(Weak::upgrade).collect();
        let open = |shared: &Arc<TransactionInner>| {
            shared.read(|record| OpenTransaction {
                name: record.display_name().into_owned(),
                is_request: record.context.request.is_some(),
            })
        };
        kept.iter().filter_map(open).collect()
    }

    /// Returns the ignored requests, such as `GET /health`.
    pub(crate) fn ignored_requests(&self) -> Vec<String> {
        lock(&self.ignored).clone()
    }
}
