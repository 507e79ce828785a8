//! gRPC calls with tonic's `Channel`.

use std::{convert::Infallible, future::ready, net::SocketAddr, time::Duration};

use ::tonic::{
    Code, Request,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use axum::{body::Bytes, http::HeaderMap};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_apm::{ClientService, client_layer, testkit::Kind, testkit::TestAgent};

use crate::{agents, by_otlp, document, events, in_transaction, only_span, server::closed_port, spans};

async fn serve() -> SocketAddr {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("ok", ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

fn channel(address: SocketAddr) -> ClientService<Channel> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    ServiceBuilder::new().layer(client_layer().server_address("127.0.0.1", address.port())).service(channel)
}

fn client(address: SocketAddr) -> HealthClient<ClientService<Channel>> {
    HealthClient::new(channel(address))
}

fn check(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.into() })
}

fn call(outcome: &str) -> Value {
    json!({
        "name": "/grpc.health.v1.Health/Check",
        "type": "external",
        "subtype": "grpc",
        "outcome": outcome,
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "destination": {
                "address": "127.0.0.1",
                "port": 8080,
                "service": { "name": "", "type": "", "resource": "127.0.0.1:8080" }
            },
            "service": { "target": { "type": "grpc", "name": "127.0.0.1:8080" } }
        }
    })
}

/// Returns the documents over the intake protocol and over OTLP.
fn both(outcome: &str) -> [Value; 2] {
    [call(outcome), by_otlp(call(outcome))]
}

#[tokio::test]
async fn call_is_named_by_its_method_and_succeeds_with_status_ok() {
    let address = serve().await;
    for (apm, want) in agents().await.into_iter().zip(both("success")) {
        in_transaction(&apm, client(address).check(check("ok"))).await.unwrap();
        assert_eq!(document(&only_span(&apm).await, address.port()), want);
        apm.expect_span("/grpc.health.v1.Health/Check").await.child_of("work");
    }
}

#[tokio::test]
async fn each_status_but_ok_is_a_failure() {
    let address = serve().await;
    for (apm, want) in agents().await.into_iter().zip(both("failure")) {
        let error = in_transaction(&apm, client(address).check(check("no such service"))).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(document(&only_span(&apm).await, address.port()), want);
        assert_eq!(events(&apm, Kind::Error).await.len(), 0, "a status is no error of the client");
    }
}

#[tokio::test]
async fn stream_that_is_not_read_to_its_end_has_an_unknown_outcome() {
    let address = serve().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let mut changes = client(address).watch(check("ok")).await.unwrap().into_inner();
        changes.message().await.unwrap().unwrap();
        assert_eq!(spans(&apm).await.len(), 0, "the stream continues");
    })
    .await;
    let span = only_span(&apm).await;
    assert_eq!((&span["name"], &span["outcome"]), (&json!("/grpc.health.v1.Health/Watch"), &json!("unknown")));
}

#[tokio::test]
async fn refused_connection_is_a_failure_with_an_error() {
    let address = closed_port().await;
    for (apm, want) in agents().await.into_iter().zip(both("failure")) {
        let error = in_transaction(&apm, client(address).check(check("ok"))).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        let span = only_span(&apm).await;
        assert_eq!(document(&span, address.port()), want);
        assert_eq!(events(&apm, Kind::Error).await[0]["parent_id"], span["id"]);
        apm.expect_error("transport error").await.caused_by("tcp connect error");
    }
}

#[tokio::test]
async fn deadline_that_expires_is_a_failure() {
    let address = serve().await;
    let apm = TestAgent::start().await;
    let mut request = check("ok");
    request.set_timeout(Duration::from_nanos(1));
    in_transaction(&apm, client(address).check(request)).await.unwrap_err();
    assert_eq!(only_span(&apm).await["outcome"], "failure");
}

#[tokio::test]
async fn cancelled_call_has_an_unknown_outcome() {
    let address = serve().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let mut client = client(address);
        let mut call = Box::pin(client.check(check("ok")));
        assert!(futures_util::poll!(&mut call).is_pending());
    })
    .await;
    assert_eq!(only_span(&apm).await["outcome"], "unknown");
}

