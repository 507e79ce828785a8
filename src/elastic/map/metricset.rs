//! Measurements.

use super::{histogram, labels::field_tags};
use crate::{
    elastic::model::{Entries, Metricset, MetricsetSpan, MetricsetTransaction, Sample},
    record::{self, MetricsRecord},
    sanitize::Sanitizer,
    semconv::{KEYWORD, free_keyword, keyword, name_keyword},
};

/// Objects that documents of metrics have: a number of such a name makes the index refuse the document.
const OBJECTS: [&str; 35] = [
    "@metadata",
    "agent",
    "client",
    "cloud",
    "container",
    "data_stream",
    "destination",
    "device",
    "ecs",
    "error",
    "event",
    "faas",
    "host",
    "http",
    "kubernetes",
    "labels",
    "log",
    "metricset",
    "network",
    "numeric_labels",
    "observer",
    "parent",
    "process",
    "processor",
    "service",
    "session",
    "source",
    "span",
    "system",
    "timestamp",
    "trace",
    "transaction",
    "url",
    "user",
    "user_agent",
];

/// Whether the server takes a metric of this name, and the index a document with it. A name is a path of fields.
pub(crate) fn is_metric_name(name: &str) -> bool {
    !name.contains(['*', '"'])
        && name.len() <= KEYWORD
        && name.split('.').all(|part| !part.trim().is_empty())
        && !OBJECTS.contains(&name)
        && !matches!(name, "@timestamp" | "message" | "tags")
}

/// None where no sample is one that the server takes.
pub(crate) fn metricset<'a>(record: &'a MetricsRecord, sanitizer: &Sanitizer) -> Option<Metricset<'a>> {
    let named = record.samples.iter().filter(|(name, _)| is_metric_name(name));
    let samples: Vec<_> = named.filter_map(|(name, value)| Some((name.as_ref().into(), sample(value)?))).collect();
    let breakdown = record.breakdown.as_deref();
    (!samples.is_empty()).then(|| Metricset {
        timestamp: record.timestamp,
        samples: Entries(samples),
        tags: field_tags(&record.labels, sanitizer),
        transaction: breakdown.map(|part| MetricsetTransaction {
            name: name_keyword(&*part.transaction_name, sanitizer),
            r#type: free_keyword(&*part.transaction_kind, sanitizer),
        }),
        span: breakdown.map(|part| MetricsetSpan {
            r#type: keyword(&part.span_kind),
            subtype: part.span_subtype.as_deref().map(keyword),
        }),
        service: None,
        faas: None,
    })
}

/// JSON has no number for what is not finite.
fn sample(value: &record::Sample) -> Option<Sample> {
    let number = |r#type, value: f64| {
        value.is_finite().then(|| Sample { r#type: Some(r#type), value: Some(value), ..Sample::default() })
    };
    match value {
        record::Sample::Gauge(value) => number("gauge", *value),
        record::Sample::Counter(value) => number("counter", *value),
        record::Sample::Histogram { bounds, counts } => {
            let (values, counts) = histogram::values(bounds, counts)?;
            Some(Sample { r#type: Some("histogram"), values, counts, ..Sample::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_that_the_index_refuses_are_invalid() {
        for name in ["db.pool.size", "requests", "system.cpu.total.norm.pct", "a-b_c", "ä", "service_time"] {
            assert!(is_metric_name(name), "{name}");
        }
        for name in ["", " ", ".", ".a", "a.", "a..b", "a. .b", "a*", "a\"b", "service", "message", "@timestamp"] {
            assert!(!is_metric_name(name), "{name}");
        }
        assert!(!is_metric_name(&"a".repeat(1025)));
    }
}
