//! Errors of transactions that failed although no error value was captured in them.
//!
//! Many services report a failure with `error!("database error: {e}")` and an empty response of status 500. The first
//! log line of the highest level is kept until the end of the transaction. If the transaction has failed and no other
//! error occurred in it, the line becomes its error. For a request without such a line, an error is created from its
//! status.

use tracing::Level;

use crate::record::{ErrorRecord, SpanId};

/// An error in the box in which it enters the queue.
pub(super) type BoxedError = Box<ErrorRecord>;

/// A log line that explains a failure, if there is one.
pub(super) struct FailureLine {
    pub(super) error: BoxedError,
    /// The span in which it was logged.
    pub(super) parent: Option<SpanId>,
    level: Level,
}

/// The data of a transaction about its failure.
#[derive(Default)]
pub(super) struct Failure {
    /// An error was recorded, or dropped by a filter, a hook or a limit. This error is the reason of the failure.
    has_reason: bool,
    line: Option<Box<FailureLine>>,
    /// The messages of errors of exit spans. The service may have handled them.
    calls: Vec<String>,
}

/// The most errors of exit spans whose messages are compared with the log line.
const MAX_CALLS: usize = 8;

impl Failure {
    /// Notes that an error occurred, so that no log line is recorded.
    pub(super) fn set_reason(&mut self) {
        self.has_reason = true;
        self.line = None;
    }

    /// The call of an exit span has failed.
    pub(super) fn add_call(&mut self, message: &str) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(message.to_owned());
        }
    }

    /// Whether a line of this level would be kept.
    pub(super) fn wants_line(&self, level: Level) -> bool {
        // `Level` is ordered by verbosity
        !self.has_reason && self.line.as_ref().is_none_or(|line| level < line.level)
    }

    /// Keeps a line, unless one of the same or a higher level is kept already.
    pub(super) fn offer(&mut self, error: BoxedError, parent: Option<SpanId>, level: Level) {
        if self.wants_line(level) {
            self.line = Some(Box::new(FailureLine { error, parent, level }));
        }
    }

    /// `None` if the reason of the failure is known. `Some(None)` if nothing is known about it.
    ///
    /// The error of an exit span is the reason if the log line contains its message, or if there is no log line.
    pub(super) fn unexplained(&mut self) -> Option<Option<Box<FailureLine>>> {
        if self.has_reason {
            return None;
        }
        let Some(line) = self.line.take() else { return self.calls.is_empty().then_some(None) };
        let text = line.error.log.as_ref().map_or("", |log| &*log.message);
        let is_of_call = self.calls.iter().any(|message| !message.is_empty() && text.contains(message.as_str()));
        (!is_of_call).then_some(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::record::{LogMessage, Stack};

    fn line(message: &str) -> BoxedError {
        let log =
            LogMessage { message: message.into(), level: "error", logger: None, template: None, stack: Stack::None };
        ErrorRecord::of_line(log, None, Stack::None, SystemTime::UNIX_EPOCH)
    }

    fn kept(failure: &mut Failure) -> Option<String> {
        Some(failure.unexplained()?.map_or_else(String::new, |line| line.error.log.unwrap().message))
    }

    #[test]
    fn first_line_of_the_highest_level_explains_a_failure() {
        let mut failure = Failure::default();
        for (message, level) in [("a", Level::INFO), ("b", Level::WARN), ("c", Level::ERROR), ("d", Level::ERROR)] {
            failure.offer(line(message), None, level);
        }
        assert!(!failure.wants_line(Level::ERROR) && !failure.wants_line(Level::WARN));
        assert_eq!(kept(&mut failure).as_deref(), Some("c"));
    }

    #[test]
    fn failure_with_an_error_needs_no_line() {
        let mut failure = Failure::default();
        assert_eq!(kept(&mut failure).as_deref(), Some(""));
        failure.offer(line("a"), None, Level::ERROR);
        failure.set_reason();
        failure.offer(line("b"), None, Level::ERROR);
        assert_eq!(kept(&mut failure), None);
    }
}
