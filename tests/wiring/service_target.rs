//! The service target that code sets on an exit span.

use serde_json::{Value, json};
use tower_apm::{
    OtlpProtocol,
    testkit::{TestAgent, TestAgentBuilder},
};
use tracing::info_span;

async fn sent(builder: TestAgentBuilder, run: impl FnOnce()) -> Value {
    let apm = builder.start().await;
    apm.agent().start_transaction("job", "scheduled").in_scope(run);
    apm.expect_span("SELECT FROM orders").await.json().clone()
}

fn target(span: &Value) -> [Value; 2] {
    [&span["context"]["service"]["target"], &span["context"]["destination"]["service"]["resource"]].map(Clone::clone)
}

/// An exit span with this service target.
macro_rules! call {
    ($($target:tt)*) => {
        || {
            let call = info_span!(
                "SELECT FROM orders", otel.kind = "client", db.system = "postgresql", db.namespace = "orders", $($target)*
            );
            call.in_scope(|| ());
        }
    };
}

#[tokio::test]
async fn explicit_service_target_is_sent_in_place_of_the_inferred_one() {
    let span = sent(TestAgent::builder(), call!()).await;
    assert_eq!(target(&span), [json!({ "type": "postgresql", "name": "orders" }), json!("postgresql/orders")]);

    let both = call!("service.target.type" = "aurora", "service.target.name" = "orders-eu");
    let span = sent(TestAgent::builder(), both).await;
    assert_eq!(target(&span), [json!({ "type": "aurora", "name": "orders-eu" }), json!("aurora/orders-eu")]);
    let labels: Vec<_> = span["context"]["tags"].as_object().unwrap().keys().collect();
    assert_eq!(labels, ["target"], "no label repeats it");

    let span = sent(TestAgent::builder(), call!("service.target.name" = "replica")).await;
    assert_eq!(target(&span), [json!({ "type": "postgresql", "name": "replica" }), json!("postgresql/replica")]);
}

#[tokio::test]
async fn empty_service_target_removes_the_inferred_one() {
    let span = sent(TestAgent::builder(), call!("service.target.type" = "", "service.target.name" = "")).await;
    assert_eq!(target(&span), [Value::Null, Value::Null], "{span}");
}

#[tokio::test]
async fn explicit_service_target_is_the_resource_over_otlp() {
    let both = call!("service.target.type" = "aurora", "service.target.name" = "orders-eu");
    let span = sent(TestAgent::builder().otlp(OtlpProtocol::HttpProtobuf), both).await;
    assert_eq!(span["context"]["destination"]["service"]["resource"], "aurora/orders-eu", "{span}");
}
