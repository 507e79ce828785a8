//! Lines in the Elastic Common Schema.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::line::record_of;
use crate::{
    capture::redacted,
    config::Config,
    record::{Exception, LabelValue, LogRecord},
    sanitize::{REDACTED, Sanitizer},
    transaction::Recorder,
};

const ECS_VERSION: &str = "8.11.0";

/// All that a line can have.
const OWN: [&str; 24] = [
    "@timestamp",
    "log.level",
    "message",
    "ecs.version",
    "log.logger",
    "log.origin.file.name",
    "log.origin.file.line",
    "process.pid",
    "process.thread.name",
    "trace.id",
    "transaction.id",
    "span.id",
    "error.id",
    "error.stack_trace",
    "error.type",
    "error.message",
    "service.name",
    "service.version",
    "service.environment",
    "service.node.name",
    "event.dataset",
    "labels",
    "tags",
    "numeric_labels",
];

/// What the line itself says, whatever fields of those names an event has.
const FIXED: [&str; 7] =
    ["@timestamp", "log.level", "message", "ecs.version", "log.logger", "process.pid", "process.thread.name"];

/// Formats log lines as JSON objects in the Elastic Common Schema, with the trace ids.
///
/// Filebeat and Elastic Agent ship these lines without a configuration of fields, and Kibana shows them next to the trace.
///
/// Add the printer after [`Agent::tracing_layer`](crate::Agent::tracing_layer). Otherwise, lines have no `error.id`.
///
/// [`Agent::ecs_format`](crate::Agent::ecs_format) returns the format, for a printer of `tracing_subscriber` with fields in
/// JSON. With [`install`](crate::AgentBuilder::install), use [`LogFormat::Ecs`](crate::LogFormat::Ecs).
///
/// | field | from |
/// |---|---|
/// | `@timestamp`, `log.level`, `message`, `log.logger`, `log.origin.file.*` | the event; the logger is its target |
/// | `trace.id`, `transaction.id`, `span.id` | the current transaction and span |
/// | `error.type`, `error.message`, `error.stack_trace` | a field `error` or `err`, or any field that is an error value; the stack is the chain of causes |
/// | `error.id` | the error document, if an ERROR event with an error was recorded as an error document |
/// | `service.*`, `event.dataset` | the agent's options; the dataset is the service's name, and for the agent's own lines ends in `.apm-agent` |
/// | `labels` | other fields of the event, and the fields of the spans around it |
///
/// A field of an event with a dot in its name is treated as a field of ECS and is not changed (`user.id = 7`). It replaces a
/// field of the same name in the table, except for the fields in the first row. Values of secret names and secrets in
/// free text are redacted (`sanitize_field_names`).
///
/// Source: Elastic's agent specification, log correlation and log reformatting.
#[derive(Clone)]
pub struct EcsFormat {
    recorder: Arc<Recorder>,
}

impl EcsFormat {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }
}

impl fmt::Debug for EcsFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcsFormat").finish_non_exhaustive()
    }
}

impl<S> FormatEvent<S, JsonFields> for EcsFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let sanitizer = self.recorder.sanitizer();
        let record = clean(record_of(event, &self.recorder), &sanitizer);
        let mut labels = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                labels.extend(labels_of_span(fields, &sanitizer));
            }
        }
        let line = Line::new(record, labels, &self.recorder.config());
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// Redacts a line before it is printed.
fn clean(mut record: LogRecord, sanitizer: &Sanitizer) -> LogRecord {
    let text = |text: &mut String| *text = sanitizer.owned_text(std::mem::take(text).into()).into_owned();
    text(&mut record.message);
    record.labels = record.labels.into_iter().map(|label| redacted(label, sanitizer)).collect();
    if let Some(error) = &mut record.error {
        text(&mut error.message);
        error.causes.iter_mut().for_each(|cause| text(&mut cause.message));
    }
    record
}

/// A span's fields, as they were formatted when they were recorded.
fn labels_of_span(fields: &str, sanitizer: &Sanitizer) -> Map<String, Value> {
    let fields: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
    let told = fields.into_iter().filter(|(name, _)| !name.starts_with("otel."));
    let cleaned = told.map(|(name, value)| {
        let value = match value {
            _ if sanitizer.is_secret(&name) => REDACTED.into(),
            Value::String(text) => sanitizer.owned_text(text.into()).into_owned().into(),
            other => other,
        };
        (label_key(&name), value)
    });
    cleaned.collect()
}

