//! Access to the fields of a received event.

use std::ops::Index;

use serde_json::Value;
use tower_apm::devserver;

#[derive(Debug, Clone)]
pub(crate) struct Event(Value);

impl Event {
    pub(crate) fn read(event: &devserver::Event) -> Self {
        Self(event.body())
    }

    /// Returns the value at a path such as `/a/b`, or null.
    pub(crate) fn at(&self, path: &str) -> &Value {
        self.0.pointer(path).unwrap_or(&Value::Null)
    }

    pub(crate) fn label(&self, key: &str) -> &Value {
        &self.0["context"]["tags"][key]
    }

    pub(crate) fn custom(&self, key: &str) -> &Value {
        &self.0["context"]["custom"][key]
    }

    pub(crate) fn user(&self) -> &Value {
        self.at("/context/user/id")
    }

    /// Returns type, subtype and action of a span.
    pub(crate) fn kind(&self) -> [&str; 3] {
        ["type", "subtype", "action"].map(|part| self.0[part].as_str().unwrap_or("-"))
    }

    /// Returns the messages of an error and its causes, the last cause last.
    pub(crate) fn causes(&self) -> Vec<&str> {
        let first = self.at("/exception");
        std::iter::successors(Some(first), |error| error["cause"].get(0))
            .map(|error| error["message"].as_str().unwrap_or("-"))
            .collect()
    }
}

impl Index<&str> for Event {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        &self.0[key]
    }
}
