//! The tests in `tests/` run client crates against their real servers.

use serde_json::Value;
use tower_apm::{
    OtlpProtocol,
    testkit::{Kind, TestAgent},
};

/// The URL of a server that `run.sh` has started.
pub fn url(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: use tests/clients/run.sh"))
}

/// An agent that sends OTLP.
pub async fn by_otlp() -> TestAgent {
    TestAgent::builder().otlp(OtlpProtocol::HttpProtobuf).start().await
}

/// The spans of a transaction that does this work, in the order of their start.
pub async fn spans_of(apm: &TestAgent, work: impl Future) -> Vec<Value> {
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.flush().await;
    let mut spans = apm.events(Kind::Span);
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    spans
}

/// A span without ids and times.
pub fn timeless(span: &Value) -> Value {
    let mut span = span.clone();
    for field in ["id", "trace_id", "parent_id", "timestamp", "duration"] {
        assert!(span.as_object_mut().unwrap().remove(field).is_some(), "{field} in {span}");
    }
    span.as_object_mut().unwrap().remove("transaction_id"); // not part of OTLP
    span
}
