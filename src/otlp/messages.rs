//! Metrics and log lines in OTLP's own messages: what the SDK's exporters of them take, the SDK lets nobody but itself
//! make. Pure.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::LogRecord as Line,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point,
    },
};

use crate::{
    config::Wildcard,
    elastic::{
        map::{self, is_metric_name},
        model::{LogLine, Scalar, Tags},
    },
    record::{MetricsRecord, Sample},
    sanitize::Sanitizer,
};

/// The samples that the server takes, each with one point, and in OpenTelemetry's words what Kibana looks for under them.
///
/// The server makes one document of all points that have time and attributes in common. So that each set stays one of its
/// own, its time, which is in microseconds, gets the number of the set, `sets` being those so far, as nanoseconds.
pub(super) fn metrics(
    record: &MetricsRecord,
    sets: &mut u64,
    disabled: &[Wildcard],
    sanitizer: &Sanitizer,
) -> Vec<Metric> {
    let mut number = || {
        *sets = (*sets + 1) % 1000;
        *sets
    };
    let mut metrics = points(record, number(), sanitizer);
    let mut utilization = utilization(record);
    utilization.samples.retain(|(name, _)| !disabled.iter().any(|pattern| pattern.matches(name)));
    if !utilization.samples.is_empty() {
        metrics.extend(points(&utilization, number(), sanitizer));
    }
    metrics
}

/// Of services that come by OTLP, Kibana's charts show these, as shares from 0 to 1.
fn utilization(record: &MetricsRecord) -> MetricsRecord {
    let value = |wanted: &str| {
        record.samples.iter().find_map(|(name, sample)| match sample {
            Sample::Gauge(value) if name == wanted => Some(*value),
            _ => None,
        })
    };
    let cpu = value("system.cpu.total.norm.pct").map(|share| ("system.cpu.utilization", share));
    let memory = value("system.memory.total").zip(value("system.memory.actual.free"));
    let memory = memory.filter(|(total, _)| *total > 0.0);
    let memory = memory.map(|(total, free)| ("system.memory.utilization", (total - free) / total));
    let samples = cpu.into_iter().chain(memory).map(|(name, share)| (name.into(), Sample::Gauge(share)));
    MetricsRecord { samples: samples.collect(), breakdown: None, labels: record.labels.clone(), ..*record }
}

fn points(record: &MetricsRecord, number: u64, sanitizer: &Sanitizer) -> Vec<Metric> {
    let attributes = labels(&map::field_tags(&record.labels, sanitizer));
    let time_unix_nano = nanos(record.timestamp).saturating_add(number);
    let number = |value: f64| NumberDataPoint {
        attributes: attributes.clone(),
        time_unix_nano,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let data = |sample: &Sample| match sample {
        Sample::Gauge(value) if value.is_finite() => Some(Data::Gauge(Gauge { data_points: vec![number(*value)] })),
        Sample::Counter(value) if value.is_finite() => Some(Data::Sum(Sum {
            data_points: vec![number(*value)],
            aggregation_temporality: AggregationTemporality::Delta.into(),
            is_monotonic: true,
        })),
        Sample::Gauge(_) | Sample::Counter(_) => None,
        // the server would tell it by a value that JSON has no number for
        Sample::Histogram { bounds, counts } if map::histogram_values(bounds, counts).is_none() => None,
        Sample::Histogram { bounds, counts } => Some(Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                attributes: attributes.clone(),
                time_unix_nano,
                count: counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)),
                bucket_counts: counts.clone(),
                explicit_bounds: bounds.clone(),
                ..HistogramDataPoint::default()
            }],
            aggregation_temporality: AggregationTemporality::Delta.into(),
        })),
    };
    let samples = record.samples.iter().filter(|(name, _)| is_metric_name(name));
    samples
        .filter_map(|(name, sample)| {
            Some(Metric { name: name.to_string(), data: Some(data(sample)?), ..Metric::default() })
        })
        .collect()
}

/// The server keeps level, message, trace and span of a line; what else it says becomes labels.
pub(super) fn line(told: &LogLine<'_>) -> Line {
    let text = |key: &str, text: &str| attribute(key, Value::StringValue(text.to_owned()));
    let mut attributes = labels(&told.labels);
    let texts = [
        ("log.logger", told.logger.as_deref()),
        ("code.file.path", told.file),
        ("thread.name", told.thread.as_deref()),
    ];
    let own = texts.into_iter().filter_map(|(key, told)| Some(text(key, told?)));
    let own = own.chain(told.line.map(|line| attribute("code.line.number", Value::IntValue(line.into()))));
    // a field of the user's of the same name is the same label, and stays
    let is_label = |key: &str| told.labels.0.iter().any(|(label, _)| *label == key.replace('.', "_"));
    attributes.extend(own.filter(|attribute| !is_label(&attribute.key)));
    // where no span runs it is the transaction that does
    let span_id = told.span_id.or(told.transaction_id);
    Line {
        time_unix_nano: nanos(told.timestamp),
        observed_time_unix_nano: nanos(told.timestamp),
        severity_number: severity(told.level),
        severity_text: told.level.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(told.message.to_string())) }),
        attributes,
        trace_id: told.trace_id.map(|id| id.0.to_be_bytes().to_vec()).unwrap_or_default(),
        span_id: span_id.map(|id| id.0.to_be_bytes().to_vec()).unwrap_or_default(),
        ..Line::default()
    }
}

