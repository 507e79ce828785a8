//! What has arrived, by kind, in the order in which it happened.

use std::sync::Arc;

use serde_json::Value;

use crate::devserver::{Kind, Query, Store};

#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) transactions: Vec<Arc<Value>>,
    pub(super) spans: Vec<Arc<Value>>,
    pub(super) errors: Vec<Arc<Value>>,
}

impl Received {
    pub(super) fn of(store: &Store) -> Self {
        let mut received = Self::default();
        for event in store.query(&Query::new()).events.iter().rev() {
            match event.kind() {
                Kind::Transaction => received.transactions.push(Arc::new(event.body())),
                Kind::Span => received.spans.push(Arc::new(event.body())),
                Kind::Error => received.errors.push(Arc::new(event.body())),
                _ => {}
            }
        }
        for events in [&mut received.transactions, &mut received.spans, &mut received.errors] {
            events.sort_by_key(|event| event["timestamp"].as_u64());
        }
        received
    }

    /// The spans and errors of a transaction, as it ended up: by its id.
    pub(super) fn within<'a>(events: &'a [Arc<Value>], transaction: &Value) -> impl Iterator<Item = &'a Arc<Value>> {
        let id = text(transaction, "/id").to_owned();
        events.iter().filter(move |event| text(event, "/transaction_id") == id)
    }

    /// The transaction or span that an event is under.
    pub(super) fn parent(&self, event: &Value) -> Option<&Arc<Value>> {
        let id = text(event, "/parent_id");
        self.transactions.iter().chain(&self.spans).find(|parent| text(parent, "/id") == id)
    }
}

/// The text at a JSON pointer; empty where there is none.
pub(super) fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn is_named(event: &Value, name: &str) -> bool {
    text(event, "/name") == name
}

/// By the type or the message of the exception, or the message of the log line.
pub(super) fn is_error_called(error: &Value, name: &str) -> bool {
    ["/exception/type", "/exception/message", "/log/message"].iter().any(|pointer| text(error, pointer) == name)
}

/// What stands for an error in one word: its type, else its message.
pub(super) fn error_name(error: &Value) -> &str {
    ["/exception/type", "/exception/message", "/log/message"]
        .iter()
        .map(|pointer| text(error, pointer))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

/// The causes of an error, the outermost first.
pub(super) fn causes(error: &Value) -> Vec<&Value> {
    let cause = |exception: &Value| exception.get("cause").and_then(|causes| causes.get(0)).is_some();
    let mut exception = &error["exception"];
    let mut causes = Vec::new();
    while cause(exception) {
        exception = &exception["cause"][0];
        causes.push(exception);
    }
    causes
}
