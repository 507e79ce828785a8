//! What the APM Server makes of OTLP (`input/otlp` of elastic/apm-data), in the shape of intake v2. Pure.
//!
//! What intake has no place for stands under `ecs`, by the name that it has in Elasticsearch; what the server throws
//! away under `dropped`.

mod attributes;
mod event;
mod logs;
mod metrics;
mod resource;
mod span;
mod transaction;
mod tree;
mod url;
mod web;
mod weight;

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::InstrumentationScope,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use serde_json::{Map, Value};

use self::{attributes::Labels, resource::Origin, tree::Tree};
pub(super) use self::{logs::logs, metrics::metrics};
use crate::devserver::event::Kind;

/// What a message tells, piece by piece.
pub(super) enum Told {
    /// Of whom the next events are.
    Metadata(Map<String, Value>),
    Event(Kind, Map<String, Value>),
    /// So many data points of metrics that the server does not know.
    Unsupported(u64),
}

/// What the events of one scope have in common.
struct Base<'a> {
    origin: &'a Origin,
    scope: Option<&'a InstrumentationScope>,
}

impl Base<'_> {
    /// Under `context/service` or where else a service stands.
    fn framework(&self, out: &mut Tree, path: &str) {
        let Some(scope) = self.scope.filter(|scope| !scope.name.is_empty()) else { return };
        out.text(&format!("{path}/framework/name"), &scope.name);
        out.text(&format!("{path}/framework/version"), &scope.version);
    }

    /// Labels in the making: of the scope's attributes the server keeps none.
    fn labels(&self) -> Labels {
        let mut labels = Labels::new(self.origin.data_stream.clone());
        for (key, value) in self.scope.map(|scope| attributes::of(&scope.attributes)).into_iter().flatten() {
            if !labels.data_stream(key, value) {
                labels.drop(&format!("scope.{key}"), value);
            }
        }
        labels
    }

    /// Nanoseconds as microseconds, by the server's clock where the sender told the time of its own.
    fn time(&self, nanos: u64) -> i64 {
        i64::try_from(i128::from(nanos) / 1000 + i128::from(self.origin.shift)).unwrap_or_default()
    }
}

pub(super) fn traces(
    request: &ExportTraceServiceRequest,
    received: SystemTime,
    ids: &mut u128,
    each: &mut impl FnMut(Told),
) {
    for group in &request.resource_spans {
        let (metadata, origin) = resource::resource(group.resource.as_ref(), received);
        each(Told::Metadata(metadata));
        for spans in &group.scope_spans {
            let base = Base { origin: &origin, scope: spans.scope.as_ref() };
            for span in &spans.spans {
                one_span(&base, span, ids, each);
            }
        }
    }
}

fn one_span(base: &Base<'_>, span: &Span, ids: &mut u128, each: &mut impl FnMut(Told)) {
    let is_transaction = is_zero(&span.parent_span_id) || matches!(span.kind(), SpanKind::Server | SpanKind::Consumer);
    let mut out = Tree::default();
    out.text("id", &hex(&span.span_id));
    out.text("trace_id", &hex(&span.trace_id));
    out.text("parent_id", &hex(&span.parent_span_id));
    out.put("name", span.name.as_str());
    out.put("timestamp", base.time(span.start_time_unix_nano));
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    // milliseconds
    out.put("duration", duration as f64 / 1e6);
    if let Some(rate) = weight::sample_rate(&span.trace_state) {
        out.put("sample_rate", rate);
    }
    let mut labels = base.labels();
    links(&mut out, &mut labels, span, is_transaction);
    base.framework(&mut out, "context/service");
    let (kind, web) = if is_transaction {
        out.put("sampled", true);
        (Kind::Transaction, transaction::transaction(base, span, &mut labels, &mut out))
    } else {
        (Kind::Span, span::span(span, &mut labels, &mut out))
    };
    let data_stream = labels.finish(&mut out, "context/tags");
    let parent = event::Parent::of(span, kind, &out, web, data_stream);
    each(Told::Event(kind, out.0));
    for happened in &span.events {
        let (kind, event) = event::event(base, &parent, happened, ids);
        each(Told::Event(kind, event));
    }
}

fn links(out: &mut Tree, labels: &mut Labels, span: &Span, is_transaction: bool) {
    let (mut links, mut children) = (Vec::new(), Vec::new());
    for link in &span.links {
        let is_child = attributes::of(&link.attributes)
            .any(|(key, value)| matches!(key, "elastic.is_child" | "is_child") && value.flag());
        if is_child {
            children.push(Value::from(hex(&link.span_id)));
            continue;
        }
        let mut to = Tree::default();
        to.text("trace_id", &hex(&link.trace_id));
        to.text("span_id", &hex(&link.span_id));
        links.push(Value::Object(to.0));
        for (key, value) in attributes::of(&link.attributes) {
            labels.drop(&format!("link.{key}"), value);
        }
    }
    if !links.is_empty() {
        out.put("links", links);
    }
    if !children.is_empty() {
        // intake knows children of spans only
        out.put(if is_transaction { "ecs/child/id" } else { "child_ids" }, children);
    }
}

/// What the status says; nothing where it is not set.
fn outcome(span: &Span) -> Option<&'static str> {
    match span.status.as_ref()?.code() {
        StatusCode::Ok => Some("success"),
        StatusCode::Error => Some("failure"),
        StatusCode::Unset => None,
    }
}

fn is_zero(id: &[u8]) -> bool {
    id.iter().all(|byte| *byte == 0)
}

/// Empty for an id that is none.
fn hex(id: &[u8]) -> String {
    if is_zero(id) { String::new() } else { id.iter().map(|byte| format!("{byte:02x}")).collect() }
}

#[cfg(test)]
mod tests;
