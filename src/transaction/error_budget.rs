//! Limits the rate of errors of one agent. Pure, except for the clock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// Errors that one agent records in a second before it begins to count only.
const ERRORS_PER_SECOND: u64 = 100;
/// Errors that it records at once after a quiet time.
const ERROR_BURST: u64 = 1000;

/// A bucket of tokens that fills with time; a storm of errors empties it.
#[derive(Debug)]
pub(super) struct ErrorBudget {
    began: Instant,
    /// Milliseconds since `began` up to which the budget is spent, times the rate: a token is `1000 / rate` of them.
    spent: AtomicU64,
}

impl ErrorBudget {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), spent: AtomicU64::new(0) }
    }

    pub(super) fn take(&self) -> bool {
        self.take_at(self.began.elapsed().as_millis() as u64)
    }

    /// `now` in milliseconds. The unit inside is a thousandth of an error, so that no token is lost to rounding.
    fn take_at(&self, now: u64) -> bool {
        let earned = now * ERRORS_PER_SECOND + ERROR_BURST * 1000;
        let floor = now * ERRORS_PER_SECOND;
        let take = |spent: u64| Some(spent.max(floor) + 1000).filter(|after| *after <= earned);
        self.spent.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_budget_allows_a_burst_and_then_a_rate() {
        let budget = ErrorBudget::new();
        let taken = |now| (0..5000).filter(|_| budget.take_at(now)).count() as u64;
        assert_eq!(taken(0), ERROR_BURST);
        assert_eq!(taken(1000), ERRORS_PER_SECOND);
        assert_eq!(taken(2500), ERRORS_PER_SECOND * 3 / 2);
        assert_eq!(taken(3_600_000), ERROR_BURST, "a quiet hour earns no more than the burst");
    }
}
