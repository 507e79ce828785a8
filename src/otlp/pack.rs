//! A batch in its smallest form, in which it waits: protobuf messages, compressed.
//!
//! The exporter of `opentelemetry-otlp` takes spans of the SDK, which are ten times larger than their messages. So a batch that
//! waits is written as messages, one after the other, and read back for each attempt.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use opentelemetry::{
    Array, InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{Event, Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_proto::tonic::{
    common::v1::{ArrayValue, KeyValue as KeyValueMessage, any_value},
    trace::v1::{Span, SpanFlags, span, status::StatusCode},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message;

use super::batch::Contents;

/// Each write into the compressor costs thousands of instructions, however small it is.
const CHUNK: usize = 16 * 1024;

/// What comes before the messages.
#[derive(Clone, PartialEq, Message)]
struct Header {
    /// The scopes of the spans, in their order.
    #[prost(message, repeated, tag = "1")]
    scopes: Vec<Scope>,
    #[prost(uint64, tag = "2")]
    metrics: u64,
    #[prost(uint64, tag = "3")]
    lines: u64,
    #[prost(bool, tag = "4")]
    follows_spans: bool,
}

/// The name of a scope, and the number of spans after one another that have it. Spans of this crate's scopes have no more.
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    spans: u64,
}

/// Writes contents in their smallest form.
///
/// # Errors
/// As the compressor, which writes to memory.
pub(super) fn pack(contents: &Contents) -> io::Result<Bytes> {
    let mut scopes = Vec::<Scope>::new();
    for span in &*contents.spans {
        let name = span.instrumentation_scope.name();
        match scopes.last_mut().filter(|scope| scope.name == name) {
            Some(scope) => scope.spans += 1,
            None => scopes.push(Scope { name: name.to_owned(), spans: 1 }),
        }
    }
    let header = Header {
        scopes,
        metrics: contents.metrics.len() as u64,
        lines: contents.lines.len() as u64,
        follows_spans: contents.follows_spans(),
    };
    let mut writer = Writer { buffer: Vec::new(), encoder: GzEncoder::new(Vec::new(), Compression::fast()) };
    writer.write(&header)?;
    contents.spans.iter().try_for_each(|span| writer.write(&Span::from(span.clone())))?;
    contents.metrics.iter().try_for_each(|metric| writer.write(metric))?;
    contents.lines.iter().try_for_each(|line| writer.write(line))?;
    let mut packed = writer.finish()?;
    packed.shrink_to_fit();
    Ok(packed.into())
}

/// Reads what [`pack`] has written.
///
/// # Errors
/// Where it was not written by [`pack`].
pub(super) fn unpack(packed: &[u8]) -> io::Result<Contents> {
    let mut plain = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut plain)?;
    let mut rest = &plain[..];
    let header = Header::decode_length_delimited(&mut rest)?;
    let mut spans = Vec::new();
    for Scope { name, spans: count } in header.scopes {
        let scope = InstrumentationScope::builder(name).build();
        for _ in 0..count {
            spans.push(span(Span::decode_length_delimited(&mut rest)?, scope.clone()));
        }
    }
    let metrics = read(&mut rest, header.metrics)?;
    let lines = read(&mut rest, header.lines)?;
    Ok(Contents::new(spans, metrics, lines, header.follows_spans))
}

struct Writer {
    buffer: Vec<u8>,
    encoder: GzEncoder<Vec<u8>>,
}

