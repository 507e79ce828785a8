//! Measurements.

use super::{labels::tags, truncate::keyword};
use crate::{
    intake::model::{Entries, Metricset, MetricsetSpan, MetricsetTransaction, Sample},
    record::{self, MetricsRecord},
};

/// None where no sample is one that the server takes.
pub(crate) fn metricset(record: &MetricsRecord) -> Option<Metricset<'_>> {
    let named = record.samples.iter().filter(|(name, _)| !name.is_empty() && !name.contains(['*', '"']));
    let samples: Vec<_> = named.filter_map(|(name, value)| Some((name.as_ref().into(), sample(value)?))).collect();
    let breakdown = record.breakdown.as_deref();
    (!samples.is_empty()).then(|| Metricset {
        timestamp: record.timestamp,
        samples: Entries(samples),
        tags: tags(&record.labels),
        transaction: breakdown.map(|part| MetricsetTransaction {
            name: keyword(&part.transaction_name),
            r#type: keyword(&part.transaction_kind),
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
fn sample(value: &record::Sample) -> Option<Sample<'_>> {
    let number = |r#type, value: f64| {
        value.is_finite().then(|| Sample { r#type: Some(r#type), value: Some(value), ..Sample::default() })
    };
    match value {
        record::Sample::Gauge(value) => number("gauge", *value),
        record::Sample::Counter(value) => number("counter", *value),
        record::Sample::Histogram { values, counts } => {
            let sound =
                values.len() == counts.len() && !values.is_empty() && values.iter().all(|value| value.is_finite());
            sound.then(|| Sample { r#type: Some("histogram"), values, counts, ..Sample::default() })
        }
    }
}
