//! Retries: when the worker sends again after a failure, and how it detects that the server is reachable again.

use std::time::{Duration, Instant};

use super::{FailureCause, backoff::Backoff};
use crate::record::random_u64;

/// The interval between probes of an unreachable server, ± 20 %, so that several agents do not probe at the same time.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A probe without an answer fails after this time.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest `Retry-After` wait.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// The waits between attempts.
///
/// The back-off follows Elastic's rule and protects a failing server from batches. A probe is a request without events. A
/// successful probe ends the back-off only if the server was unreachable before: an attempt got no answer, or a probe failed.
/// If the server answers and refuses events, the back-off runs to its end. If an attempt after a successful probe gets no
/// answer, a probe must fail before another one can end the back-off.
#[derive(Debug)]
pub(super) struct Recovery {
    backoff: Backoff,
    next_attempt: Instant,
    /// The wait comes from the server's `Retry-After` header.
    is_requested: bool,
    is_away: bool,
    next_probe: Option<Instant>,
    /// The last attempt followed a successful probe.
    is_probed: bool,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            next_attempt: Instant::now(),
            is_requested: false,
            is_away: false,
            next_probe: None,
            is_probed: false,
        }
    }
}

impl Recovery {
    pub(super) fn after_success(&mut self) {
        *self = Self::default();
    }

    pub(super) fn after_failure(&mut self, cause: FailureCause, now: Instant) {
        let backoff = self.backoff.after_failure();
        let requested = cause.retry_after();
        let wait = requested.map_or(backoff, |requested| {
            // later rather than earlier, and not at once for ever
            let least = backoff.min(PROBE_INTERVAL);
            requested.min(MAX_RETRY_AFTER).mul_f64(1.0 + 0.1 * random_share()).max(least)
        });
        self.next_attempt = now + wait;
        self.is_requested = requested.is_some();
        self.is_away = cause == FailureCause::NoAnswer && !self.is_probed;
        self.is_probed = false;
        let probe = now + probe_interval();
        self.next_probe = (!self.is_requested && probe < self.next_attempt).then_some(probe);
    }

    pub(super) fn is_attempt_due(&self, now: Instant) -> bool {
        self.next_attempt <= now
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Instant {
        self.next_probe.map_or(self.next_attempt, |probe| probe.min(self.next_attempt))
    }

    /// Ends the back-off: a caller waits until `deadline`. A wait that the server has asked for goes on, unless the worker
    /// ends (`is_last`) before it is over: then one attempt is better than none.
    pub(super) fn hurry(&mut self, now: Instant, deadline: Instant, is_last: bool) {
        if !self.is_requested || is_last && deadline <= self.next_attempt {
            self.next_attempt = self.next_attempt.min(now);
            self.is_requested = false;
        }
    }

    /// True once when a probe is due. Its outcome goes to [`probed`](Self::probed).
    pub(super) fn take_due_probe(&mut self, now: Instant) -> bool {
        self.next_probe.take_if(|probe| *probe <= now).is_some()
    }

    pub(super) fn probed(&mut self, is_reached: bool, now: Instant) {
        if !is_reached {
            self.is_away = true;
            self.next_probe = Some(now + probe_interval());
        } else if self.is_away {
            self.next_attempt = self.next_attempt.min(now);
            self.is_away = false;
            self.is_probed = true;
        }
    }
}

fn probe_interval() -> Duration {
    PROBE_INTERVAL.mul_f64(0.8 + 0.4 * random_share())
}

/// From 0 to 1.
fn random_share() -> f64 {
    random_u64() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(failures: u32, cause: FailureCause) -> (Recovery, Instant) {
        let (mut recovery, now) = (Recovery::default(), Instant::now());
        (0..failures).for_each(|_| recovery.after_failure(cause, now));
        (recovery, now)
    }

    #[test]
    fn probe_finds_a_returned_server_within_two_seconds() {
        let (mut recovery, mut now) = after(9, FailureCause::NoAnswer);
        for _ in 0..20 {
            assert!(!recovery.is_attempt_due(now));
            assert!(recovery.next() <= now + SECOND.mul_f64(1.2));
            now = recovery.next();
            assert!(recovery.take_due_probe(now) && !recovery.take_due_probe(now));
            recovery.probed(false, now);
        }
        now = recovery.next();
        assert!(recovery.take_due_probe(now));
        recovery.probed(true, now);
        assert!(recovery.is_attempt_due(now));
    }

    #[test]
    fn backoff_is_not_shortened_if_the_server_answers_and_refuses() {
        let (mut recovery, start) = after(4, FailureCause::REFUSED);
        let now = recovery.next();
        assert!(recovery.take_due_probe(now));
        recovery.probed(true, now);
        assert!(!recovery.is_attempt_due(start + SECOND * 8));
        assert!(recovery.next() > start + SECOND * 8, "one probe for each wait");
        // a proxy whose server is away refuses, and the probe too
        let (mut recovery, _) = after(4, FailureCause::REFUSED);
        let now = recovery.next();
        recovery.probed(false, now);
        recovery.probed(true, now + SECOND);
        assert!(recovery.is_attempt_due(now + SECOND));
    }

    #[test]
    fn backoff_is_not_shortened_if_only_probes_are_answered() {
        let (mut recovery, now) = after(4, FailureCause::NoAnswer);
        recovery.probed(true, now);
        assert!(recovery.is_attempt_due(now));
        recovery.after_failure(FailureCause::NoAnswer, now);
        recovery.probed(true, now + SECOND);
        assert!(!recovery.is_attempt_due(now + SECOND * 14), "16 s");
    }

    #[test]
    fn retry_after_replaces_the_backoff_up_to_its_limit() {
        let ask = |seconds| FailureCause::Refused { retry_after: Some(SECOND * seconds) };
        for (failures, asked, least, most) in
            [(1, 7, 7, 8), (8, 2, 2, 3), (1, 0, 0, 0), (3, 0, 1, 1), (1, 100_000, 300, 330)]
        {
            let (recovery, now) = after(failures, ask(asked));
            assert!(recovery.next() >= now + SECOND * least, "{asked}");
            assert!(recovery.next() <= now + SECOND * most, "{asked}");
        }
    }

    #[test]
    fn flush_ends_the_backoff_but_not_a_retry_after_wait() {
        let (mut recovery, now) = after(5, FailureCause::REFUSED);
        recovery.hurry(now, now + SECOND, false);
        assert!(recovery.is_attempt_due(now));
        let (mut recovery, now) = after(1, FailureCause::Refused { retry_after: Some(SECOND * 10) });
        recovery.hurry(now, now + SECOND, false);
        recovery.hurry(now, now + SECOND * 60, true);
        assert!(!recovery.is_attempt_due(now + SECOND * 9), "there is time to wait for");
        recovery.hurry(now, now + SECOND, true);
        assert!(recovery.is_attempt_due(now), "the last chance");
    }

    #[test]
    fn success_resets_the_backoff() {
        let (mut recovery, _) = after(5, FailureCause::NoAnswer);
        recovery.after_success();
        let now = Instant::now();
        assert!(recovery.is_attempt_due(now) && !recovery.take_due_probe(now + SECOND * 100));
        recovery.after_failure(FailureCause::REFUSED, now);
        assert!(recovery.is_attempt_due(now), "the first wait is none");
    }
}
