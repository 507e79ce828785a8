//! Measurements that were taken at one time under one set of labels.

use super::Label;

/// One metricset.
#[derive(Debug, Clone)]
pub(crate) struct MetricsRecord {
    /// Microseconds since the epoch.
    pub(crate) timestamp: u64,
    pub(crate) samples: Vec<(String, Sample)>,
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
#[cfg_attr(not(test), expect(dead_code, reason = "the exporters send metrics; their source is built on top"))]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sample {
    Gauge(f64),
    Counter(f64),
    /// Ascending values and how often each was met.
    Histogram {
        values: Vec<f64>,
        counts: Vec<u64>,
    },
}

impl MetricsRecord {
    pub(crate) fn heap_size(&self) -> usize {
        self.samples.iter().map(|(name, _)| name.len() + size_of::<Sample>()).sum::<usize>() + self.labels.len() * 48
    }
}
