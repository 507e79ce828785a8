use opentelemetry::{KeyValue, trace::SpanKind};

use super::*;
use crate::{
    apm_server::{ServerClient, ServerSettings, ServerVersion},
    config::LiveConfig,
    elastic::tests::records,
    intake::IntakeExporter,
    logged::Logged,
    pipeline::Exporter,
    record::{Context, Event, LabelValue, Sample},
};

/// What is logged while `events` go through an exporter.
fn logged(events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let logged = Logged::default();
    let live = LiveConfig::default();
    let client = ServerClient::new(&ServerSettings::from_config(&live.load(), None)).unwrap();
    let mut exporter = IntakeExporter::new(client, ServerVersion::default(), live, &records::resource()).unwrap();
    tracing::subscriber::with_default(logged.subscriber(), || {
        for event in events {
            // a metricset of which nothing is left
            let _ = exporter.add(event);
        }
    });
    logged.text().lines().map(str::to_owned).collect()
}

fn transaction(labels: Vec<Label>, custom: &[&'static str]) -> Event {
    let custom = custom.iter().map(|key| Custom { key: (*key).into(), json: "1".into() }).collect();
    let context = Context { labels, custom, ..Context::default() };
    Event::Transaction(Box::new(crate::record::TransactionRecord { otel: None, context, ..records::transaction() }))
}

fn labelled(key: &'static str, value: impl Into<LabelValue>) -> Event {
    transaction(vec![records::label(key, value)], &[])
}

#[test]
fn valid_events_cause_no_index_warnings() {
    let events = [
        transaction(Vec::new(), &[]),
        transaction(records::context().labels, &["order", "order.id"]),
        Event::Error(Box::new(records::error())),
        labelled("client_ip", "::1"),
        labelled("created", "2026-01-31T10:00:00Z"),
        labelled("paid_timestamp", "1769853600000"),
        labelled("location", "52.5, 13.4"),
        labelled("risk_score", "0.5"),
        labelled("risk_score_text", "high"),
        labelled("amount", 9_200_000_000_000_i64),
        labelled("restart", "now"),
    ];
    assert_eq!(logged(events), Vec::<String>::new());
}

#[test]
fn each_index_warning_is_logged_once_per_key() {
    let twice = |event: fn() -> Event| [event(), event()];
    for (events, key, words) in [
        (twice(|| labelled("", 1)), "", "label"),
        (twice(|| labelled(" ", "x")), "", "label"),
        (twice(|| transaction(Vec::new(), &[""])), "", "custom context"),
        (twice(|| transaction(Vec::new(), &["order.id", "order_id"])), "order_id", "last"),
        (twice(|| labelled("wei", -9_200_000_000_001_i64)), "wei", "9.2e12"),
        (twice(|| labelled("start", "soon")), "start", "found"),
        (twice(|| labelled("created", true)), "created", "found"),
        (twice(|| labelled("end", "2026 or so")), "end", "found"),
        (twice(|| labelled("location", "Berlin")), "location", "found"),
        (twice(|| labelled("sold.timestamp", "1 o'clock")), "sold_timestamp", "found"),
        (twice(|| labelled("client.ip", "unknown")), "client_ip", "found"),
        (twice(|| labelled("risk_score", "high")), "risk_score", "found"),
        (twice(|| labelled("imports", "a,b")), "imports", "found"),
        (twice(|| labelled("reexports", "a,b")), "reexports", "found"),
    ] {
        let lines = logged(events);
        assert!(
            lines.len() == 1 && lines[0].contains(words) && lines[0].contains(&format!("key={key:?}")),
            "{key} {words}: {lines:?}"
        );
        assert!(lines[0].contains("WARN tower_apm:"), "{lines:?}");
    }
}

#[test]
fn label_that_changes_its_type_is_logged_once() {
    let span = |value: i64| {
        Event::Span(Box::new(records::span("s", SpanKind::Internal, vec![KeyValue::new("listing.id", value)])))
    };
    let lines = logged([labelled("listing_id", "7"), labelled("vip", true), labelled("vip", "no"), span(7), span(8)]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(r#"key="listing_id""#) && lines[0].contains("number"), "{lines:?}");
}

#[test]
fn too_many_label_keys_are_logged_once_and_memory_is_bounded() {
    let keys = |range: std::ops::Range<usize>| {
        range.map(|n| transaction(vec![Label { key: format!("order_{n}").into(), value: 1.into() }], &[]))
    };
    // the sender has one for all
    assert_eq!(logged(keys(0..MANY_LABELS - 1)), Vec::<String>::new());
    let lines = logged(keys(0..2 * MAX_KEYS));
    assert!(lines.len() == 1 && lines[0].contains("100"), "{lines:?}");

    let mut checks = IndexChecks::default();
    for n in 0..2 * MAX_KEYS {
        let key = format!("key_{n}_ip");
        checks.labels(&[Label { key: key.clone().into(), value: i64::MAX.into() }]);
        checks.tags(&Tags { 0: vec![(key.into(), Scalar::Text("x".into()))] });
    }
    assert_eq!(checks.kinds.len(), MAX_KEYS);
    assert!(checks.told.values().all(|told| told.len() == MAX_KEYS));
}

fn metrics(names: &[&str]) -> MetricsRecord {
    let samples = names.iter().map(|name| ((*name).to_owned().into(), Sample::Gauge(1.0))).collect();
    MetricsRecord { timestamp: 1, samples, labels: Vec::new(), breakdown: None }
}

#[test]
fn metric_with_an_invalid_name_is_dropped_without_the_others() {
    let refused = ["", ".a", "a..b", "service"];
    let event = || Event::Metrics(Box::new(metrics(&["requests", "", ".a", "a..b", "service"])));
    let lines = logged([event(), event()]);
    assert_eq!(lines.len(), refused.len(), "{lines:?}");
    for (line, name) in lines.iter().zip(refused) {
        assert!(line.contains("metric") && line.contains(&format!("key={name:?}")), "{line}");
    }

    let mut checks = IndexChecks::default();
    let mut record = metrics(&["requests", "", ".a", "a..b", "service"]);
    checks.metrics(&mut record);
    assert_eq!(record.samples.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["requests"]);
    assert_eq!((checks.take_lost_keys(), checks.take_lost_keys()), (4, 0));
}

#[test]
fn metric_name_that_is_also_a_prefix_is_dropped() {
    let left = |names: &[&[&str]]| {
        let mut checks = IndexChecks::default();
        let records = names.iter().flat_map(|names| {
            let mut record = metrics(names);
            checks.metrics(&mut record);
            record.samples.into_iter().map(|(name, _)| name)
        });
        records.collect::<Vec<_>>()
    };
    assert_eq!(left(&[&["db.pool"], &["db.pool.size", "db.pools"], &["db.pool"]]), ["db.pool", "db.pools", "db.pool"]);
    assert_eq!(left(&[&["db.pool.size", "db.pool", "db"], &["db.pool"]]), ["db.pool.size"]);
}

#[test]
fn long_key_is_truncated_in_the_log() {
    let key = || Label { key: "k".repeat(4000).into(), value: i64::MAX.into() };
    let lines = logged([transaction(vec![key()], &[])]);
    assert!(lines.len() == 1 && lines[0].len() < 400, "{lines:?}");
}

#[test]
fn values_dropped_because_of_their_keys_are_counted() {
    let label = |key: &'static str| records::label(key, 1);
    let mut checks = IndexChecks::default();
    checks.labels(&[label(""), label("a.b"), label("a_b"), label("a*b"), label("c")]);
    assert_eq!(checks.take_lost_keys(), 3);
    let custom = |key: &'static str| Custom { key: key.into(), json: "1".into() };
    checks.custom(&[custom(" "), custom("a.b"), custom("a_b"), custom("c")]);
    assert_eq!(checks.take_lost_keys(), 2);
}
