//! Trace headers of outgoing requests.

use axum::{Router, body::Body, extract::Request, http::HeaderMap, routing::get};
use http_body_util::BodyExt;
use opentelemetry::{Context, KeyValue, baggage::BaggageExt};
use tower::{Layer, ServiceExt};
use tower_apm::{client_layer, testkit::TestAgent};

use crate::{
    in_transaction, only_span,
    server::{Server, client},
    spans,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn fetch(server: Server) {
    let response = client_layer().layer(client()).oneshot(server.get("/ok")).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// Sends requests with these headers to a service that calls the server for each request.
async fn serve(apm: &TestAgent, server: &Server, path: &str, headers: &[(&'static str, &str)]) {
    let (app, server) = (Router::new(), server.clone());
    let handler = async move || fetch(server).await;
    let app = app.route("/orders", get(handler.clone())).route("/health", get(handler)).layer(apm.layer());
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.headers_mut().extend(
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>(),
    );
    app.oneshot(request).await.unwrap();
}

fn one(values: Vec<Option<String>>) -> Option<String> {
    assert_eq!(values.len(), 1);
    values.into_iter().next().flatten()
}

#[tokio::test]
async fn request_carries_the_id_of_its_span_and_the_state_of_the_trace() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    serve(&apm, &server, "/orders", &[("traceparent", CALLER), ("tracestate", "es=s:0.5,vendor=x")]).await;
    let id = only_span(&apm).await["id"].as_str().unwrap().to_owned();
    assert_eq!(one(server.header("traceparent")), Some(format!("00-{TRACE}-{id}-01")));
    assert_eq!(one(server.header("tracestate")).as_deref(), Some("es=s:0.5,vendor=x"));
}

#[tokio::test]
async fn request_carries_baggage() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let baggage = Context::current().with_baggage([KeyValue::new("tenant", "market")]);
        opentelemetry::trace::FutureExt::with_context(fetch(server.clone()), baggage).await;
    })
    .await;
    assert_eq!(one(server.header("baggage")).as_deref(), Some("tenant=market"));
}

#[tokio::test]
async fn unsampled_request_propagates() {
    let server = Server::start().await;
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    serve(&apm, &server, "/orders", &[]).await;
    let parent = one(server.header("traceparent")).unwrap();
    assert!(parent.starts_with("00-") && parent.ends_with("-00"), "{parent}");
    assert_eq!(one(server.header("tracestate")).as_deref(), Some("es=s:0"));
    assert_eq!(spans(&apm).await.len(), 0);
}

#[tokio::test]
async fn ignored_request_propagates() {
    let server = Server::start().await;
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/health"])).start().await;
    serve(&apm, &server, "/health", &[("traceparent", CALLER)]).await;
    assert_eq!(one(server.header("traceparent")).as_deref(), Some(CALLER));
    assert_eq!(spans(&apm).await.len(), 0);
}

#[tokio::test]
async fn span_beyond_the_limit_propagates() {
    let server = Server::start().await;
    let apm = TestAgent::builder().configure(|agent| agent.transaction_max_spans(0)).start().await;
    in_transaction(&apm, fetch(server.clone())).await;
    assert!(one(server.header("traceparent")).unwrap().ends_with("-01"));
    apm.expect_transaction("work").await.field("/span_count/dropped", 1);
}
