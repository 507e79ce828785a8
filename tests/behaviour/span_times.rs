//! Timestamps and durations of spans.

use std::time::{Duration, SystemTime};

use axum::{Router, routing::get};
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use serde_json::Value;
use tower_apm::testkit::{Kind, TestAgent};
use tracing::info_span;

use crate::http::call;

/// In microseconds.
fn interval(event: &Value) -> (f64, f64) {
    let start = event["timestamp"].as_f64().unwrap();
    (start, start + event["duration"].as_f64().unwrap() * 1000.0)
}

// spec: tracing-transactions.md, tracing-spans.md
#[tokio::test]
async fn spans_lie_within_the_time_of_their_transaction() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let first = info_span!("first");
        (0..50).for_each(|_| info_span!("one").in_scope(|| ()));
        first.in_scope(|| info_span!("inner").in_scope(tokio::task::yield_now)).await;
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    let transaction = interval(apm.expect_transaction("GET /").await.json());
    let spans = apm.events(Kind::Span);
    assert_eq!(spans.len(), 52);
    for span in &spans {
        let (start, end) = interval(span);
        // timestamps are whole microseconds
        assert!(transaction.0 <= start && end <= transaction.1 + 2.0, "{span:?} in {transaction:?}");
    }
}

#[tokio::test]
async fn explicit_span_times_are_kept() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("import");
    let now = SystemTime::now();
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    let cases = [
        ("the past", now - 30 * day, now - 30 * day + second),
        ("the past, up to now", now - 30 * day, now),
        ("minutes ago", now - 300 * second, now - 299 * second),
        ("minutes ago, up to now", now - 300 * second, now),
        ("from now on", now, now + day),
        ("the future", now + day, now + day + second),
        ("backwards", now - 30 * day, now - 31 * day),
    ];
    apm.agent().start_transaction("import", "scheduled").in_scope(|| {
        for (name, start, end) in cases {
            tracer.span_builder(name).with_start_time(start).start(&tracer).end_with_timestamp(end);
        }
    });
    apm.expect_transaction("import").await;
    for (name, start, end) in cases {
        let span = apm.expect_span(name).await;
        let expected = start.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as f64;
        let duration = end.duration_since(start).unwrap_or_default().as_secs_f64() * 1000.0;
        // times of the last hour are converted to the monotonic clock, which may differ a little
        let about = |one: f64, other: f64, what: &str| assert!((one - other).abs() < 50_000.0, "{name}: {what} {one}");
        about(span.json()["timestamp"].as_f64().unwrap(), expected, "timestamp");
        about(span.json()["duration"].as_f64().unwrap() * 1000.0, duration * 1000.0, "duration");
    }
}
