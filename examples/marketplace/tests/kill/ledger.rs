//! The answers that the clients have received to their changes and purchases.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The user and the idempotency key of a change.
pub(crate) type ChangeId = (String, String);

/// A change that a client sends until its outcome is definite.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Millionths, negative for a debit.
    pub(crate) amount: i64,
    pub(crate) outcome: Option<Outcome>,
    /// The result of each request, for the failure report.
    pub(crate) requests: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The balance after the change.
    Accepted(i64),
    Refused(u16),
}

/// The answer to a purchase that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) order_id: String,
    pub(crate) buyer: String,
    pub(crate) tx_hash: String,
}

/// The ledger of all clients.
#[derive(Debug)]
pub(crate) struct Ledger {
    started: Instant,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    changes: HashMap<ChangeId, Sent>,
    receipts: BTreeMap<i64, Receipt>,
    violations: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), entries: Mutex::default() }
    }

    /// Records a change before its first request.
    pub(crate) fn begin(&self, id: &ChangeId, amount: i64) {
        let sent = Sent { amount, outcome: None, requests: Vec::new() };
        let reused = self.entries().changes.insert(id.clone(), sent);
        assert!(reused.is_none(), "a client has used the key {id:?} twice");
    }

    /// Records the result of one request of a change.
    pub(crate) fn request(&self, id: &ChangeId, text: &str) {
        let at = self.started.elapsed().as_secs_f64();
        if let Some(sent) = self.entries().changes.get_mut(id) {
            sent.requests.push(format!("{at:.3} s {text}"));
        }
    }

    pub(crate) fn decide(&self, id: &ChangeId, outcome: Outcome) {
        if let Some(sent) = self.entries().changes.get_mut(id) {
            sent.outcome = Some(outcome);
        }
    }

    /// Records the receipt of a purchase. A listing has one receipt.
    pub(crate) fn receipt(&self, listing: i64, receipt: Receipt) {
        let mut entries = self.entries();
        let first = entries.receipts.entry(listing).or_insert_with(|| receipt.clone()).clone();
        if first != receipt {
            entries.violations.push(format!("listing {listing} was sold twice: {first:?} and {receipt:?}"));
        }
    }

    /// Records that an answer violates an invariant.
    pub(crate) fn violation(&self, text: String) {
        let at = self.started.elapsed().as_secs_f64();
        self.entries().violations.push(format!("{at:.3} s {text}"));
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.entries().violations.clone()
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.entries().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.entries().counts.clone()
    }

    /// Returns the number of accepted changes.
    pub(crate) fn accepted(&self) -> u64 {
        self.entries().counts.get("accepted changes").copied().unwrap_or_default()
    }

    pub(crate) fn changes(&self) -> HashMap<ChangeId, Sent> {
        self.entries().changes.clone()
    }

    pub(crate) fn receipts(&self) -> BTreeMap<i64, Receipt> {
        self.entries().receipts.clone()
    }

    /// Returns a description of what the clients know about a change.
    pub(crate) fn describe(&self, id: &ChangeId) -> String {
        match self.entries().changes.get(id) {
            Some(sent) => format!("{id:?}: {} {:?}, requests {:#?}", sent.amount, sent.outcome, sent.requests),
            None => format!("{id:?}: no client has sent it"),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
