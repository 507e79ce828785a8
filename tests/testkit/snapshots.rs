//! Snapshots are deterministic and keep the relations between events.

use serde_json::Value;
use tower_apm::testkit::TestAgent;

use crate::app::{app, call};

async fn snapshot(path: &str, name: &str) -> Value {
    let apm = TestAgent::start().await;
    call(app(&apm), path).await;
    apm.snapshot(name).await
}

#[tokio::test]
async fn snapshot_is_deterministic() {
    for (path, name) in [("/listings/7", "GET /listings/{id}"), ("/settle", "GET /settle")] {
        let (one, other) = (snapshot(path, name).await, snapshot(path, name).await);
        assert_eq!(one, other, "{one:#} {other:#}");
    }
}

#[tokio::test]
async fn snapshot_keeps_the_relations_between_events() {
    let listing = snapshot("/listings/7", "GET /listings/{id}").await;
    let transaction = &listing["transaction"];
    assert_eq!((&transaction["id"], &transaction["trace_id"]), (&"[transaction]".into(), &"[trace]".into()));
    assert_eq!((&transaction["timestamp"], &transaction["duration"]), (&"[time]".into(), &"[duration]".into()));
    let spans = listing["spans"].as_array().unwrap();
    let of = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    assert_eq!(of("load")["parent_id"], "[transaction]");
    assert_eq!(of("store")["parent_id"], of("load")["id"]);
    assert_eq!(of("store")["transaction_id"], "[transaction]");
    let settle = snapshot("/settle", "GET /settle").await;
    let error = &settle["errors"][0];
    assert_eq!((&error["id"], &error["parent_id"]), (&"[error-1]".into(), &"[transaction]".into()));
    assert_eq!(error["exception"]["stacktrace"], "[frames]");
}
