//! Exit spans for the commands of [`mongodb`](::mongodb) 3 (feature `mongodb`).
//!
//! ```no_run
//! use mongodb::{Client, options::ClientOptions};
//!
//! # async fn connect() -> mongodb::error::Result<()> {
//! let mut options = ClientOptions::parse("mongodb://db.example/shop").await?;
//! options.command_event_handler = Some(tower_apm::mongodb::command_events());
//! let client = Client::with_options(options)?;
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! - A span is named after the collection and the command: `orders.find`. The service target is the database:
//!   `mongodb/shop`.
//! - A command whose name matches the option `mongodb_capture_statement_commands` is recorded as extended JSON in which
//!   each value is `?`.
//! - A command that fails has the outcome `failure`, and its error is recorded. The same applies to a command that
//!   succeeds with write errors in its reply.
//! - A command that is cancelled has the outcome `unknown` and no duration, because the driver does not report when it ended.
//!
//! The driver copies each command and each reply for its events, even outside of transactions.
//!
//! This feature enables no features of the driver. Your service chooses the TLS provider and the version of bson.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use mongodb::{
    bson::{Bson, Document},
    error::ErrorKind,
    event::{
        EventHandler,
        command::{CommandEvent, CommandStartedEvent},
    },
    options::ServerAddress,
};
use opentelemetry::{KeyValue, trace::SpanKind};

use super::{ExitSpan, record_failure};

/// The most commands that wait for their end. At this limit, a new command replaces the oldest one.
const MAX_RUNNING: usize = 1024;
/// The time after which a command of an ended transaction is treated as cancelled.
const MAX_AFTER_TRANSACTION: Duration = Duration::from_secs(60);

/// Creates the handler that records the commands of a client, for `ClientOptions::command_event_handler`.
///
/// A client has only one handler. To use a handler of your own, call [`CommandRecorder`] in it.
pub fn command_events() -> EventHandler<CommandEvent> {
    let recorder = CommandRecorder::default();
    EventHandler::callback(move |event| recorder.record(&event))
}

/// Records the commands of one client. See [`command_events`].
///
/// ```
/// use mongodb::event::{EventHandler, command::CommandEvent};
/// use tower_apm::mongodb::CommandRecorder;
///
/// let apm = CommandRecorder::default();
/// let handler = EventHandler::callback(move |event: CommandEvent| {
///     apm.record(&event);
///     // code of your own
/// });
/// # let _ = handler;
/// ```
#[derive(Debug, Default)]
pub struct CommandRecorder {
    running: Mutex<VecDeque<Running>>,
}

#[derive(Debug)]
struct Running {
    request_id: i32,
    start: SystemTime,
    span: ExitSpan,
}

impl CommandRecorder {
    /// Starts or ends the span of a command.
    ///
    /// Call this method in an `EventHandler::callback`. An asynchronous callback and a channel run outside of the
    /// caller's task, where the transaction cannot be found.
    pub fn record(&self, event: &CommandEvent) {
        match event {
            CommandEvent::Started(started) => self.start(started),
            CommandEvent::Succeeded(succeeded) => {
                let span = self.take(succeeded.request_id);
                if let Some(error) = write_error(&succeeded.reply) {
                    record_failure(span.as_ref(), &error);
                }
                span.into_iter().for_each(ExitSpan::end);
            }
            CommandEvent::Failed(failed) => {
                let span = self.take(failed.request_id);
                record_failure(span.as_ref(), &command_error(&failed.failure.kind));
                span.into_iter().for_each(ExitSpan::end);
            }
            _ => {}
        }
    }

