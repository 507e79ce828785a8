//! The statements of database spans, which sqlx can log as events too. Pure.
//!
//! The agent creates a span from each event, so a statement that already has a span, for instance from sqlx-tracing
//! or `db::call`, would be recorded twice. The event cannot be assigned to the span by its parent: sqlx logs in the
//! `tracing` span of its caller, and on SQLite on another thread. The event and the span have the same transaction and
//! the same text. Each span accounts for one event.

use std::collections::VecDeque;

use crate::record::StatementKey;

/// The maximum number of statements that are kept for one transaction. At this limit, the oldest statement is dropped, and
/// its event is recorded as a second span.
const MAX_KNOWN: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    /// The event was logged before the end of the span.
    Logged,
    /// The span has ended, and its event can still follow.
    Ended,
}

/// The statements whose spans are open, or whose events have not been logged yet.
#[derive(Default)]
pub(super) struct Statements {
    known: VecDeque<(StatementKey, Progress)>,
}

impl Statements {
    /// Adds the statement of a span that starts.
    pub(super) fn begin(&mut self, key: StatementKey) {
        if self.known.len() == MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back((key, Progress::Open));
    }

    /// Handles the event of a statement. Returns true if a span accounts for the event.
    pub(super) fn log(&mut self, key: StatementKey) -> bool {
        if let Some((_, progress)) = self.known.iter_mut().find(|known| **known == (key, Progress::Open)) {
            *progress = Progress::Logged;
            return true;
        }
        self.remove((key, Progress::Ended))
    }

    /// Handles the end of a span. `can_follow` is true if sqlx can log the event after the end of the span.
    pub(super) fn end(&mut self, key: StatementKey, can_follow: bool) {
        if !self.remove((key, Progress::Logged)) && self.remove((key, Progress::Open)) && can_follow {
            self.known.push_back((key, Progress::Ended));
        }
    }

    fn remove(&mut self, statement: (StatementKey, Progress)) -> bool {
        let at = self.known.iter().rposition(|known| *known == statement);
        at.and_then(|at| self.known.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> StatementKey {
        StatementKey::of(&number.to_string())
    }

    #[test]
    fn each_span_accounts_for_one_event() {
        let mut statements = Statements::default();
        (0..3).for_each(|_| statements.begin(key(1)));
        statements.begin(key(2));
        let logged: Vec<_> = (0..4).map(|_| statements.log(key(1))).collect();
        assert_eq!(logged, [true, true, true, false]);
        (0..3).for_each(|_| statements.end(key(1), true));
        assert!(!statements.log(key(1)) && statements.log(key(2)) && !statements.log(key(3)));
        statements.end(key(2), false);
        statements.end(key(2), false); // was dropped at the limit
        assert!(statements.known.is_empty());
    }

    #[test]
    fn event_can_follow_the_end_if_it_was_not_logged_before() {
        let mut statements = Statements::default();
        for (can_follow, is_logged) in [(true, false), (true, true), (false, false)] {
            statements.begin(key(1));
            assert!(!is_logged || statements.log(key(1)));
            statements.end(key(1), can_follow);
            assert_eq!(statements.log(key(1)), can_follow && !is_logged);
            assert!(statements.known.is_empty());
        }
    }

    #[test]
    fn oldest_statement_is_dropped_at_the_limit() {
        let mut statements = Statements::default();
        (0..=MAX_KNOWN).for_each(|number| statements.begin(key(number)));
        assert!(!statements.log(key(0)) && statements.log(key(1)) && statements.log(key(MAX_KNOWN)));
        (0..=MAX_KNOWN).for_each(|number| statements.end(key(number), true));
        assert_eq!(statements.known.len(), MAX_KNOWN - 2);
    }
}