impl Writer {
    fn write(&mut self, message: &impl Message) -> io::Result<()> {
        message.encode_length_delimited(&mut self.buffer).map_err(io::Error::other)?;
        if self.buffer.len() >= CHUNK {
            self.encoder.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.encoder.write_all(&self.buffer)?;
        self.encoder.finish()
    }
}

fn read<M: Message + Default>(rest: &mut &[u8], count: u64) -> io::Result<Vec<M>> {
    (0..count).map(|_| M::decode_length_delimited(&mut *rest).map_err(io::Error::from)).collect()
}

/// The reverse of `opentelemetry-proto`'s conversion, for what spans of this crate hold.
fn span(message: Span, instrumentation_scope: InstrumentationScope) -> SpanData {
    let mut events = SpanEvents::default();
    events.dropped_count = message.dropped_events_count;
    events.events = message.events.into_iter().map(event).collect();
    let mut links = SpanLinks::default();
    links.dropped_count = message.dropped_links_count;
    links.links = message.links.into_iter().map(link).collect();
    let status = message.status.unwrap_or_default();
    SpanData {
        // that a span's parent is remote is no property of the span's own context
        span_context: context(&message.trace_id, &message.span_id, &message.trace_state, message.flags, false),
        parent_span_id: span_id(&message.parent_span_id),
        parent_span_is_remote: is_remote(message.flags),
        span_kind: match span::SpanKind::try_from(message.kind) {
            Ok(span::SpanKind::Client) => SpanKind::Client,
            Ok(span::SpanKind::Server) => SpanKind::Server,
            Ok(span::SpanKind::Producer) => SpanKind::Producer,
            Ok(span::SpanKind::Consumer) => SpanKind::Consumer,
            _ => SpanKind::Internal,
        },
        name: Cow::Owned(message.name),
        start_time: time(message.start_time_unix_nano),
        end_time: time(message.end_time_unix_nano),
        attributes: attributes(message.attributes),
        dropped_attributes_count: message.dropped_attributes_count,
        events,
        links,
        status: match StatusCode::try_from(status.code) {
            Ok(StatusCode::Ok) => Status::Ok,
            Ok(StatusCode::Error) => Status::error(status.message),
            _ => Status::Unset,
        },
        instrumentation_scope,
    }
}

fn event(message: span::Event) -> Event {
    let attributes = attributes(message.attributes);
    Event::new(message.name, time(message.time_unix_nano), attributes, message.dropped_attributes_count)
}

fn link(message: span::Link) -> Link {
    let is_remote = is_remote(message.flags);
    let context = context(&message.trace_id, &message.span_id, &message.trace_state, message.flags, is_remote);
    Link::new(context, attributes(message.attributes), message.dropped_attributes_count)
}

fn context(trace_id: &[u8], id: &[u8], state: &str, flags: u32, is_remote: bool) -> SpanContext {
    let trace_id = TraceId::from_bytes(trace_id.try_into().unwrap_or_default());
    let flags = TraceFlags::new((flags & SpanFlags::TraceFlagsMask as u32) as u8);
    SpanContext::new(trace_id, span_id(id), flags, is_remote, state.parse::<TraceState>().unwrap_or_default())
}

/// No bytes: none.
fn span_id(bytes: &[u8]) -> SpanId {
    SpanId::from_bytes(bytes.try_into().unwrap_or_default())
}

fn is_remote(flags: u32) -> bool {
    flags & SpanFlags::ContextIsRemoteMask as u32 != 0
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn attributes(messages: Vec<KeyValueMessage>) -> Vec<KeyValue> {
    let read = |message: KeyValueMessage| Some(KeyValue::new(message.key, value(message.value?.value?)?));
    messages.into_iter().filter_map(read).collect()
}

fn value(value: any_value::Value) -> Option<Value> {
    Some(match value {
        any_value::Value::StringValue(text) => text.into(),
        any_value::Value::BoolValue(value) => value.into(),
        any_value::Value::IntValue(number) => number.into(),
        any_value::Value::DoubleValue(number) => number.into(),
        any_value::Value::ArrayValue(ArrayValue { values }) => array(values.into_iter().filter_map(|one| one.value)),
        _ => return None,
    })
}

/// All values are of one type. An empty list is the same in all types.
fn array(values: impl Iterator<Item = any_value::Value>) -> Value {
    let mut array = Array::String(Vec::new());
    for value in values.filter_map(value) {
        match (&mut array, value) {
            (Array::Bool(list), Value::Bool(one)) => list.push(one),
            (Array::I64(list), Value::I64(one)) => list.push(one),
            (Array::F64(list), Value::F64(one)) => list.push(one),
            (Array::String(list), Value::String(one)) => list.push(one),
            (_, Value::Bool(one)) => array = Array::Bool(vec![one]),
            (_, Value::I64(one)) => array = Array::I64(vec![one]),
            (_, Value::F64(one)) => array = Array::F64(vec![one]),
            _ => {}
        }
    }
    Value::Array(array)
}

#[cfg(test)]
mod tests {
    use opentelemetry::StringValue;
    use opentelemetry_proto::tonic::{logs::v1::LogRecord, metrics::v1::Metric};

    use super::*;
    use crate::{
        otlp::project,
        record::{SpanId as OurSpanId, TraceId as OurTraceId},
    };

    fn carrier(framework: Option<&'static str>) -> SpanData {
        project::carrier(OurTraceId(u128::MAX / 3), OurSpanId(u64::MAX), OurSpanId(7), 1_700_000_000_000_123, framework)
    }

    fn every_value() -> Vec<KeyValue> {
        let values: Vec<Value> = vec![
            "ä".into(),
            "".into(),
            true.into(),
            i64::MIN.into(),
            0.5.into(),
            f64::INFINITY.into(),
            Value::Array(vec![StringValue::from("a"), StringValue::from("")].into()),
            Value::Array(vec![true, false].into()),
            Value::Array(vec![i64::MAX, 0].into()),
            Value::Array(vec![0.25, -1.0].into()),
            Value::Array(Vec::<StringValue>::new().into()),
        ];
        values.into_iter().enumerate().map(|(n, value)| KeyValue::new(format!("k{n}"), value)).collect()
    }

    #[test]
    fn packed_spans_unpack_unchanged() {
        let bare = carrier(Some("axum"));
        let mut full = SpanData {
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: true,
            span_context: SpanContext::new(
                bare.span_context.trace_id(),
                bare.span_context.span_id(),
                TraceFlags::SAMPLED,
                false,
                TraceState::from_key_value([("ot", "p:3")]).unwrap(),
            ),
            attributes: every_value(),
            dropped_attributes_count: 3,
            status: Status::error("no sale"),
            links: project::links_to(&[(OurTraceId(1), OurSpanId(2))]),
            ..carrier(None)
        };
        full.end_time += Duration::from_nanos(1_001);
        full.events.events.push(Event::new("exception", full.start_time, every_value(), 2));
        let mut spans = vec![bare.clone(), bare, full.clone()];
        for kind in [SpanKind::Client, SpanKind::Server, SpanKind::Producer, SpanKind::Consumer, SpanKind::Internal] {
            spans.push(SpanData { span_kind: kind, status: Status::Unset, ..full.clone() });
        }
        let metric = Metric { name: "m".into(), ..Metric::default() };
        let line = LogRecord { severity_number: 9, ..LogRecord::default() };
        for follows_spans in [false, true] {
            let contents = Contents::new(spans.clone(), vec![metric.clone(); 2], vec![line.clone()], follows_spans);
            let unpacked = unpack(&pack(&contents).unwrap()).unwrap();
            assert_eq!(unpacked.spans[..], spans[..]);
            assert_eq!(unpacked.metrics[..], [metric.clone(), metric.clone()]);
            assert_eq!(unpacked.lines[..], *std::slice::from_ref(&line));
            assert_eq!(unpacked.follows_spans(), follows_spans);
        }
    }

    #[test]
    fn packed_spans_are_small() {
        let spans: Vec<_> = (0..1000)
            .map(|id| SpanData {
                attributes: every_value(),
                ..project::carrier(OurTraceId(id), OurSpanId(1), OurSpanId(2), 0, None)
            })
            .collect();
        let packed = pack(&Contents::new(spans, Vec::new(), Vec::new(), false)).unwrap();
        assert!(packed.len() < 1000 * 50, "{}", packed.len());
    }

    #[test]
    fn unpacking_invalid_bytes_fails() {
        assert!(unpack(b"").is_err());
        assert!(unpack(b"no gzip").is_err());
    }
}
