//! Log records (`input/otlp/logs.go` of elastic/apm-data): lines, or errors where they tell of an exception.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, logs::v1::LogRecord};

use super::{
    Base, Told,
    attributes::{self, Labels, Seen},
    event::{Exception, next_id},
    hex, resource,
    tree::Tree,
    web::Web,
};
use crate::devserver::event::Kind;

pub(in super::super) fn logs(
    request: &ExportLogsServiceRequest,
    received: SystemTime,
    ids: &mut u128,
    each: &mut impl FnMut(Told),
) {
    for group in &request.resource_logs {
        let (metadata, origin) = resource::resource(group.resource.as_ref(), received);
        each(Told::Metadata(metadata));
        for logs in &group.scope_logs {
            let base = Base { origin: &origin, scope: logs.scope.as_ref() };
            for record in &logs.log_records {
                each(one(&base, record, ids));
            }
        }
    }
}

fn one(base: &Base<'_>, record: &LogRecord, ids: &mut u128) -> Told {
    let mut out = Tree::default();
    let mut labels = base.labels();
    let body = Seen::of(record.body.as_ref());
    if let Seen::Map(map) = body {
        attributes::of(map).for_each(|(key, value)| labels.label(key, value));
    }
    let (mut exception, mut web) = (Exception::default(), Web::default());
    let (mut event, mut domain) = ("", "");
    for (key, value) in attributes::of(&record.attributes) {
        match key {
            "event.name" => event = value.text(),
            "event.domain" => domain = value.text(),
            "session.id" | "network.connection.type" => {
                web.take(key, value);
            }
            _ if exception.take(key, value) => {}
            _ => labels.set_any(key, value),
        }
    }
    let device = event.strip_prefix("device.").or_else(|| (domain == "device" && !event.is_empty()).then_some(event));
    let is_crash = device == Some("crash");
    let is_error = exception.is_there() || is_crash;
    if let Some(action) = device {
        out.put("ecs/event/category", "device");
        out.text("ecs/event/action", if is_crash { "" } else { action });
    }
    if is_crash {
        out.put("ecs/error/type", "crash");
    }
    out.number("ecs/event/severity", record.severity_number.unsigned_abs());
    base.framework(&mut out, "ecs/service");
    web.ecs(&mut out);
    let message = body.told();
    let nanos = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
    let (trace_id, span_id) = (hex(&record.trace_id), hex(&record.span_id));
    if is_error {
        error(&mut out, &exception, &message, &record.severity_text, labels, ids);
        out.put("timestamp", base.time(nanos));
        out.text("trace_id", &trace_id);
        out.text("parent_id", &span_id);
        return Told::Event(Kind::Error, out.0);
    }
    out.put("@timestamp", base.time(nanos));
    if !matches!(body, Seen::Nothing) {
        out.put("message", message);
    }
    out.text("log.level", &record.severity_text);
    out.text("trace.id", &trace_id);
    out.text("span.id", &span_id);
    labels.finish(&mut out, "labels");
    Told::Event(Kind::Log, out.0)
}

fn error(out: &mut Tree, exception: &Exception<'_>, message: &str, level: &str, labels: Labels, ids: &mut u128) {
    if exception.is_there() {
        exception.write(out, ids);
    } else {
        out.put("id", next_id(ids));
    }
    out.text("log/message", message);
    // intake has no level without a message
    out.text(if message.is_empty() { "ecs/log/level" } else { "log/level" }, level);
    labels.of_error().finish(out, "context/tags");
}