/// Whether a field of an event is one of ECS, and fits beside those of the line: none of both is an object within the
/// other.
fn is_ecs(name: &str) -> bool {
    let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    name.contains('.')
        && name.split('.').all(|part| !part.trim().is_empty())
        && !FIXED.contains(&name)
        && !OWN.iter().any(|own| within(own, name) || within(name, own))
}

fn label_key(name: &str) -> String {
    name.replace(['.', '*', '"'], "_")
}

fn value(value: LabelValue) -> Value {
    match value {
        LabelValue::Text(text) => text.into_owned().into(),
        LabelValue::Integer(number) => number.into(),
        LabelValue::Float(number) if number.is_finite() => number.into(),
        LabelValue::Float(number) => number.to_string().into(),
        LabelValue::Bool(flag) => flag.into(),
    }
}

/// Fields in the order in which they are written, each once.
struct Line {
    fields: Vec<(Cow<'static, str>, Value)>,
}

impl Line {
    fn new(record: LogRecord, mut labels: Map<String, Value>, config: &Config) -> Self {
        let mut line = Self { fields: Vec::with_capacity(24) };
        let dataset = record.dataset(&config.service_name).into_owned();
        line.set("@timestamp", now());
        line.set("log.level", record.level);
        line.set("message", record.message);
        line.set("ecs.version", ECS_VERSION);
        for label in record.labels {
            let name = label.key;
            if is_ecs(&name) {
                line.set(name, value(label.value));
            } else {
                labels.insert(label_key(&name), value(label.value));
            }
        }
        line.set("log.logger", record.logger);
        line.add("log.origin.file.name", record.file);
        line.add("log.origin.file.line", record.line);
        line.set("process.pid", std::process::id());
        if let Some(thread) = record.thread {
            line.set("process.thread.name", String::from(thread));
        }
        if let Some(place) = record.place {
            line.add("trace.id", Some(place.trace_id.to_string()));
            line.add("transaction.id", place.transaction_id.map(|id| id.to_string()));
            line.add("span.id", place.span_id.map(|id| id.to_string()));
        }
        line.add("error.id", record.error_id.map(|id| id.to_string()));
        if let Some(error) = record.error {
            line.add("error.stack_trace", (!error.causes.is_empty()).then(|| causes(&error)));
            line.add("error.type", error.kind);
            line.add("error.message", Some(error.message));
        }
        line.add("service.name", Some(config.service_name.clone()));
        line.add("service.version", config.service_version.clone());
        line.add("service.environment", config.environment.clone());
        line.add("service.node.name", config.service_node_name.clone());
        line.add("event.dataset", Some(dataset));
        if !labels.is_empty() {
            line.set("labels", labels);
        }
        line
    }

    /// The last of equal names counts.
    fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name, value)),
        }
    }

    /// Unless the service itself has said it.
    fn add(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value.filter(|_| !self.fields.iter().any(|(known, _)| known == name)) {
            self.fields.push((name.into(), value.into()));
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        self.fields.iter().try_for_each(|(name, value)| map.serialize_entry(&**name, value))?;
        map.end()
    }
}

/// ISO 8601 in UTC with milliseconds.
fn now() -> String {
    let mut text = String::new();
    // a clock that cannot be told is no reason to lose the line
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    match text.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{}Z", &fraction[..fraction.len().min(3)]),
        None => text,
    }
}

fn causes(error: &Exception) -> String {
    let mut text = String::new();
    for error in std::iter::once(error).chain(&error.causes) {
        let before = if text.is_empty() { "" } else { "\nCaused by: " };
        let kind = error.kind.as_deref().map(|kind| format!("{kind}: ")).unwrap_or_default();
        text.extend([before, &kind, &error.message]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: log-reformatting.md
    #[test]
    fn fields_outside_ecs_become_labels() {
        for name in ["user.id", "http.request.method", "log.address", "trace.id", "service.name", "error.code"] {
            assert!(is_ecs(name), "{name}");
        }
        for name in [
            "order",
            "log.level",
            "a..b",
            ".a",
            "a.",
            "a. ",
            "trace.id.short",
            "log.origin",
            "message.text",
            "labels.x",
            "service.node",
        ] {
            assert!(!is_ecs(name), "{name}");
        }
    }
}
