//! Exit spans of HTTP clients and of gRPC clients, against real servers in this process.

mod http;
mod propagation;
mod server;
mod stacks;
mod tonic;

use serde_json::{Value, json};
use tower_apm::{
    OtlpProtocol,
    testkit::{Kind, TestAgent},
};

/// Starts an agent that sends over the intake protocol, and an agent that sends over OTLP.
async fn agents() -> [TestAgent; 2] {
    [TestAgent::start().await, TestAgent::builder().otlp(OtlpProtocol::HttpProtobuf).start().await]
}

/// Runs the work in a transaction.
async fn in_transaction<T>(apm: &TestAgent, work: impl Future<Output = T>) -> T {
    apm.agent().start_transaction("work", "scheduled").run(work).await
}

async fn events(apm: &TestAgent, kind: Kind) -> Vec<Value> {
    apm.flush().await;
    apm.events(kind)
}

async fn spans(apm: &TestAgent) -> Vec<Value> {
    events(apm, Kind::Span).await
}

async fn only_span(apm: &TestAgent) -> Value {
    let spans = spans(apm).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans[0].clone()
}

/// Returns the event without ids and times, and with the port 8080 instead of the server's port.
fn document(event: &Value, port: u16) -> Value {
    let mut event = event.clone();
    let fields = event.as_object_mut().unwrap();
    for name in ["id", "trace_id", "parent_id", "timestamp", "duration"] {
        assert!(fields.remove(name).is_some(), "{name} in {fields:?}");
    }
    fields.remove("transaction_id");
    serde_json::from_str(&event.to_string().replace(&port.to_string(), "8080")).unwrap()
}

/// Converts the intake document of a span to the document over OTLP.
///
/// OTLP does not support some fields, and the server adds others.
fn by_otlp(mut document: Value) -> Value {
    for name in ["action", "sync", "sample_rate", "otel"] {
        document.as_object_mut().unwrap().remove(name);
    }
    let service = &mut document["context"]["destination"]["service"];
    service["name"] = service["resource"].clone();
    service["type"] = "external".into();
    document["context"]["service"]["framework"] = json!({ "name": "axum" });
    document
}
