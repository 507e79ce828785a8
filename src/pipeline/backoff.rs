//! How long to wait after failures: Elastic's transport rule (`min(n, 6)²` seconds ± 10 %).

use std::time::Duration;

use crate::record::random_u64;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt: 0, 1, 4, 9, 16, 25, 36, 36, … seconds, each within 10 %.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let step = self.failures.min(6);
        self.failures = self.failures.saturating_add(1);
        let jitter = 0.9 + 0.2 * (random_u64() as f64 / u64::MAX as f64);
        Duration::from_secs(u64::from(step * step)).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: transport.md
    #[test]
    fn backoff_grows_quadratically() {
        let mut backoff = Backoff::default();
        for seconds in [0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 36.0] {
            let wait = backoff.after_failure().as_secs_f64();
            assert!((seconds * 0.9..=seconds * 1.1).contains(&wait), "{wait} is not about {seconds}");
        }
        assert_eq!(Backoff::default().after_failure(), Duration::ZERO);
    }
}
