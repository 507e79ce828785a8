//! Messages that are sent and received, by `tower_apm::messaging`, without a broker.

mod batch;
mod receive;
mod send;

use std::collections::HashMap;

use serde_json::Value;
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

/// The only event of this kind.
fn only(apm: &TestAgent, kind: Kind) -> Value {
    let mut events = apm.events(kind);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

/// A document without ids and times.
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

fn text(headers: &HashMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(headers[name].clone()).unwrap()
}
