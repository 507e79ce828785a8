//! Measurements that were taken at one time under one set of labels.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Label;

/// One metricset.
#[derive(Debug, Clone)]
pub(crate) struct MetricsRecord {
    /// Microseconds since the epoch.
    pub(crate) timestamp: u64,
    pub(crate) samples: Vec<(Cow<'static, str>, Sample)>,
    pub(crate) labels: Vec<Label>,
    /// Transaction name and type, span type and subtype: a breakdown of where a transaction's time went.
    pub(crate) breakdown: Option<Box<Breakdown>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Breakdown {
    pub(crate) transaction_name: String,
    pub(crate) transaction_kind: String,
    pub(crate) span_kind: String,
    pub(crate) span_subtype: Option<String>,
}

/// One value under a metric's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sample {
    Gauge(f64),
    Counter(f64),
    /// The ascending upper bounds of all buckets but the last, and how often each bucket was met.
    #[cfg_attr(not(any(feature = "sdk", test)), expect(dead_code, reason = "the agent itself makes none"))]
    Histogram {
        bounds: Vec<f64>,
        counts: Vec<u64>,
    },
}

impl Sample {
    fn size(&self) -> usize {
        let buckets = match self {
            Self::Gauge(_) | Self::Counter(_) => 0,
            Self::Histogram { bounds, counts } => size_of_val(&bounds[..]) + size_of_val(&counts[..]),
        };
        size_of::<Self>() + buckets
    }
}

/// Type and subtype of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpanType<'a> {
    pub(crate) kind: &'static str,
    pub(crate) subtype: Option<Cow<'a, str>>,
}

impl SpanType<'static> {
    /// Work of the service itself.
    pub(crate) const INTERNAL: Self = Self { kind: "app", subtype: Some(Cow::Borrowed("internal")) };
}

/// Subtypes that need no allocation to be kept.
const USUAL: [&str; 10] =
    ["internal", "http", "postgresql", "mysql", "sqlite", "redis", "kafka", "grpc", "mongodb", "elasticsearch"];

impl SpanType<'_> {
    pub(crate) fn into_owned(self) -> SpanType<'static> {
        let subtype = self.subtype.map(|subtype| match USUAL.iter().find(|usual| **usual == subtype) {
            Some(usual) => Cow::Borrowed(*usual),
            None => Cow::Owned(subtype.into_owned()),
        });
        SpanType { kind: self.kind, subtype }
    }
}

/// Where the time of a transaction went, by type of span. As many as most have are kept without an allocation.
pub(crate) type SelfTimes = SmallVec<[SelfTime; 4]>;

/// The time that a transaction spent in spans of one type, without what their children took (agent-spec 10.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfTime {
    pub(crate) kind: &'static str,
    pub(crate) subtype: Option<Cow<'static, str>>,
    pub(crate) count: u32,
    pub(crate) micros: u64,
}

impl MetricsRecord {
    pub(crate) fn heap_size(&self) -> usize {
        let samples: usize = self.samples.iter().map(|(name, sample)| name.len() + sample.size()).sum();
        samples + self.labels.iter().map(Label::size).sum::<usize>()
    }
}
