//! What happened within a span: an exception is an error, all else a log line.

use opentelemetry_proto::tonic::trace::v1::{Span, span::Event};
use serde_json::{Map, Value};

use super::{
    Base,
    attributes::{self, Labels, Seen},
    hex,
    tree::Tree,
    web::Web,
};
use crate::devserver::event::Kind;

/// What the server says of an exception that has no message.
const NO_MESSAGE: &str = "[EMPTY]";

/// What an event takes over from its span.
pub(super) struct Parent {
    kind: Kind,
    id: String,
    trace_id: String,
    /// A transaction's.
    type_: String,
    version: Option<Value>,
    web: Web,
    data_stream: Tree,
    children: Option<Value>,
}

impl Parent {
    pub(super) fn of(span: &Span, kind: Kind, told: &Tree, web: Web, data_stream: Tree) -> Self {
        Self {
            kind,
            id: hex(&span.span_id),
            trace_id: hex(&span.trace_id),
            type_: told.text_at(&["type"]).to_owned(),
            version: told.0.get("ecs").and_then(|ecs| ecs.get("service")?.get("version")).cloned(),
            web,
            data_stream,
            children: told.0.get("child_ids").or_else(|| told.0.get("ecs")?.get("child")?.get("id")).cloned(),
        }
    }

    fn is_transaction(&self) -> bool {
        self.kind == Kind::Transaction
    }

    /// What intake has no place for.
    fn write(&self, out: &mut Tree) {
        if let Some(version) = &self.version {
            out.put("ecs/service/version", version.clone());
        }
        if let Some(children) = &self.children {
            out.put("ecs/child/id", children.clone());
        }
    }
}

/// An exception in the making, from the attributes of a span's event or a log record.
#[derive(Default)]
pub(super) struct Exception<'a> {
    kind: &'a str,
    message: &'a str,
    stack: &'a str,
    escaped: bool,
}

impl<'a> Exception<'a> {
    /// True for an attribute of it.
    pub(super) fn take(&mut self, key: &str, value: Seen<'a>) -> bool {
        match key {
            "exception.type" => self.kind = value.text(),
            "exception.message" => self.message = value.text(),
            "exception.stacktrace" => self.stack = value.text(),
            "exception.escaped" => self.escaped = value.flag(),
            _ => return false,
        }
        true
    }

    pub(super) fn is_there(&self) -> bool {
        !self.kind.is_empty() || !self.message.is_empty()
    }

    pub(super) fn write(&self, out: &mut Tree, ids: &mut u128) {
        out.put("id", next_id(ids));
        out.text("exception/type", self.kind);
        out.put("exception/message", if self.message.is_empty() { NO_MESSAGE } else { self.message });
        out.put("exception/handled", !self.escaped);
        // frames are read out of Java's text only, and here not even of that
        out.text("ecs/error/stack_trace", self.stack);
    }
}

/// The server makes up an id for each error.
pub(super) fn next_id(ids: &mut u128) -> String {
    *ids = ids.wrapping_add(1);
    format!("{ids:032x}")
}

pub(super) fn event(base: &Base<'_>, parent: &Parent, event: &Event, ids: &mut u128) -> (Kind, Map<String, Value>) {
    let mut exception = Exception::default();
    let mut labels = Labels::new(parent.data_stream.clone());
    if event.name == "exception" {
        for (key, value) in attributes::of(&event.attributes) {
            if !exception.take(key, value) {
                labels.set_any(key, value);
            }
        }
    }
    if exception.is_there() {
        return (Kind::Error, error(base, parent, event, &exception, labels, ids));
    }
    (Kind::Log, log(base, parent, event))
}

fn error(
    base: &Base<'_>,
    parent: &Parent,
    event: &Event,
    exception: &Exception<'_>,
    labels: Labels,
    ids: &mut u128,
) -> Map<String, Value> {
    let mut out = Tree::default();
    exception.write(&mut out, ids);
    out.text("trace_id", &parent.trace_id);
    out.text("parent_id", &parent.id);
    if parent.is_transaction() {
        out.text("transaction_id", &parent.id);
        out.put("transaction/sampled", true);
        out.text("transaction/type", &parent.type_);
    }
    out.put("timestamp", base.time(event.time_unix_nano));
    base.framework(&mut out, "context/service");
    parent.write(&mut out);
    parent.web.context(&mut out);
    out.text("ecs/session/id", &parent.web.session);
    labels.of_error().finish(&mut out, "context/tags");
    out.0
}

/// As a line of ECS logging: fields with dots in their names.
fn log(base: &Base<'_>, parent: &Parent, event: &Event) -> Map<String, Value> {
    let mut out = Tree::default();
    let mut labels = Labels::new(parent.data_stream.clone());
    attributes::of(&event.attributes).for_each(|(key, value)| labels.set_any(key, value));
    out.put("@timestamp", base.time(event.time_unix_nano));
    out.text("message", &event.name);
    out.text("trace.id", &parent.trace_id);
    out.text("span.id", &parent.id);
    if parent.is_transaction() {
        out.text("transaction.id", &parent.id);
    }
    parent.write(&mut out);
    base.framework(&mut out, "ecs/service");
    parent.web.ecs(&mut out);
    labels.finish(&mut out, "labels");
    out.0
}