/// OpenTelemetry's number for a level of `tracing`.
fn severity(level: &str) -> i32 {
    match level {
        "trace" => 1,
        "debug" => 5,
        "info" => 9,
        "warn" => 13,
        _ => 17,
    }
}

/// By the rules of labels no key has a dot: none is taken for a field, nor for an exception, which would make an error of a
/// line.
fn labels(tags: &Tags<'_>) -> Vec<KeyValue> {
    let value = |value: &Scalar<'_>| match value {
        Scalar::Text(text) => Value::StringValue(text.to_string()),
        Scalar::Integer(number) => Value::IntValue(*number),
        Scalar::Float(number) => Value::DoubleValue(*number),
        Scalar::Bool(flag) => Value::BoolValue(*flag),
    };
    tags.0.iter().map(|(key, told)| attribute(key, value(told))).collect()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Label;

    fn record(samples: Vec<(&'static str, Sample)>) -> MetricsRecord {
        let samples = samples.into_iter().map(|(name, sample)| (name.into(), sample)).collect();
        let labels = vec![Label { key: "user.name".into(), value: "ada".into() }];
        MetricsRecord { timestamp: 7, samples, labels, breakdown: None }
    }

    fn all(record: &MetricsRecord) -> Vec<Metric> {
        metrics(record, &mut 0, &[], &Sanitizer::default())
    }

    fn time(metric: &Metric) -> u64 {
        match &metric.data {
            Some(Data::Gauge(Gauge { data_points })) => data_points[0].time_unix_nano,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn metric_sets_of_one_time_have_different_timestamps() {
        let (mut sets, record) = (998, record(vec![("a", Sample::Gauge(1.0)), ("b", Sample::Gauge(2.0))]));
        let times = [(); 2]
            .map(|()| metrics(&record, &mut sets, &[], &Sanitizer::default()).iter().map(time).collect::<Vec<_>>());
        assert_eq!(times, [[7999, 7999], [7000, 7000]]);
    }

    #[test]
    fn disabled_metrics_are_not_added_under_other_names() {
        let cpu = record(vec![("system.cpu.total.norm.pct", Sample::Gauge(0.25))]);
        let names = |disabled: &str| {
            let told = metrics(&cpu, &mut 0, &[Wildcard::new(disabled)], &Sanitizer::default());
            told.into_iter().map(|metric| metric.name).collect::<Vec<_>>()
        };
        assert_eq!(names("*.utilization"), ["system.cpu.total.norm.pct"]);
        assert_eq!(names("system.memory.*").len(), 2);
    }

    #[test]
    fn histogram_keeps_its_boundaries() {
        let sample = Sample::Histogram { bounds: vec![1.0, 3.0], counts: vec![1, 0, 2] };
        let [metric] = &all(&record(vec![("seconds", sample)]))[..] else { panic!("not one metric") };
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (point.count, &point.bucket_counts[..], &point.explicit_bounds[..]),
            (3, &[1, 0, 2][..], &[1.0, 3.0][..])
        );
        assert_eq!((point.time_unix_nano, &*point.attributes[0].key), (7001, "user_name"), "no label is a field");
    }

    #[test]
    fn host_metrics_are_sent_under_opentelemetry_names_too() {
        let gauge = Sample::Gauge;
        let (total, free) = (("system.memory.total", gauge(8.0)), ("system.memory.actual.free", gauge(2.0)));
        let told = all(&record(vec![("system.cpu.total.norm.pct", gauge(0.25)), total.clone(), free]));
        let told = told.iter().map(|metric| match &metric.data {
            Some(Data::Gauge(Gauge { data_points })) => {
                (&*metric.name, data_points[0].value, data_points[0].time_unix_nano)
            }
            other => panic!("{other:?}"),
        });
        let double = |value| Some(number_data_point::Value::AsDouble(value));
        let (cpu, memory) = ("system.cpu.utilization", "system.memory.utilization");
        assert_eq!(told.skip(3).collect::<Vec<_>>(), [(cpu, double(0.25), 7002), (memory, double(0.75), 7002)]);
        assert_eq!(all(&record(vec![total])).len(), 1, "a share needs both");
    }

    #[test]
    fn invalid_metric_names_and_values_are_dropped() {
        let gauge = Sample::Gauge;
        let told = all(&record(vec![("a*", gauge(1.0)), ("nan", gauge(f64::NAN)), ("size", gauge(2.0))]));
        assert_eq!(told.iter().map(|metric| &*metric.name).collect::<Vec<_>>(), ["size"]);
        assert!(all(&record(vec![("service", gauge(1.0))])).is_empty());
        let sample = Sample::Histogram { bounds: vec![f64::MIN, f64::MAX], counts: vec![0, 1, 0] };
        assert!(all(&record(vec![("seconds", sample)])).is_empty(), "its middle is no number");
    }
}
