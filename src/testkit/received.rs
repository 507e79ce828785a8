//! What has arrived, by kind, in the order in which it happened.

use std::{ops::Deref, sync::Arc};

use serde_json::Value;

use super::{by_otlp, subject::compare};
use crate::devserver::{Kind, Query, Store};

/// An event as it was sent, and whether by OTLP, which has no place for some of it.
#[derive(Debug)]
pub(super) struct Arrived {
    event: Value,
    pub(super) by_otlp: bool,
}

impl Deref for Arrived {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.event
    }
}

impl Arrived {
    pub(super) fn outcome(&self, expected: &str) -> Result<(), String> {
        if self.by_otlp && by_otlp::is_outcome(text(self, "/outcome"), expected) {
            return Ok(());
        }
        compare(self, "/outcome", "the outcome", &expected.into())
    }
}

#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) transactions: Vec<Arc<Arrived>>,
    pub(super) spans: Vec<Arc<Arrived>>,
    pub(super) errors: Vec<Arc<Arrived>>,
    /// Spans that are there for an error that they carry by OTLP, and were never recorded.
    carriers: Vec<Arc<Arrived>>,
}

impl Received {
    pub(super) fn of(store: &Store) -> Self {
        let mut received = Self::default();
        for event in store.query(&Query::new()).events.iter().rev() {
            let list = match event.kind() {
                Kind::Transaction => &mut received.transactions,
                Kind::Span => &mut received.spans,
                Kind::Error => &mut received.errors,
                _ => continue,
            };
            let arrived = Arc::new(Arrived { event: event.body(), by_otlp: event.protocol().is_otlp() });
            if event.kind() != Kind::Error && is_carrier(&arrived) {
                received.carriers.push(arrived);
            } else {
                list.push(arrived);
            }
        }
        for events in [&mut received.transactions, &mut received.spans, &mut received.errors] {
            events.sort_by_key(|event| event["timestamp"].as_u64());
        }
        received
    }

    /// The spans and errors of a transaction, as it ended up: by its id, or because it is above them.
    pub(super) fn within<'a>(
        &'a self,
        events: &'a [Arc<Arrived>],
        transaction: &Value,
    ) -> impl Iterator<Item = &'a Arc<Arrived>> {
        let id = text(transaction, "/id").to_owned();
        events.iter().filter(move |event| self.transaction_id(event) == id)
    }

    /// By OTLP only those directly below a transaction name it.
    fn transaction_id<'a>(&'a self, event: &'a Arrived) -> &'a str {
        let own = text(event, "/transaction_id");
        if !event.by_otlp || !own.is_empty() {
            return own;
        }
        let mut above = self.parent(event);
        // whoever is above itself has no end
        for _ in 0..=self.spans.len() {
            let Some(parent) = above else { return "" };
            if self.transactions.iter().any(|transaction| Arc::ptr_eq(transaction, parent)) {
                return text(parent, "/id");
            }
            above = self.parent(parent);
        }
        ""
    }

    /// The id of what an event is under, in truth: below a carrier is what its carrier is below.
    pub(super) fn parent_id<'a>(&'a self, event: &'a Value) -> &'a str {
        let id = text(event, "/parent_id");
        match self.carriers.iter().find(|carrier| text(carrier, "/id") == id) {
            Some(carrier) => text(carrier, "/parent_id"),
            None => id,
        }
    }

    /// The transaction or span that an event is under.
    pub(super) fn parent(&self, event: &Value) -> Option<&Arc<Arrived>> {
        let id = self.parent_id(event);
        self.transactions.iter().chain(&self.spans).find(|parent| text(parent, "/id") == id)
    }
}

/// See [`docs::otlp`](crate::docs::otlp): a span of no length around an error whose own span is not at hand.
fn is_carrier(event: &Arrived) -> bool {
    event.by_otlp && is_named(event, "exception") && event["duration"] == 0.0
}

/// The text at a JSON pointer; empty where there is none.
pub(super) fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn is_named(event: &Value, name: &str) -> bool {
    text(event, "/name") == name
}

/// By the type or the message of the exception, or the message of the log line.
pub(super) fn is_error_called(error: &Arrived, name: &str) -> bool {
    if error.by_otlp
        && (by_otlp::is_type(text(error, "/exception/type"), name) || text(error, "/context/tags/log_message") == name)
    {
        return true;
    }
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
