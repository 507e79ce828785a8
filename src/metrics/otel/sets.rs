//! From the data of OpenTelemetry's SDK to metric sets: one for each set of attributes.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::{
    Temporality,
    data::{AggregatedMetrics, Metric, MetricData, ScopeMetrics},
};

use super::super::record;
use crate::{
    config::Wildcard,
    record::{Label, LabelValue, MAX_LABELS, MetricsRecord, Sample, cut},
};

/// What cannot be sent is said once.
#[derive(Debug, Default)]
pub(super) struct Told {
    arrays: AtomicBool,
    exponential: AtomicBool,
}

/// The metric sets of one scope.
pub(super) struct Sets<'a> {
    disabled: &'a [Wildcard],
    told: &'a Told,
    records: Vec<MetricsRecord>,
    /// The last record of each set of attributes.
    places: HashMap<Vec<&'a KeyValue>, usize>,
    excess_labels: u64,
}

/// Numbers as the server takes them.
trait Number: Copy {
    fn float(self) -> f64;
}

impl Number for f64 {
    fn float(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn float(self) -> f64 {
        self as f64
    }
}

impl Number for i64 {
    fn float(self) -> f64 {
        self as f64
    }
}

impl<'a> Sets<'a> {
    /// Without what `disabled` names, and without what has no number on the wire. The number of labels that were too many
    /// comes with it.
    pub(super) fn of(scope: &'a ScopeMetrics, disabled: &'a [Wildcard], told: &'a Told) -> (Vec<MetricsRecord>, u64) {
        let mut sets = Self { disabled, told, records: Vec::new(), places: HashMap::new(), excess_labels: 0 };
        scope.metrics().for_each(|metric| sets.metric(metric));
        (sets.records, sets.excess_labels)
    }

    fn metric(&mut self, metric: &'a Metric) {
        let name = metric.name();
        if self.disabled.iter().any(|pattern| pattern.matches(name)) {
            return;
        }
        match metric.data() {
            AggregatedMetrics::F64(data) => self.data(name, data),
            AggregatedMetrics::U64(data) => self.data(name, data),
            AggregatedMetrics::I64(data) => self.data(name, data),
        }
    }

    fn data<T: Number>(&mut self, name: &str, data: &'a MetricData<T>) {
        match data {
            MetricData::Gauge(gauge) => {
                for point in gauge.data_points() {
                    self.number(name, point.attributes(), point.value().float(), Sample::Gauge);
                }
            }
            MetricData::Sum(sum) => {
                let sample: fn(f64) -> Sample = if sum.is_monotonic() { Sample::Counter } else { Sample::Gauge };
                let is_delta = sum.temporality() == Temporality::Delta;
                for point in sum.data_points() {
                    let value = point.value().float();
                    if !(is_delta && value == 0.0) {
                        self.number(name, point.attributes(), value, sample);
                    }
                }
            }
            MetricData::Histogram(data) => {
                for point in data.data_points() {
                    let (bounds, counts): (Vec<_>, Vec<_>) =
                        (point.bounds().collect(), point.bucket_counts().collect());
                    if !bounds.is_empty() && counts.iter().any(|count| *count > 0) {
                        self.add(name, point.attributes(), Sample::Histogram { bounds, counts });
                    }
                }
            }
            MetricData::ExponentialHistogram(_) => {
                if !self.told.exponential.swap(true, Relaxed) {
                    tracing::warn!(
                        target: "tower_apm",
                        name,
                        "a metric was left out: an exponential histogram cannot be sent, give it explicit boundaries; \
                         further ones are not named"
                    );
                }
            }
        }
    }

    /// JSON has no number for what is not finite.
    fn number(
        &mut self,
        name: &str,
        attributes: impl Iterator<Item = &'a KeyValue>,
        value: f64,
        sample: fn(f64) -> Sample,
    ) {
        if value.is_finite() {
            self.add(name, attributes, sample(value));
        }
    }

    fn add(&mut self, name: &str, attributes: impl Iterator<Item = &'a KeyValue>, sample: Sample) {
        let mut attributes: Vec<_> = attributes.filter(|attribute| self.is_label(attribute)).collect();
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
        self.excess_labels += attributes.len().saturating_sub(MAX_LABELS) as u64;
        attributes.truncate(MAX_LABELS);
        let place = self.places.get(&attributes).copied();
        // two instruments of one name, or two sets that an array told apart
        let is_free = |place: &usize| self.records[*place].samples.iter().all(|(other, _)| other != name);
        let place = place.filter(is_free).unwrap_or_else(|| {
            let labels = attributes.iter().filter_map(|attribute| label(attribute)).collect();
            self.records.push(MetricsRecord { labels, ..record() });
            self.places.insert(attributes, self.records.len() - 1);
            self.records.len() - 1
        });
        self.records[place].samples.push((Cow::Owned(name.to_owned()), sample));
    }

    fn is_label(&self, attribute: &KeyValue) -> bool {
        let is_label = matches!(attribute.value, Value::String(_) | Value::I64(_) | Value::F64(_) | Value::Bool(_));
        if !is_label && !self.told.arrays.swap(true, Relaxed) {
            tracing::warn!(
                target: "tower_apm",
                key = attribute.key.as_str(),
                "an attribute of a metric was left out: a label is text, a number or a boolean, and no array; further \
                 ones are not named"
            );
        }
        is_label
    }
}

fn label(attribute: &KeyValue) -> Option<Label> {
    let value = match &attribute.value {
        Value::String(text) => LabelValue::Text(cut(text.as_str().to_owned().into())),
        Value::I64(number) => LabelValue::Integer(*number),
        Value::F64(number) => LabelValue::Float(*number),
        Value::Bool(flag) => LabelValue::Bool(*flag),
        _ => return None,
    };
    Some(Label { key: cut(attribute.key.as_str().to_owned().into()), value })
}
