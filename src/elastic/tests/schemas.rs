//! Is everything that is sent valid by Elastic's own schemas?

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};
use serde_json::Value;

use super::records;
use crate::{
    elastic::{map, model::Line},
    intake::write,
    record::{Breakdown, ErrorRecord, MetricsRecord, Outcome, Sample, SpanRecord, Stack, TransactionRecord},
    sanitize::Sanitizer,
    stack,
};

/// The event of a line, after it has been held against the schema of its type.
pub(crate) fn valid(line: &Line<'_>) -> Value {
    let mut written = Vec::new();
    write(&mut written, line).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    let (kind, event) = written.as_object().unwrap().iter().next().unwrap();
    if let Some(schema) = crate::spec_folder::json(&format!("intake-v2/{kind}.json")) {
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<_> = validator.iter_errors(event).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?}\n{event:#}");
    }
    event.clone()
}

pub(crate) fn transaction(record: &TransactionRecord) -> Value {
    valid(&Line::Transaction(map::transaction(record, &Sanitizer::default())))
}

pub(crate) fn span(record: &SpanRecord) -> Value {
    valid(&Line::Span(map::span(record, &[], &Sanitizer::default())))
}

pub(crate) fn error(mut record: ErrorRecord) -> Value {
    let frames = stack::resolve(record.take_stack(), 50);
    valid(&Line::Error(map::error(&record, &frames, &Sanitizer::default())))
}

#[test]
fn schemas_reject_invalid_events() {
    let Some(schema) = crate::spec_folder::json("intake-v2/transaction.json") else { return };
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut event = transaction(&records::transaction());
    assert!(validator.is_valid(&event));
    event["name"] = "x".repeat(1025).into();
    assert!(!validator.is_valid(&event));
}

#[test]
fn full_and_empty_events_are_valid() {
    valid(&Line::Metadata(Box::new(map::metadata(&records::resource()))));
    valid(&Line::Metadata(Box::new(map::metadata(&crate::record::Resource::default()))));

    let full = records::transaction();
    transaction(&full);
    transaction(&TransactionRecord {
        kind: "".into(),
        context: Default::default(),
        otel: None,
        ..records::transaction()
    });
    transaction(&TransactionRecord { sampled: false, outcome: Outcome::Unknown, ..full });

    let without = |mut record: ErrorRecord, exception: bool| {
        record.parent = None;
        if exception {
            record.exception = None
        } else {
            record.log = None
        }
        record.context = Default::default();
        record
    };
    error(records::error());
    error(without(records::error(), true));
    error(without(records::error(), false));
    let mut bare = records::error();
    if let Some(exception) = &mut bare.exception {
        (exception.kind, exception.message) = (None, String::new());
        exception.stack = Stack::Text("   0: main\n".into());
    }
    assert_eq!(error(bare)["exception"]["message"], "[EMPTY]");
}

#[test]
fn spans_of_every_kind_and_of_strange_content_are_valid() {
    let strange = || {
        vec![
            KeyValue::new("", 1),
            KeyValue::new(" ", 1),
            KeyValue::new("a*b\"c.d", f64::NAN),
            KeyValue::new("long", "ä".repeat(5000)),
            KeyValue::new("list", opentelemetry::Value::Array(vec![1.5, 2.5].into())),
            KeyValue::new("server.port", 70_000),
            KeyValue::new("http.response.status_code", "not a number"),
            KeyValue::new("url.full", "x".repeat(5000)),
        ]
    };
    let systems: [(&str, &str); 5] = [
        ("db.system", "postgresql"),
        ("messaging.system", "kafka"),
        ("rpc.system", "grpc"),
        ("url.scheme", "http"),
        ("x", ""),
    ];
    for kind in [SpanKind::Client, SpanKind::Server, SpanKind::Producer, SpanKind::Consumer, SpanKind::Internal] {
        for (key, value) in systems {
            let mut attributes = strange();
            attributes.push(KeyValue::new(key, value));
            let mut record = records::span("", kind.clone(), attributes);
            span(&record);
            record.name = "ä".repeat(3000).into();
            record.status = Status::error("no");
            record.transaction_id = None;
            record.sample_rate = None;
            span(&record);
        }
    }
}

#[test]
fn metricsets_are_valid_and_empty_ones_are_not_sent() {
    let samples = vec![
        ("pool.size".into(), Sample::Gauge(3.0)),
        ("pool.waits".into(), Sample::Counter(7.0)),
        ("pool.time".into(), Sample::Histogram { bounds: vec![1.0, 2.0], counts: vec![1, 2, 0] }),
        ("nan".into(), Sample::Gauge(f64::NAN)),
        ("a*".into(), Sample::Gauge(1.0)),
        ("".into(), Sample::Gauge(1.0)),
    ];
    let breakdown = Breakdown {
        transaction_name: "GET /".to_owned(),
        transaction_kind: "request".to_owned(),
        span_kind: "db".to_owned(),
        span_subtype: Some("sqlite".to_owned()),
    };
    let mut record = MetricsRecord {
        timestamp: 1,
        samples,
        labels: vec![records::label("pool", "main")],
        breakdown: Some(Box::new(breakdown)),
    };
    let event = valid(&Line::Metricset(map::metricset(&record, &Sanitizer::default()).unwrap()));
    assert_eq!(event["samples"].as_object().unwrap().len(), 3);
    assert_eq!(event["samples"]["pool.time"]["counts"][1], 2);
    record.samples = vec![("nan".into(), Sample::Gauge(f64::NAN))];
    assert!(map::metricset(&record, &Sanitizer::default()).is_none());
}

#[test]
fn no_secret_is_sent() {
    for event in [transaction(&records::transaction()), error(records::error())] {
        assert!(!event.to_string().contains("hunter2"), "{event:#}");
    }
}
