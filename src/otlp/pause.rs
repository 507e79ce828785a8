//! What the server does not take beside spans is not sent for a while: a Collector may have a pipeline for traces alone,
//! and no trouble with metrics or log lines may hold up the traces.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::signal::Signal;

/// The first pause; each further one is twice as long.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What is not sent for now.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    metrics: Mutex<Pause>,
    logs: Mutex<Pause>,
}

#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    failures: u32,
}

impl Pause {
    /// The pause takes at least the `Retry-After` wait.
    fn begin(&mut self, now: Instant, asked: Option<Duration>) -> Duration {
        let length = SHORTEST.saturating_mul(1 << self.failures.min(16)).max(asked.unwrap_or_default()).min(LONGEST);
        self.failures += 1;
        self.until = Some(now + length);
        length
    }

    fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Pauses {
    fn with<T>(&self, kind: Signal, work: impl FnOnce(&mut Pause) -> T) -> T {
        let pause = match kind {
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        };
        work(&mut pause.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn succeeded(&self, kind: Signal) {
        self.with(kind, |pause| *pause = Pause::default());
    }

    /// How long none of this kind are sent.
    pub(super) fn failed(&self, kind: Signal, asked: Option<Duration>) -> Duration {
        self.with(kind, |pause| pause.begin(Instant::now(), asked))
    }

    /// None of this kind is sent now.
    pub(super) fn is_paused(&self, kind: Signal) -> bool {
        self.with(kind, |pause| pause.is_on(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_up_to_a_limit_and_is_reset_by_success() {
        let now = Instant::now();
        let mut pause = Pause::default();
        assert!(!pause.is_on(now));
        for seconds in [30, 60, 120, 240, 480, 600, 600] {
            pause.begin(now, Some(Duration::from_secs(1)));
            let end = now + Duration::from_secs(seconds);
            assert!(pause.is_on(end - Duration::from_secs(1)) && !pause.is_on(end), "{seconds}");
        }
        let asked = Pause::default().begin(now, Some(Duration::from_secs(90)));
        assert_eq!(asked, Duration::from_secs(90));
        let pauses = Pauses::default();
        pauses.failed(Signal::Logs, None);
        assert!(pauses.is_paused(Signal::Logs) && !pauses.is_paused(Signal::Metrics));
        pauses.succeeded(Signal::Logs);
        assert!(!pauses.is_paused(Signal::Logs));
    }
}
