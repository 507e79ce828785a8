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

#[cfg(test)]
mod tests {
    use opentelemetry::{StringValue, trace::Event};
    use opentelemetry_proto::{
        tonic::collector::trace::v1::ExportTraceServiceRequest,
        transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
    };
    use prost::Message;

    use super::*;
    use crate::{
        otlp::project,
        record::{SpanId, TraceId},
    };

    fn on_the_wire(span: &SpanData) -> usize {
        let resource = ResourceAttributesWithSchema::default();
        let resource_spans = group_spans_by_resource_and_scope(vec![span.clone()], &resource);
        ExportTraceServiceRequest { resource_spans }.encoded_len()
    }

    #[test]
    fn no_span_is_larger_than_its_estimate() {
        let bare = || project::carrier(TraceId(u128::MAX), SpanId(u64::MAX), SpanId(u64::MAX), u64::MAX >> 12, None);
        let values: Vec<Value> = vec![
            "".into(),
            "ä".repeat(70_000).into(),
            i64::MIN.into(),
            f64::MIN.into(),
            true.into(),
            Value::Array(vec![StringValue::from("a"); 500].into()),
            Value::Array(vec![StringValue::from("a".repeat(40_000)); 5].into()),
            Value::Array(vec![i64::MIN; 500].into()),
            Value::Array(vec![f64::MIN; 500].into()),
            Value::Array(vec![true; 500].into()),
        ];
        for value in values {
            let attributes = vec![KeyValue::new("k".repeat(200), value)];
            let mut large = SpanData { attributes: attributes.clone(), ..bare() };
            assert!(on_the_wire(&large) <= span(&large), "{attributes:?}");
            for _ in 0..3 {
                let time = large.start_time;
                large.events.events.push(Event::new("exception", time, attributes.clone(), u32::MAX));
            }
            large.links = super::super::project::links_to(&[(TraceId(u128::MAX), SpanId(u64::MAX)); 20]);
            assert!(on_the_wire(&large) <= span(&large), "{attributes:?}");
        }
    }
}
