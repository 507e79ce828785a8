use http::Method;
use opentelemetry::{KeyValue, trace::SpanKind};

use super::*;
use crate::{
    config::Config,
    elastic::{map, tests::records},
    intake::json,
    record::{
        Body, Context, DroppedSpans, ErrorRecord, Exception, Label, LogRecord, Message, MessageHeaders, Outcome,
        ServiceTarget, SpanRecord, TransactionRecord,
    },
    sanitize::Sanitizer,
    stack::Frame,
};

fn json(line: &Line<'_>) -> serde_json::Value {
    let mut out = Vec::new();
    json::write(&mut out, line).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// What each step took, and what is there after it. Steps that are repeated come once, with what the last one left.
fn taken(mut line: Line<'_>) -> Vec<(&'static str, serde_json::Value)> {
    let (mut step, mut told) = (0, Vec::new());
    while let Some(what) = shorten(&mut line, &mut step) {
        match told.last_mut() {
            Some((last, left)) if *last == what => *left = json(&line),
            _ => told.push((what, json(&line))),
        }
        assert!(told.len() <= STEPS.len(), "{told:?}");
    }
    told
}

fn names(told: &[(&'static str, serde_json::Value)]) -> Vec<&'static str> {
    told.iter().map(|(name, _)| *name).collect()
}

fn sanitizer() -> Sanitizer {
    let mut config = Config::default();
    config.long_field_max_length = 1_048_576;
    Sanitizer::of(&config)
}

fn characters(value: &serde_json::Value) -> usize {
    value.as_str().unwrap().chars().count()
}

/// With a body and a label that are long, and with ten labels more.
fn context() -> Context {
    let mut context = records::context();
    let bytes = "b".repeat(200_000).into_bytes();
    let body = Body { bytes, content_type: "text/plain".to_owned(), truncated: false };
    context.request.as_mut().unwrap().body = Some(Box::new(body));
    context.labels = (0..10).map(|n| records::label(KEYS[n], n as i64)).collect();
    context.labels.push(records::label("note", "ä".repeat(1000)));
    context
}

const KEYS: [&str; 10] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"];

#[test]
fn transaction_is_truncated_step_by_step() {
    let dropped = DroppedSpans {
        target: ServiceTarget { kind: None, name: None, resource: "db".to_owned() },
        outcome: Outcome::Success,
        count: 1,
        sum: std::time::Duration::ZERO,
    };
    let record = TransactionRecord { context: context(), dropped_spans: vec![dropped], ..records::transaction() };
    let told = taken(Line::Transaction(map::transaction(&record, &sanitizer())));
    assert_eq!(
        names(&told),
        [
            "the end of its long texts",
            "its custom context",
            "the body of its request or message",
            "its headers and cookies",
            "its statistics of dropped spans",
            "the end of its labels",
            "labels",
        ]
    );
    let of = |step: usize, pointer: &str| told[step].1["transaction"].pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(characters(&of(0, "/context/request/body")), 10_000);
    assert_eq!(of(0, "/context/custom/order/amount"), 3);
    assert_eq!(of(1, "/context/custom"), serde_json::json!({ "tower_apm": "left out: the event was over 300 KiB" }));
    assert_eq!(of(2, "/context/request/body"), serde_json::Value::Null);
    assert_eq!(of(2, "/context/request/cookies/theme"), "dark");
    assert_eq!(of(3, "/context/request/cookies/theme"), serde_json::Value::Null);
    assert_eq!(of(3, "/context/request/method"), Method::POST.as_str());
    assert_eq!(characters(&of(4, "/context/tags/note")), 1000);
    assert_eq!(characters(&of(5, "/context/tags/note")), 128);
    assert_eq!(of(5, "/context/tags/k9"), 9);
    assert_eq!(of(6, "/context/tags"), serde_json::Value::Null);
    assert_eq!(of(6, "/context/user/id"), "0xdef", "who it was is never lost");
}

#[test]
fn largest_labels_are_removed_first() {
    let record = TransactionRecord { context: context(), otel: None, ..records::transaction() };
    let mut line = Line::Transaction(map::transaction(&record, &sanitizer()));
    assert!(halve_labels(&mut line));
    let left = json(&line)["transaction"]["context"]["tags"].clone();
    assert_eq!(left.as_object().unwrap().len(), 5);
    assert!(left.get("note").is_none(), "{left}");
}

#[test]
fn message_body_is_removed_before_its_headers() {
    let mut headers = MessageHeaders::default();
    headers.push("tenant", b"acme");
    let body = Body { bytes: vec![b'b'; 200_000], content_type: "text/plain".to_owned(), truncated: false };
    let message =
        Message { queue: "sales".to_owned(), routing_key: None, age: None, headers: Some(headers), body: Some(body) };
    let record = TransactionRecord {
        context: Context::default(),
        otel: None,
        message: Some(Box::new(message)),
        ..records::transaction()
    };
    let told = taken(Line::Transaction(map::transaction(&record, &sanitizer())));
    let names = names(&told);
    let of = |step: &str, pointer: &str| {
        let at = names.iter().position(|name| *name == step).unwrap();
        told[at].1["transaction"].pointer(pointer).cloned().unwrap_or_default()
    };
    assert_eq!(characters(&of("the end of its long texts", "/context/message/body")), 10_000);
    assert_eq!(of("the body of its request or message", "/context/message/body"), serde_json::Value::Null);
    assert_eq!(of("the body of its request or message", "/context/message/headers/tenant"), "acme");
    assert_eq!(of("its headers and cookies", "/context/message"), serde_json::json!({ "queue": { "name": "sales" } }));
}

#[test]
fn error_is_truncated_step_by_step() {
    let long = || "m".repeat(50_000);
    let cause = Exception { message: long(), ..Exception::default() };
    let mut record = ErrorRecord { context: context(), ..records::error() };
    let exception = record.exception.as_mut().unwrap();
    exception.message = long();
    exception.causes = vec![cause.clone(), cause];
    let frame = Frame { function: Some("f".repeat(5000)), file: Some("src/a.rs".to_owned()), ..Frame::default() };
    let frames = vec![frame; 900];
    let told = taken(Line::Error(map::error(&record, &frames, &sanitizer())));
    assert_eq!(
        names(&told),
        [
            "the end of its long texts",
            "its custom context",
            "the body of its request or message",
            "its headers and cookies",
            "frames of its stack",
            "the causes of its error",
            "most of its texts",
            "the end of its labels",
            "labels",
        ]
    );
    let of = |step: usize, pointer: &str| told[step].1["error"].pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(characters(&of(0, "/exception/message")), 10_000);
    assert_eq!(characters(&of(0, "/exception/cause/0/cause/0/message")), 10_000);
    assert_eq!(of(3, "/exception/stacktrace").as_array().unwrap().len(), 900);
    assert_eq!(characters(&of(3, "/exception/stacktrace/0/function")), 1024);
    assert_eq!(of(4, "/exception/stacktrace"), serde_json::Value::Null);
    assert_eq!(of(4, "/exception/cause").as_array().unwrap().len(), 1);
    assert_eq!(of(5, "/exception/cause"), serde_json::Value::Null);
    assert_eq!(characters(&of(6, "/exception/message")), 1024);
    assert_eq!(of(8, "/context/tags"), serde_json::Value::Null);
    assert_eq!(of(8, "/trace_id"), of(0, "/trace_id"));
}

#[test]
fn stack_is_halved_before_it_is_removed() {
    let record = records::error();
    let frames = vec![Frame { function: Some("f".to_owned()), ..Frame::default() }; 9];
    let mut line = Line::Error(map::error(&record, &frames, &sanitizer()));
    for left in [4, 2, 1] {
        assert!(halve_stacks(&mut line));
        assert_eq!(json(&line)["error"]["exception"]["stacktrace"].as_array().unwrap().len(), left);
    }
    assert!(halve_stacks(&mut line));
    assert!(!halve_stacks(&mut line));
}

#[test]
fn span_is_truncated_step_by_step() {
    let attributes = vec![
        KeyValue::new("db.system", "postgresql"),
        KeyValue::new("db.statement", "SELECT a ".repeat(50_000)),
        KeyValue::new("note", "n".repeat(1000)),
        KeyValue::new("rows", 7),
    ];
    let record = SpanRecord { ..records::span("query", SpanKind::Client, attributes) };
    let told = taken(Line::Span(map::span(&record, &[], &sanitizer())));
    assert_eq!(names(&told), ["the end of its long texts", "most of its texts", "the end of its labels", "labels"]);
    let of = |step: usize, pointer: &str| told[step].1["span"].pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(characters(&of(0, "/context/db/statement")), 10_000);
    assert_eq!(characters(&of(1, "/context/db/statement")), 1024);
    assert_eq!(characters(&of(2, "/context/tags/note")), 128);
    assert_eq!(of(2, "/context/tags/rows"), 7);
    assert_eq!(of(3, "/context/tags"), serde_json::Value::Null);
    assert_eq!(of(3, "/context/destination/service/resource"), "postgresql");
}

// spec: log-sending.md
#[test]
fn log_message_is_truncated_before_labels_are_removed() {
    let record = LogRecord {
        timestamp: 1,
        level: "info",
        message: "m".repeat(20_000),
        logger: "market".into(),
        file: None,
        line: None,
        thread: None,
        place: None,
        error: None,
        error_id: None,
        labels: vec![Label { key: "order".into(), value: "o".repeat(500).into() }],
        is_own: false,
    };
    let told = taken(Line::Log(map::log(&record, "shop", &sanitizer())));
    let wanted = ["the end of its long texts", "most of its texts", "the end of its labels", "labels"];
    assert_eq!(names(&told), wanted);
    assert_eq!(characters(&told[1].1["log"]["message"]), SHORT);
    assert_eq!(told[3].1["log"]["message"], told[1].1["log"]["message"], "the message stays");
}
