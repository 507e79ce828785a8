//! Epochs, which decide which changes in the log are valid.
//!
//! A change is valid if it has the epoch of the last marker before it in its partition. The consumer and the rebuild
//! use the same rule, so they agree on each change.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DecodeError, Event, LogRecord};

/// The id of one set of balances. It begins with the name of the log that contains the set's changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(String);

impl Epoch {
    /// Creates a new epoch of the log `log`.
    pub fn new(log: &str) -> Self {
        Self(format!("{log}/{}", Uuid::new_v4()))
    }

    /// Returns whether the changes of this epoch are in the log `log`.
    pub fn belongs_to(&self, log: &str) -> bool {
        self.0.rsplit_once('/').is_some_and(|(name, _)| name == log)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Epoch {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The position of a reader in one partition: the offset of the next record, and the epoch at this offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub next_offset: i64,
    /// `None` before the first marker.
    pub epoch: Option<Epoch>,
}

/// The meaning of a record for a reader.
#[derive(Debug)]
pub enum Verdict {
    /// A valid change.
    Valid(Event),
    /// A change of an epoch that has ended or has not begun. It is ignored.
    Void(Event),
    /// The beginning of an epoch.
    Marker,
    /// A record that cannot be read.
    Poison(DecodeError),
}

impl Position {
    /// Returns the position at the beginning of a partition.
    pub fn start(partition: i32) -> Self {
        Self { partition, next_offset: 0, epoch: None }
    }

    /// Reads the record at `offset` and advances the position. Returns `None` if the record was read before.
    pub fn read(&mut self, offset: i64, payload: &[u8]) -> Option<Verdict> {
        if offset < self.next_offset {
            return None;
        }
        self.next_offset = offset + 1;
        Some(match LogRecord::decode(payload) {
            Ok(LogRecord::Change(event)) if self.epoch.as_ref() == Some(&event.epoch) => Verdict::Valid(event),
            Ok(LogRecord::Change(event)) => Verdict::Void(event),
            Ok(LogRecord::Epoch { epoch }) => {
                self.epoch = Some(epoch);
                Verdict::Marker
            }
            Err(error) => Verdict::Poison(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(epoch: &Epoch) -> Vec<u8> {
        let event = Event {
            epoch: epoch.clone(),
            user: "bob".into(),
            key: "k".into(),
            amount: "1".parse().unwrap(),
            reason: "r".into(),
            at_ms: 0,
            traceparent: None,
        };
        LogRecord::change(&event).encode().unwrap()
    }

    fn marker(epoch: &Epoch) -> Vec<u8> {
        LogRecord::Epoch { epoch: epoch.clone() }.encode().unwrap()
    }

    #[test]
    fn change_is_valid_if_it_has_the_epoch_of_the_last_marker() {
        let (first, second) = (Epoch::new("log"), Epoch::new("log"));
        let mut position = Position::start(0);
        let records = [
            (change(&first), "Void"), // no epoch has begun
            (marker(&first), "Marker"),
            (change(&first), "Valid"),
            (change(&second), "Void"),
            (b"poison".to_vec(), "Poison"),
            (change(&first), "Valid"),
            (marker(&second), "Marker"),
            (change(&first), "Void"),
            (change(&second), "Valid"),
        ];
        for (offset, (payload, expected)) in (0..).zip(&records) {
            let verdict = format!("{:?}", position.read(offset, payload).unwrap());
            assert!(verdict.starts_with(expected), "{offset}: {verdict}");
        }
        assert_eq!(position, Position { partition: 0, next_offset: 9, epoch: Some(second) });
    }

    #[test]
    fn record_is_read_once_and_gaps_are_allowed() {
        let epoch = Epoch::new("log");
        let mut position = Position { partition: 0, next_offset: 5, epoch: Some(epoch.clone()) };
        assert!(position.read(4, &marker(&Epoch::new("log"))).is_none());
        assert!(position.read(7, &change(&epoch)).is_some());
        assert!(position.read(7, &change(&epoch)).is_none());
        assert_eq!(position.next_offset, 8);
    }

    #[test]
    fn epoch_belongs_to_one_log() {
        let epoch = Epoch::new("wallet.changes");
        assert!(epoch.belongs_to("wallet.changes"));
        assert!(!epoch.belongs_to("wallet") && !epoch.belongs_to("direct"));
        assert_ne!(epoch, Epoch::new("wallet.changes"));
    }
}
