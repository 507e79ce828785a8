//! The records of the change log, as JSON with a schema version.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Epoch;
use crate::{
    money::Amount,
    wallet::change::{Change, InvalidChange, is_text},
};

/// The schema version of the JSON. A consumer does not accept other versions.
pub const SCHEMA: u64 = 1;

/// The maximum number of characters of an epoch.
const MAX_EPOCH: usize = 300;

/// A change in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The epoch of the balances in which the change began.
    pub epoch: Epoch,
    pub user: String,
    pub key: String,
    pub amount: Amount,
    pub reason: String,
    /// When the change began, in milliseconds since 1970.
    pub at_ms: i64,
    /// The trace of the request, for a change that the relay sends later.
    ///
    /// In the log, the headers of a record contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogRecord {
    /// One accepted change.
    Change(Event),
    /// A marker: a new epoch begins, and later changes of other epochs are ignored.
    Epoch { epoch: Epoch },
}

#[derive(Serialize)]
struct Versioned<'a> {
    schema: u64,
    #[serde(flatten)]
    record: &'a LogRecord,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the record is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the record has no schema version")]
    NoSchema,
    #[error("schema version {0} is not supported")]
    UnknownSchema(u64),
    #[error("the record does not have the fields of schema version 1")]
    Fields(#[source] serde_json::Error),
    #[error("the record has an invalid value")]
    Invalid(#[from] InvalidChange),
}

impl Event {
    pub fn new(change: &Change, epoch: Epoch, at_ms: i64, traceparent: Option<String>) -> Self {
        let Change { user, key, amount, reason } = change.clone();
        Self { epoch, user, key, amount, reason, at_ms, traceparent }
    }

    /// Returns the change of the event.
    pub fn change(&self) -> Change {
        let Self { user, key, amount, reason, .. } = self.clone();
        Change { user, key, amount, reason }
    }
}

impl LogRecord {
    /// Creates the record of a change.
    pub fn change(event: &Event) -> Self {
        Self::Change(Event { traceparent: None, ..event.clone() })
    }

    /// Returns the payload of the record.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Versioned { schema: SCHEMA, record: self })
    }

    /// Decodes a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let json: Value = serde_json::from_slice(payload).map_err(DecodeError::NotJson)?;
        match json["schema"].as_u64() {
            Some(SCHEMA) => {}
            Some(other) => return Err(DecodeError::UnknownSchema(other)),
            None => return Err(DecodeError::NoSchema),
        }
        let record = Self::deserialize(json).map_err(DecodeError::Fields)?;
        if !is_text(record.epoch().as_str(), MAX_EPOCH) {
            return Err(InvalidChange { field: "epoch", reason: "must have 1 to 300 characters and no NUL" }.into());
        }
        if let Self::Change(event) = &record {
            event.change().validate()?;
        }
        Ok(record)
    }

    /// Returns the epoch of the record.
    pub fn epoch(&self) -> &Epoch {
        match self {
            Self::Change(event) => &event.epoch,
            Self::Epoch { epoch } => epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Event {
        Event {
            epoch: Epoch::new("log"),
            user: "bob".into(),
            key: "k1".into(),
            amount: "-8999999999.999999".parse().unwrap(),
            reason: "fee".into(),
            at_ms: 12,
            traceparent: Some("00-aa-bb-01".into()),
        }
    }

    #[test]
    fn record_is_read_as_it_was_written() {
        let change = LogRecord::change(&event());
        let json: Value = serde_json::from_slice(&change.encode().unwrap()).unwrap();
        let expected = json!({
            "schema": 1, "type": "change", "epoch": event_epoch(&change), "user": "bob", "key": "k1",
            "amount": "-8999999999.999999", "reason": "fee", "at_ms": 12,
        });
        assert_eq!(json, expected);
        let marker = LogRecord::Epoch { epoch: Epoch::new("log") };
        for record in [change, marker] {
            assert_eq!(LogRecord::decode(&record.encode().unwrap()).unwrap(), record);
        }
    }

    fn event_epoch(record: &LogRecord) -> &str {
        record.epoch().as_str()
    }

    #[test]
    fn record_that_cannot_be_read_names_the_cause() {
        let change = LogRecord::change(&event());
        let valid: Value = serde_json::from_slice(&change.encode().unwrap()).unwrap();
        let with = |field: &str, value: Value| {
            let mut json = valid.clone();
            json[field] = value;
            json.to_string()
        };
        let without = |field: &str| {
            let mut json = valid.clone();
            json.as_object_mut().unwrap().remove(field);
            json.to_string()
        };
        let long = "x".repeat(201);
        for (payload, expected) in [
            (String::new(), "not JSON"),
            ("sold".into(), "not JSON"),
            ("[1]".into(), "no schema version"),
            (without("schema"), "no schema version"),
            (with("schema", json!(2)), "schema version 2"),
            (with("type", json!("sale")), "fields of schema version 1"),
            (without("user"), "fields of schema version 1"),
            (with("amount", json!("12,5")), "fields of schema version 1"),
            (with("amount", json!("0")), "invalid value"),
            (with("reason", json!(long)), "invalid value"),
            (with("user", json!("a\u{0}b")), "invalid value"),
        ] {
            let error = LogRecord::decode(payload.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{payload}: {error}");
        }
        for epoch in [String::new(), "a\u{0}b".into(), "e".repeat(301)] {
            let marker = LogRecord::Epoch { epoch: Epoch::from(epoch.clone()) }.encode().unwrap();
            for payload in [marker, with("epoch", json!(epoch)).into_bytes()] {
                let error = LogRecord::decode(&payload).unwrap_err();
                assert!(matches!(&error, DecodeError::Invalid(invalid) if invalid.field == "epoch"), "{error:?}");
            }
        }
        let longest = LogRecord::Epoch { epoch: Epoch::from("ä".repeat(300)) };
        assert_eq!(LogRecord::decode(&longest.encode().unwrap()).unwrap(), longest);
    }
}