#[tokio::test]
async fn interceptor_works_with_the_layer() {
    let address = serve().await;
    let apm = TestAgent::start().await;
    let intercept = |mut request: Request<()>| {
        request.metadata_mut().insert("x-tenant", "market".parse().unwrap());
        Ok(request)
    };
    let mut client = HealthClient::with_interceptor(channel(address), intercept);
    in_transaction(&apm, client.check(check("ok"))).await.unwrap();
    assert_eq!(document(&only_span(&apm).await, address.port()), call("success"));
}

#[tokio::test]
async fn call_carries_the_id_of_its_span() {
    let apm = TestAgent::start().await;
    let (_, health) = tonic_health::server::health_reporter();
    let (send, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let keep = tower::util::MapRequestLayer::new(move |request: ::http::Request<_>| {
        send.send(request.headers().clone()).unwrap();
        request
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().layer(keep).add_service(health).serve_with_incoming(TcpIncoming::from(listener)));
    in_transaction(&apm, client(address).check(check(""))).await.unwrap();
    let span = only_span(&apm).await;
    let parent = sent.recv().await.unwrap()["traceparent"].to_str().unwrap().to_owned();
    let id = |name: &str| span[name].as_str().unwrap().to_owned();
    assert_eq!(parent, format!("00-{}-{}-01", id("trace_id"), id("id")));
}

#[tokio::test]
async fn address_is_unknown_unless_the_layer_sets_it() {
    let address = serve().await;
    let apm = TestAgent::start().await;
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = HealthClient::new(ServiceBuilder::new().layer(client_layer()).service(channel));
    in_transaction(&apm, client.check(check("ok"))).await.unwrap();
    let context = &only_span(&apm).await["context"];
    assert_eq!(context["service"]["target"], json!({ "type": "grpc", "name": "grpc.health.v1.Health" }));
    assert_eq!(context["destination"].get("address"), None);
}

/// Calls a server that responds with this status, these headers and these trailers.
async fn outcome(status: u16, headers: &[(&'static str, &str)], trailers: Option<&[(&'static str, &str)]>) -> Value {
    let map = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    };
    let frames = [Some(Frame::data(Bytes::from("message"))), trailers.map(map).map(Frame::trailers)];
    let body = StreamBody::new(stream::iter(frames.into_iter().flatten().map(Ok::<_, Infallible>)));
    let mut response = ::http::Response::builder().status(status).body(body).unwrap();
    *response.headers_mut() = map(headers);
    let mut response = Some(response);
    let inner = service_fn(move |_: ::http::Request<()>| ready(Ok::<_, Infallible>(response.take().unwrap())));
    let request = ::http::Request::post("http://orders.internal/shop.Market/Buy")
        .header("content-type", "application/grpc+proto");
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let response = client_layer().layer(inner).oneshot(request.body(()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    })
    .await;
    let span = only_span(&apm).await;
    assert_eq!((&span["name"], &span["subtype"]), (&json!("/shop.Market/Buy"), &json!("grpc")));
    span["outcome"].clone()
}

#[tokio::test]
async fn status_is_in_the_trailers_or_in_the_headers() {
    let status = |code| [("grpc-status", code)];
    assert_eq!(outcome(200, &[], Some(&status("0"))).await, "success");
    assert_eq!(outcome(200, &[], Some(&status("1"))).await, "failure");
    assert_eq!(outcome(200, &status("0"), None).await, "success");
    assert_eq!(outcome(200, &status("7"), None).await, "failure");
}

#[tokio::test]
async fn response_without_a_status_is_a_failure() {
    assert_eq!(outcome(200, &[], Some(&[("x-took", "1")])).await, "failure");
    assert_eq!(outcome(200, &[], None).await, "failure");
    assert_eq!(outcome(503, &[], None).await, "failure", "the response of a proxy");
}
