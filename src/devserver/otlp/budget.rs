//! How much memory a message takes once it is decoded, found out before it is: two bytes can be a whole empty span.
//!
//! Walks over the bytes and counts; what is malformed it leaves to the decoder.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
        SummaryDataPoint,
    },
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span,
        span::{Event, Link},
    },
};
use prost::encoding::{WireType, decode_key, decode_varint, skip_field};

use super::Signal;

/// A request that would take more is refused. One that an SDK sends takes about three times its own length.
const MAX_DECODED: usize = 64 * 1024 * 1024;
/// Values within values. The decoder has a limit of its own, which is higher.
const MAX_DEPTH: usize = 64;

/// Returns the bytes of memory of the decoded message, or an error message if they exceed the limit.
pub(super) fn check(signal: Signal, message: &[u8]) -> Result<usize, String> {
    let mut walk = Walk { left: MAX_DECODED };
    walk.message(Shape::Request(signal), message, 0)?;
    Ok(MAX_DECODED - walk.left)
}

/// What a message is, as far as its own size depends on it.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Request(Signal),
    OfResource(Signal),
    OfScope(Signal),
    Resource,
    Entity,
    Scope,
    Span,
    Event,
    Link,
    Record,
    Metric,
    /// Gauge, sum and the like: a list of points.
    Points(Point),
    Point(Point),
    /// An example of a measured value.
    Exemplar,
    Attribute,
    Value,
    List,
    Map,
}

#[derive(Debug, Clone, Copy)]
enum Point {
    Number,
    Histogram,
    Exponential,
    Summary,
}

impl Shape {
    /// The messages within it that are lists or hold some, by field number.
    fn field(self, tag: u32) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Request(signal), 1) => Self::OfResource(signal),
            (Self::OfResource(_), 1) => Self::Resource,
            (Self::OfResource(signal), 2) => Self::OfScope(signal),
            (Self::OfScope(_), 1) => Self::Scope,
            (Self::OfScope(Signal::Traces), 2) => Self::Span,
            (Self::OfScope(Signal::Metrics), 2) => Self::Metric,
            (Self::OfScope(Signal::Logs), 2) => Self::Record,
            (Self::Resource, 3) => Self::Entity,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Record, 5) | (Self::Attribute, 2) | (Self::List, 1) => Self::Value,
            (Self::Metric, 5 | 7) => Self::Points(Point::Number),
            (Self::Metric, 9) => Self::Points(Point::Histogram),
            (Self::Metric, 10) => Self::Points(Point::Exponential),
            (Self::Metric, 11) => Self::Points(Point::Summary),
            (Self::Points(point), 1) => Self::Point(point),
            (Self::Point(Point::Number), 5)
            | (Self::Point(Point::Histogram), 8)
            | (Self::Point(Point::Exponential), 11) => Self::Exemplar,
            (Self::Value, 5) => Self::List,
            (Self::Value, 6) => Self::Map,
            (Self::Resource | Self::Map, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Record, 6)
            | (Self::Span, 9)
            | (Self::Metric, 12)
            | (Self::Point(Point::Number | Point::Summary) | Self::Exemplar, 7)
            | (Self::Point(Point::Histogram), 9)
            | (Self::Point(Point::Exponential), 1) => Self::Attribute,
            _ => return None,
        })
    }

    /// The bytes of one of them, without what it points to.
    fn size(self) -> usize {
        match self {
            Self::Request(_) | Self::Points(_) | Self::List | Self::Map => 0,
            Self::OfResource(Signal::Traces) => size_of::<ResourceSpans>(),
            Self::OfResource(Signal::Metrics) => size_of::<ResourceMetrics>(),
            Self::OfResource(Signal::Logs) => size_of::<ResourceLogs>(),
            Self::OfScope(Signal::Traces) => size_of::<ScopeSpans>(),
            Self::OfScope(Signal::Metrics) => size_of::<ScopeMetrics>(),
            Self::OfScope(Signal::Logs) => size_of::<ScopeLogs>(),
            Self::Resource => size_of::<Resource>(),
            Self::Entity => size_of::<EntityRef>(),
            Self::Scope => size_of::<InstrumentationScope>(),
            Self::Span => size_of::<Span>(),
            Self::Event => size_of::<Event>(),
            Self::Link => size_of::<Link>(),
            Self::Record => size_of::<LogRecord>(),
            Self::Metric => size_of::<Metric>(),
            Self::Point(Point::Number) => size_of::<NumberDataPoint>(),
            Self::Point(Point::Histogram) => size_of::<HistogramDataPoint>(),
            Self::Point(Point::Exponential) => size_of::<ExponentialHistogramDataPoint>(),
            Self::Point(Point::Summary) => size_of::<SummaryDataPoint>(),
            Self::Exemplar => 2 * size_of::<KeyValue>(),
            Self::Attribute => size_of::<KeyValue>(),
            Self::Value => size_of::<AnyValue>(),
        }
    }
}

struct Walk {
    left: usize,
}

impl Walk {
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| format!("the message would take more than {MAX_DECODED} bytes of memory"))?;
        Ok(())
    }

    fn message(&mut self, shape: Shape, mut bytes: &[u8], depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("the message is nested deeper than {MAX_DEPTH} levels"));
        }
        while !bytes.is_empty() {
            let Ok((tag, wire)) = decode_key(&mut bytes) else { return Ok(()) };
            if wire != WireType::LengthDelimited {
                // a number of its own, or one of a list that is not packed
                self.spend(size_of::<u64>())?;
                if skip_field(wire, tag, &mut bytes, Default::default()).is_err() {
                    return Ok(());
                }
                continue;
            }
            let length = decode_varint(&mut bytes).ok().and_then(|length| usize::try_from(length).ok());
            let Some((within, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else { return Ok(()) };
            bytes = rest;
            match shape.field(tag) {
                Some(inner) => {
                    self.spend(inner.size())?;
                    self.message(inner, within, depth + 1)?;
                }
                // counts of buckets are packed, eight bytes come of one
                None if matches!(shape, Shape::Point(_)) => self.spend(within.len().saturating_mul(8))?,
                None => self.spend(size_of::<String>().saturating_add(within.len()))?,
            }
        }
        Ok(())
    }
}
