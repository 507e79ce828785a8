//! Checks that written events are valid by the rules of the development server and by Elastic's published schemas.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};
use serde_json::Value;

use super::records;
use crate::{
    devserver::validate::{self, Verdict},
    elastic::{map, model::Line},
    intake::write,
    record::{Breakdown, ErrorRecord, MetricsRecord, Outcome, Sample, SpanRecord, Stack, TransactionRecord},
    sanitize::Sanitizer,
    stack,
};

/// Returns the event of a line, after the rules of the development server have accepted it.
pub(crate) fn valid(line: &Line<'_>) -> Value {
    let mut written = Vec::new();
    write(&mut written, line).unwrap();
    let text = str::from_utf8(&written).unwrap().trim_end();
    let (kind, event) = split(text);
    let read = Cell::new(0);
    let verdict = match &*kind {
        "metadata" => validate::judge_metadata(text, &read),
        _ => validate::judge_event(text, &read),
    };
    assert!(!matches!(verdict, Verdict::Rejected { .. }), "{verdict:?}\n{event:#}");
    WRITTEN.with_borrow_mut(|lines| lines.push((kind, event.clone())));
    event
}

thread_local! {
    /// The events that a test has written, with their types.
    static WRITTEN: RefCell<Vec<(String, Value)>> = const { RefCell::new(Vec::new()) };
}

fn split(line: &str) -> (String, Value) {
    let line: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
    line.into_iter().next().unwrap()
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
#[ignore = "needs APM_SPEC_DIR"]
fn published_schemas_accept_every_event() {
    let schema =
        |kind: &str| jsonschema::validator_for(&crate::spec_folder::json(&format!("intake-v2/{kind}.json"))).unwrap();
    full_and_empty_events_are_valid();
    spans_of_every_kind_and_of_strange_content_are_valid();
    metricsets_are_valid_and_empty_ones_are_not_sent();
    let validators = ["metadata", "transaction", "span", "error", "metricset"].map(|kind| (kind, schema(kind)));
    let written = WRITTEN.take();
    for (kind, validator) in validators {
        let mut events: Vec<_> = written.iter().filter(|(of, _)| of == kind).map(|(_, event)| event.clone()).collect();
        for event in &events {
            let faults: Vec<_> = validator.iter_errors(event).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{kind}: {faults:?}\n{event:#}");
        }
        let mut faulty = events.pop().expect("an event of each type");
        faulty["timestamp"] = "soon".into();
        faulty["service"] = 1.into();
        assert!(!validator.is_valid(&faulty), "{kind}");
    }
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
