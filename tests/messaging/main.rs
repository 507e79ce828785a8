//! Messages that are sent and received with `tower_apm::messaging`, without a broker.

mod batch;
mod receive;
mod send;

use std::collections::HashMap;

use serde_json::{Value, json};
use tower_apm::{
    AgentBuilder, OtlpProtocol,
    testkit::{Kind, TestAgent},
};

/// The sender of most messages.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Elastic's own protocol, and OTLP.
const PROTOCOLS: [Option<OtlpProtocol>; 2] = [None, Some(OtlpProtocol::HttpProtobuf)];

#[derive(Debug, thiserror::Error)]
#[error("the sale failed")]
struct SaleError(#[source] Refused);

#[derive(Debug, thiserror::Error)]
#[error("no funds")]
struct Refused;

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

async fn start(protocol: Option<OtlpProtocol>) -> TestAgent {
    match protocol {
        None => TestAgent::start().await,
        Some(protocol) => TestAgent::builder().otlp(protocol).start().await,
    }
}

async fn configured(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

/// Returns the only event of this kind.
fn only(apm: &TestAgent, kind: Kind) -> Value {
    let mut events = apm.events(kind);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

/// Returns the document without ids and times.
fn timeless(event: &Value) -> Value {
    let mut event = event.clone();
    let fields = event.as_object_mut().unwrap();
    for field in ["id", "trace_id", "timestamp", "duration"] {
        assert!(fields.remove(field).is_some(), "{field} in {event}");
    }
    for field in ["parent_id", "transaction_id"] {
        event.as_object_mut().unwrap().remove(field);
    }
    event
}

/// Returns the document that the server creates from the same span over OTLP.
fn span_by_otlp(mut span: Value) -> Value {
    for field in ["otel", "sync", "sample_rate"] {
        span.as_object_mut().unwrap().remove(field);
    }
    let context = &mut span["context"];
    context["destination"]["service"]["name"] = "kafka".into();
    context["destination"]["service"]["type"] = "messaging".into();
    context["service"]["framework"] = json!({ "name": "axum" });
    span
}

/// Returns the document that the server creates from the same transaction over OTLP, which has no fields for the age,
/// the headers and the body of a message.
fn transaction_by_otlp(mut transaction: Value) -> Value {
    transaction["result"] = "Success".into();
    let queue = transaction["context"]["message"]["queue"].clone();
    transaction["context"]["message"] = json!({ "queue": queue });
    let fields = transaction.as_object_mut().unwrap();
    fields.remove("span_count");
    fields.retain(|name, value| name != "sample_rate" || *value != 1.0);
    transaction
}

fn text(headers: &HashMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(headers[name].clone()).unwrap()
}
