//! The agent's own log lines: each reason once a minute, and no more reasons than fit a small table.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Rejection;

const PAUSE: Duration = Duration::from_secs(60);
const REASONS: usize = 64;

/// Remembers what was said when.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    said: HashMap<String, Instant>,
}

impl LogLimit {
    fn may_say(&mut self, reason: &str, now: Instant) -> bool {
        if self.said.get(reason).is_some_and(|at| now.duration_since(*at) < PAUSE) {
            return false;
        }
        if self.said.len() >= REASONS {
            self.said.retain(|_, at| now.duration_since(*at) < PAUSE);
        }
        if self.said.len() >= REASONS {
            return false;
        }
        self.said.insert(reason.to_owned(), now);
        true
    }

    pub(crate) fn warn(&mut self, what: &str, reason: &str) {
        if self.may_say(reason, Instant::now()) {
            tracing::warn!(target: "tower_apm", reason, "{what}");
        }
    }

    pub(crate) fn rejections(&mut self, reasons: &[Rejection]) {
        for Rejection { message } in reasons {
            if self.may_say(message, Instant::now()) {
                tracing::error!(target: "tower_apm", reason = message.as_str(), "the server rejected an event");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_logged_once_a_minute_and_the_table_is_bounded() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        assert!(limit.may_say("a", now));
        assert!(!limit.may_say("a", now + PAUSE / 2));
        assert!(limit.may_say("a", now + PAUSE));
        let said = (0..1000).filter(|i| limit.may_say(&i.to_string(), now + PAUSE)).count();
        assert_eq!(said, REASONS - 1);
        assert!(limit.may_say("later", now + PAUSE * 3));
    }
}