    fn start(&self, started: &CommandStartedEvent) {
        let start = SystemTime::now();
        let Some(span) = ExitSpan::start(SpanKind::Client, || describe(started)) else { return };
        let patterns = span.config().map(|config| &config.mongodb_capture_statement_commands);
        let is_captured =
            patterns.is_some_and(|patterns| patterns.iter().any(|one| one.matches(&started.command_name)));
        // the driver removes the content of commands that contain credentials
        if is_captured && !started.command.is_empty() {
            span.set_attribute("db.query.text", shape_of_command(&started.command));
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let is_cancelled = |running: &Running| {
            running.span.has_transaction_ended()
                && running.start.elapsed().is_ok_and(|elapsed| elapsed > MAX_AFTER_TRANSACTION)
        };
        let mut cancelled = VecDeque::new();
        if running.front().is_some_and(is_cancelled) {
            let (old, current) = running.drain(..).partition(is_cancelled);
            (cancelled, *running) = (old, current);
        } else if running.len() == MAX_RUNNING {
            cancelled.extend(running.pop_front());
        }
        running.push_back(Running { request_id: started.request_id, start, span });
        drop(running);
        cancelled.into_iter().for_each(|running| running.span.cancel_at(running.start));
    }

    fn take(&self, request_id: i32) -> Option<ExitSpan> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let at = running.iter().rposition(|running| running.request_id == request_id)?;
        running.remove(at).map(|running| running.span)
    }
}

fn describe(started: &CommandStartedEvent) -> (Cow<'static, str>, Vec<KeyValue>) {
    let command = &started.command_name;
    let name = match collection(command, &started.command) {
        Some(collection) => format!("{collection}.{command}"),
        None => command.clone(),
    };
    let mut attributes = Vec::with_capacity(6);
    attributes.push(KeyValue::new("db.system.name", "mongodb"));
    attributes.push(KeyValue::new("db.operation.name", command.clone()));
    attributes.push(KeyValue::new("db.namespace", started.db.clone()));
    if let ServerAddress::Tcp { host, port } = &started.connection.address {
        attributes.push(KeyValue::new("server.address", host.clone()));
        attributes.push(KeyValue::new("server.port", i64::from(port.unwrap_or(27017))));
    }
    (name.into(), attributes)
}

/// Returns the collection: the value of the field with the command's name, or of `collection` for `getMore`.
fn collection<'a>(name: &str, command: &'a Document) -> Option<&'a str> {
    let field = if name == "getMore" { "collection" } else { name };
    command.get_str(field).ok().filter(|collection| !collection.is_empty())
}

/// Fields that the driver adds to each command.
const ADDED: [&str; 10] = [
    "lsid",
    "$db",
    "$clusterTime",
    "$readPreference",
    "txnNumber",
    "startTransaction",
    "autocommit",
    "readConcern",
    "writeConcern",
    "apiVersion",
];

/// Returns a command as extended JSON in which each value is `?`, except the collection.
fn shape_of_command(command: &Document) -> String {
    let mut shape = Shape::default();
    let fields = command.iter().filter(|(key, _)| !ADDED.contains(&key.as_str()));
    shape.object(fields, |shape, at, value| match value {
        Bson::String(collection) if at == 0 => shape.string(collection),
        value => shape.value(value, 0),
    });
    shape.json
}

/// Writes JSON without values.
#[derive(Default)]
struct Shape {
    json: String,
}

impl Shape {
    /// The maximum length of the JSON. A statement is cut to `long_field_max_length` characters when it is sent.
    const MAX_LENGTH: usize = 40_000;
    const MAX_DEPTH: usize = 32;

    fn object<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a String, &'a Bson)>,
        mut write: impl FnMut(&mut Self, usize, &'a Bson),
    ) {
        self.json.push('{');
        for (at, (key, value)) in fields.enumerate() {
            if self.json.len() > Self::MAX_LENGTH {
                break;
            }
            if at > 0 {
                self.json.push(',');
            }
            self.string(key);
            self.json.push(':');
            write(self, at, value);
        }
        self.json.push('}');
    }

    fn value(&mut self, value: &Bson, depth: usize) {
        match value {
            Bson::Document(document) if depth < Self::MAX_DEPTH => {
                self.object(document.iter(), |shape, _, value| shape.value(value, depth + 1));
            }
            Bson::Array(values) if depth < Self::MAX_DEPTH && values.iter().any(is_nested) => {
                self.json.push('[');
                for (at, value) in values.iter().enumerate() {
                    if self.json.len() > Self::MAX_LENGTH {
                        break;
                    }
                    if at > 0 {
                        self.json.push(',');
                    }
                    self.value(value, depth + 1);
                }
                self.json.push(']');
            }
            _ => self.json.push_str("\"?\""),
        }
    }

    fn string(&mut self, text: &str) {
        // serializing a string cannot fail
        let _ = write!(self.json, "{}", serde_json::Value::from(text));
    }
}

