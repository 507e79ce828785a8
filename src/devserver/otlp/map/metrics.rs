//! Metrics (`input/otlp/metrics.go` of elastic/apm-data): the points of one scope that have time and attributes in
//! common are one set.

use std::{collections::HashMap, time::SystemTime};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        HistogramDataPoint, Metric, NumberDataPoint, ScopeMetrics, SummaryDataPoint, metric::Data,
        number_data_point::Value as Number,
    },
};
use serde_json::{Map, Value, json};

use super::{Base, Told, attributes, resource, tree::Tree};
use crate::devserver::event::Kind;

pub(in super::super) fn metrics(
    request: &ExportMetricsServiceRequest,
    received: SystemTime,
    each: &mut impl FnMut(Told),
) {
    let mut unsupported = 0;
    for group in &request.resource_metrics {
        let (metadata, origin) = resource::resource(group.resource.as_ref(), received);
        each(Told::Metadata(metadata));
        for metrics in &group.scope_metrics {
            let base = Base { origin: &origin, scope: metrics.scope.as_ref() };
            unsupported += scope(&base, metrics, each);
        }
    }
    if unsupported > 0 {
        each(Told::Unsupported(unsupported));
    }
}

/// The sets of one scope, in the order in which they began.
#[derive(Default)]
struct Sets<'a> {
    found: HashMap<(u64, String), usize>,
    sets: Vec<Set<'a>>,
}

struct Set<'a> {
    nanos: u64,
    attributes: &'a [KeyValue],
    samples: Map<String, Value>,
}

impl<'a> Sets<'a> {
    fn add(&mut self, name: &str, nanos: u64, attributes: &'a [KeyValue], sample: Value) {
        // as the server does it: what reads the same is the same
        let signature = attributes::of(attributes).map(|(key, value)| format!("{key}{}", value.told())).collect();
        let at = *self.found.entry((nanos, signature)).or_insert_with(|| {
            self.sets.push(Set { nanos, attributes, samples: Map::new() });
            self.sets.len() - 1
        });
        if let Some(set) = self.sets.get_mut(at) {
            set.samples.insert(name.to_owned(), sample);
        }
    }
}

/// How many points were of no use.
fn scope(base: &Base<'_>, metrics: &ScopeMetrics, each: &mut impl FnMut(Told)) -> u64 {
    let mut sets = Sets::default();
    let unsupported = metrics.metrics.iter().map(|metric| add(&mut sets, metric)).sum();
    for set in sets.sets {
        each(Told::Event(Kind::Metricset, told(base, set)));
    }
    unsupported
}

fn add<'a>(sets: &mut Sets<'a>, metric: &'a Metric) -> u64 {
    let name = metric.name.as_str();
    let mut unsupported = 0;
    let mut keep = |nanos, attributes: &'a [KeyValue], sample: Option<Value>| match sample {
        Some(sample) => sets.add(name, nanos, attributes, sample),
        None => unsupported += 1,
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => {
            gauge
                .data_points
                .iter()
                .for_each(|point| keep(point.time_unix_nano, &point.attributes, number(point, "gauge")));
        }
        Some(Data::Sum(sum)) => {
            sum.data_points
                .iter()
                .for_each(|point| keep(point.time_unix_nano, &point.attributes, number(point, "counter")));
        }
        Some(Data::Histogram(all)) => {
            all.data_points.iter().for_each(|point| keep(point.time_unix_nano, &point.attributes, histogram(point)));
        }
        Some(Data::Summary(all)) => {
            all.data_points
                .iter()
                .for_each(|point| keep(point.time_unix_nano, &point.attributes, Some(summary(point))));
        }
        Some(Data::ExponentialHistogram(all)) => unsupported += all.data_points.len() as u64,
        None => {}
    }
    unsupported
}

fn number(point: &NumberDataPoint, kind: &str) -> Option<Value> {
    let value = match point.value {
        Some(Number::AsInt(number)) => Value::from(number),
        Some(Number::AsDouble(number)) if number.is_finite() => number.into(),
        _ => return None,
    };
    Some(json!({ "type": kind, "value": value }))
}

fn summary(point: &SummaryDataPoint) -> Value {
    json!({ "type": "summary", "count": point.count, "sum": point.sum })
}

/// A bucket stands for its middle; the outer two, which have none, for their inner bound.
fn histogram(point: &HistogramDataPoint) -> Option<Value> {
    let (bounds, buckets) = (&point.explicit_bounds, &point.bucket_counts);
    let (mut values, mut counts) = (Vec::new(), Vec::new());
    if bounds.is_empty() {
        values.push(if point.count == 0 { 0.0 } else { point.sum.unwrap_or_default() / point.count as f64 });
        counts.push(point.count);
    } else if buckets.len() == bounds.len() + 1 {
        for (at, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (below, above) = (at.checked_sub(1).and_then(|at| bounds.get(at)), bounds.get(at));
            values.push(match (below, above) {
                (None, Some(above)) if *above > 0.0 => above / 2.0,
                (None, Some(bound)) | (Some(bound), None) => *bound,
                (Some(below), Some(above)) => below + (above - below) / 2.0,
                (None, None) => 0.0,
            });
            counts.push(*count);
        }
    } else {
        return None;
    }
    Some(json!({ "type": "histogram", "values": values, "counts": counts }))
}

fn told(base: &Base<'_>, set: Set<'_>) -> Map<String, Value> {
    let mut out = Tree::default();
    out.put("timestamp", base.time(set.nanos));
    out.put("samples", set.samples);
    base.framework(&mut out, "ecs/service");
    let mut labels = base.labels();
    for (key, value) in attributes::of(set.attributes) {
        match field(key) {
            Some((field, true)) => out.text(field, value.keyword()),
            Some((field, false)) => out.text(field, value.text()),
            None => labels.set_any(key, value),
        }
    }
    labels.finish(&mut out, "tags");
    out.0
}

/// The attributes that are fields, and whether they are cut.
fn field(key: &str) -> Option<(&'static str, bool)> {
    Some(match key {
        "system.process.cpu.start_time" => ("ecs/system/process/cpu/start_time", false),
        "system.process.cmdline" => ("ecs/system/process/cmdline", true),
        "system.process.state" => ("ecs/system/process/state", false),
        "system.filesystem.mount_point" => ("ecs/system/filesystem/mount_point", true),
        "event.dataset" => ("ecs/event/dataset", false),
        "event.module" => ("ecs/event/module", false),
        "user.name" => ("ecs/user/name", true),
        _ => return None,
    })
}
