//! From records to the spans and events of OpenTelemetry's SDK, purely: no clock, no I/O, no globals.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Event, Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::dialect;
use crate::{
    elastic::{map, model},
    record::{self, ErrorRecord, SpanRecord, TransactionRecord},
    sanitize::Sanitizer,
    stack::Frame,
};

/// Who made the spans of a service whose framework is not known.
pub(super) const SCOPE: &str = "tower-apm";
/// The server makes an error of an event of this name, and of no other.
const EXCEPTION: &str = "exception";

/// A transaction as the native way maps it, and as a span.
pub(super) fn transaction(
    record: &TransactionRecord,
    told: &model::Transaction<'_>,
    framework: Option<&'static str>,
) -> SpanData {
    let attributes = dialect::transaction(told);
    SpanData {
        parent_span_id: span_id(told.parent_id.map_or(0, |id| id.0)),
        parent_span_is_remote: told.parent_id.is_some(),
        span_kind: transaction_kind(record),
        status: status(told.outcome),
        links: links(&told.links, &[]),
        ..bare(
            (told.trace_id, told.id, told.sample_rate),
            told.name.to_string(),
            (told.timestamp, record.duration),
            attributes,
            record.context.framework.or(framework),
        )
    }
}

/// The server takes for a transaction what has no parent, serves or consumes.
fn transaction_kind(record: &TransactionRecord) -> SpanKind {
    let told = record.otel.as_ref().map(|otel| otel.kind.clone());
    match (told, record.parent_id) {
        (Some(kind @ (SpanKind::Server | SpanKind::Consumer)), _) => kind,
        (Some(kind), None) => kind,
        (None, None) if record.context.request.is_none() && record.kind != "messaging" => SpanKind::Internal,
        _ if record.kind == "messaging" => SpanKind::Consumer,
        _ => SpanKind::Server,
    }
}

pub(super) fn span(record: &SpanRecord, told: &model::Span<'_>, framework: Option<&'static str>) -> SpanData {
    let attributes = dialect::span(told);
    SpanData {
        parent_span_id: span_id(told.parent_id.0),
        span_kind: match &record.kind {
            // these would be transactions
            SpanKind::Server | SpanKind::Consumer => SpanKind::Internal,
            kind => kind.clone(),
        },
        status: status(told.outcome),
        links: links(&told.links, &told.child_ids),
        ..bare(
            (told.trace_id, told.id, told.sample_rate),
            told.name.to_string(),
            (told.timestamp, record.duration),
            attributes,
            framework,
        )
    }
}

/// An error as the event of its span.
pub(super) fn error(record: &ErrorRecord, frames: &[Frame], sanitizer: &Sanitizer) -> Event {
    let told = map::error(record, frames, sanitizer);
    let (attributes, dropped) = dialect::exception(&told);
    Event::new(EXCEPTION, time(record.timestamp), attributes, dropped)
}

/// A span of no length, to carry errors whose own span is not at hand.
pub(super) fn carrier(
    trace_id: record::TraceId,
    parent: record::SpanId,
    id: record::SpanId,
    timestamp: u64,
    framework: Option<&'static str>,
) -> SpanData {
    SpanData {
        parent_span_id: span_id(parent.0),
        status: Status::Ok,
        ..bare((trace_id, id, None), EXCEPTION.into(), (timestamp, Duration::ZERO), (Vec::new(), 0), framework)
    }
}

fn bare(
    (trace_id, id, sample_rate): (record::TraceId, record::SpanId, Option<f64>),
    name: String,
    (timestamp, duration): (u64, Duration),
    (attributes, dropped_attributes_count): (Vec<KeyValue>, u32),
    framework: Option<&'static str>,
) -> SpanData {
    let start_time = time(timestamp);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(trace_id.0.to_be_bytes()),
            span_id(id.0),
            TraceFlags::SAMPLED,
            false,
            weight(sample_rate),
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Owned(name),
        start_time,
        end_time: start_time.checked_add(duration).unwrap_or(start_time),
        attributes,
        dropped_attributes_count,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder(framework.unwrap_or(SCOPE)).build(),
    }
}

fn span_id(id: u64) -> SpanId {
    SpanId::from_bytes(id.to_be_bytes())
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(UNIX_EPOCH)
}

fn status(outcome: &str) -> Status {
    match outcome {
        "success" => Status::Ok,
        "failure" => Status::error(""),
        _ => Status::Unset,
    }
}

/// `ot=p:N`: the server counts such a span for 2^N. Other rates than halves of halves go to the nearest one.
fn weight(sample_rate: Option<f64>) -> TraceState {
    let Some(rate) = sample_rate.filter(|rate| *rate < 1.0) else { return TraceState::NONE };
    // 63 counts for nothing
    let p = if rate <= 0.0 { 63 } else { (-rate.log2()).round().min(62.0) as u8 };
    match p {
        0 => TraceState::NONE,
        p => TraceState::from_key_value([("ot", format!("p:{p}"))]).unwrap_or_default(),
    }
}

fn links(links: &[model::Link], children: &[record::SpanId]) -> SpanLinks {
    let context = |trace_id: record::TraceId, id: record::SpanId| {
        let trace_id = TraceId::from_bytes(trace_id.0.to_be_bytes());
        SpanContext::new(trace_id, span_id(id.0), TraceFlags::default(), false, TraceState::NONE)
    };
    let to_others = links.iter().map(|link| Link::new(context(link.trace_id, link.span_id), Vec::new(), 0));
    let to_children = children.iter().map(|id| {
        let is_child = vec![KeyValue::new("elastic.is_child", true)];
        Link::new(context(record::TraceId(0), *id), is_child, 0)
    });
    let mut found = SpanLinks::default();
    found.links = to_others.chain(to_children).collect();
    found
}

#[cfg(test)]
pub(super) fn links_to(spans: &[(record::TraceId, record::SpanId)]) -> SpanLinks {
    let model = spans.iter().map(|(trace_id, span_id)| model::Link { trace_id: *trace_id, span_id: *span_id });
    links(&model.collect::<Vec<_>>(), &[record::SpanId(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_weight_is_the_nearest_power_of_two() {
        for (rate, header) in [
            (None, ""),
            (Some(1.0), ""),
            (Some(0.9), ""),
            (Some(0.5), "ot=p:1"),
            (Some(0.25), "ot=p:2"),
            (Some(0.1), "ot=p:3"),
            (Some(0.01), "ot=p:7"),
            (Some(0.0001), "ot=p:13"),
            (Some(0.0), "ot=p:63"),
        ] {
            assert_eq!(weight(rate).header(), header, "{rate:?}");
        }
    }
}