fn is_nested(value: &Bson) -> bool {
    matches!(value, Bson::Document(_) | Bson::Array(_))
}

/// An error of a command, without the values that the server quotes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct CommandError(String);

/// Returns the message of a duplicate key error without the key.
fn without_key(message: &str) -> Option<&str> {
    message.split_once(" dup key:").map(|(message, _)| message)
}

/// Returns the error without the server's reply, which the driver adds to the text.
fn command_error(kind: &ErrorKind) -> CommandError {
    CommandError(match kind {
        ErrorKind::Command(error) => {
            let message = without_key(&error.message).unwrap_or(&error.message);
            format!("{message} ({})", error.code_name)
        }
        other => other.to_string(),
    })
}

/// Returns the errors in the reply of a command that has succeeded.
fn write_error(reply: &Document) -> Option<CommandError> {
    let first = |errors: &'static str| reply.get_array(errors).ok()?.first()?.as_document();
    if let Some(error) = first("writeErrors").or_else(|| reply.get_document("writeConcernError").ok()) {
        let message = error.get_str("errmsg").unwrap_or("write error");
        return Some(CommandError(without_key(message).unwrap_or(message).to_owned()));
    }
    let errors = reply.get("nErrors").and_then(|errors| errors.as_i32().map(i64::from).or_else(|| errors.as_i64()));
    let errors = errors.filter(|errors| *errors > 0)?;
    Some(CommandError(format!("{errors} operations of the bulk write failed")))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn statement_has_no_values() {
        let command = doc! {
            "find": "orders",
            "filter": { "card": "4111", "$or": [{ "age": { "$gt": 30 } }, { "tags": { "$in": ["a", "b"] } }] },
            "limit": 10,
            "lsid": { "id": "session" },
            "$db": "shop",
        };
        let want =
            r#"{"find":"orders","filter":{"card":"?","$or":[{"age":{"$gt":"?"}},{"tags":{"$in":"?"}}]},"limit":"?"}"#;
        assert_eq!(shape_of_command(&command), want);
        assert_eq!(shape_of_command(&doc! { "aggregate": 1, "pipeline": [] }), r#"{"aggregate":"?","pipeline":"?"}"#);
    }

    #[test]
    fn statement_is_bounded() {
        let mut deep = doc! { "secret": "hunter2" };
        for _ in 0..100 {
            deep = doc! { "a": [deep] };
        }
        let wide: Vec<_> = (0..100_000).map(|n| doc! { "n": n }).collect();
        let shape = shape_of_command(&doc! { "find": "orders", "deep": deep, "wide": wide });
        assert!(shape.len() < 2 * Shape::MAX_LENGTH && !shape.contains("hunter2"), "{}", shape.len());
        serde_json::from_str::<serde_json::Value>(&shape).unwrap();
    }

    #[test]
    fn collection_is_that_of_the_command() {
        for (name, command, want) in [
            ("find", doc! { "find": "orders" }, Some("orders")),
            ("getMore", doc! { "getMore": 7_i64, "collection": "orders" }, Some("orders")),
            ("aggregate", doc! { "aggregate": 1 }, None),
            ("saslStart", doc! {}, None),
        ] {
            assert_eq!(collection(name, &command), want, "{name}");
        }
    }

    #[test]
    fn error_in_a_reply_is_found_and_does_not_quote_the_key() {
        let duplicate = "E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: \"a@b\" }";
        let message = "E11000 duplicate key error collection: shop.users index: email_1";
        for (reply, want) in [
            (doc! { "ok": 1, "n": 1 }, None),
            (doc! { "ok": 1, "writeErrors": [] }, None),
            (doc! { "ok": 1, "writeErrors": [{ "code": 11000, "errmsg": duplicate }] }, Some(message)),
            (doc! { "ok": 1, "writeConcernError": { "errmsg": "timed out" } }, Some("timed out")),
            (doc! { "ok": 1, "nErrors": 0 }, None),
            (doc! { "ok": 1, "nErrors": 2 }, Some("2 operations of the bulk write failed")),
        ] {
            assert_eq!(write_error(&reply).map(|error| error.0), want.map(str::to_owned), "{reply}");
        }
    }
}
