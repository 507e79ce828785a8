//! How large a span will be on the wire: an upper bound, so that no batch passes gRPC's limit.

use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// Ids, times, kind, status, flags and the tags and lengths around them.
const BARE_SPAN: usize = 160;
const BARE_EVENT: usize = 32;
const BARE_LINK: usize = 64;
/// Tags and lengths around a key and its value.
const BARE_ATTRIBUTE: usize = 32;

pub(super) fn span(span: &SpanData) -> usize {
    let links = span.links.iter().map(|link| BARE_LINK + attributes(&link.attributes)).sum::<usize>();
    BARE_SPAN
        + span.name.len()
        + span.instrumentation_scope.name().len()
        + attributes(&span.attributes)
        + links
        + span.events.iter().map(event).sum::<usize>()
}

pub(super) fn event(event: &opentelemetry::trace::Event) -> usize {
    BARE_EVENT + event.name.len() + attributes(&event.attributes)
}

fn attributes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(|attribute| BARE_ATTRIBUTE + attribute.key.as_str().len() + value(&attribute.value)).sum()
}

fn value(value: &Value) -> usize {
    match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(list)) => list.iter().map(|text| 16 + text.as_str().len()).sum(),
        Value::Array(Array::Bool(list)) => 16 * list.len(),
        Value::Array(Array::I64(list)) => 16 * list.len(),
        Value::Array(Array::F64(list)) => 16 * list.len(),
        _ => 16,
    }
}
