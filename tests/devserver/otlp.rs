//! OTLP over HTTP and gRPC: responses and stored events.

use std::{io::Write, time::Duration};

use axum::body::Body;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::Version;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::logs_service_client::LogsServiceClient,
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
        },
        trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient},
    },
    metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric::Data,
    },
};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, codec::CompressionEncoding, transport::Channel};
use tower_apm::devserver::{Answer, DevServer, Kind, Protocol, Query};

use crate::{
    client::{self, PROTOBUF, get, request},
    requests,
};

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

pub(crate) fn server() -> DevServer {
    DevServer::bind("127.0.0.1:0").unwrap()
}

/// Two spans and what belongs to them.
pub(crate) fn traces() -> ExportTraceServiceRequest {
    let spans = vec![requests::span(1, 2, false, Vec::new()), requests::span(2, 3, true, Vec::new())];
    requests::traces(requests::resource(), spans)
}

pub(crate) fn post(server: &DevServer, path: &str, body: &[u8]) -> client::Answer {
    request(server, &format!("POST {path}"), &[PROTOBUF], body)
}

async fn channel(server: &DevServer) -> Channel {
    tonic::transport::Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap()
}

/// Everything that is stored, without the time and the way by which it came and without ids that are made up.
fn stored(server: &DevServer) -> Vec<Value> {
    let strip = |event: &std::sync::Arc<tower_apm::devserver::Event>| {
        let mut body = event.body();
        if event.kind() == Kind::Error {
            body["id"] = "made up".into();
        }
        json!([event.kind().as_str(), event.metadata(), body])
    };
    server.store().query(&Query::new()).events.iter().map(strip).collect()
}

#[test]
fn traces_are_shown_as_transactions_and_spans_below_their_metadata() {
    let server = server();
    let answer = post(&server, "/v1/traces", &traces().encode_to_vec());
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));

    let listed = get(&server, "/api/events").json();
    assert_eq!(listed["total"], 3, "{listed:#}");
    let events = listed["events"].as_array().unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event["type"].as_str(), event["protocol"].as_str())).collect();
    assert_eq!(kinds, ["span", "transaction", "metadata"].map(|kind| (Some(kind), Some("otlp/http"))));
    assert_eq!(events[1]["event"]["name"], "span 1");
    assert_eq!(events[1]["metadata"]["service"]["name"], "shop__");
    assert_eq!(get(&server, "/api/events?service=shop__&type=span").json()["total"], 1);
    let stats = get(&server, "/api/stats").json();
    assert_eq!(
        (&stats["requests"], &stats["accepted"]["transaction"], &stats["accepted"]["span"]),
        (&1.into(), &1.into(), &1.into())
    );
}

#[test]
fn every_compression_is_accepted() {
    let server = server();
    let message = traces().encode_to_vec();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&message).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&message).unwrap();
    let (gzip, zlib) = (gzip.finish().unwrap(), zlib.finish().unwrap());
    for (encoding, body) in
        [(Some("gzip"), &gzip), (Some("deflate"), &zlib), (None, &gzip), (None, &zlib), (Some("identity"), &message)]
    {
        let headers: Vec<_> =
            encoding.map(|encoding| ("Content-Encoding", encoding)).into_iter().chain([PROTOBUF]).collect();
        assert_eq!(request(&server, "POST /v1/traces", &headers, body).status, 200, "{encoding:?}");
        assert_eq!(server.store().stats().held, 3, "{encoding:?}");
        server.clear();
    }
}

#[tokio::test]
async fn grpc_on_the_same_port_stores_what_http_stores() {
    let (by_http, by_grpc) = (server(), server());
    let logs = requests::logs(requests::resource(), vec![requests::record()]);
    for (path, message) in [
        ("/v1/traces", requests::traces(requests::resource(), requests::rows()).encode_to_vec()),
        ("/v1/metrics", requests::metrics().encode_to_vec()),
        ("/v1/logs", logs.encode_to_vec()),
    ] {
        assert_eq!(post(&by_http, path, &message).status, 200);
    }
    let channel = channel(&by_grpc).await;
    let traces = requests::traces(requests::resource(), requests::rows());
    let mut client = TraceServiceClient::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    client.export(traces).await.unwrap();
    let answer = MetricsServiceClient::new(channel.clone()).export(requests::metrics()).await.unwrap().into_inner();
    assert_eq!(answer.partial_success.unwrap().rejected_data_points, 2);
    LogsServiceClient::new(channel).export(logs).await.unwrap();
    assert_eq!(stored(&by_grpc), stored(&by_http));
    let events = by_grpc.store().query(&Query::new()).events;
    assert!(events.len() > 100 && events.iter().all(|event| event.protocol() == Protocol::OtlpGrpc));
}

#[tokio::test]
async fn http2_is_accepted_for_grpc_only() {
    let server = server();
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    for (method, path, status) in [
        ("POST", "/intake/v2/events", 415),
        ("POST", "/v1/traces", 415),
        ("POST", "/api/events", 415),
        ("GET", "/", 405),
    ] {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", server.url()));
        let answer = client.request(request.body(Body::from("{}")).unwrap()).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (status.try_into().unwrap(), Version::HTTP_2), "{path}");
    }
    let mut grpc = tonic::client::Grpc::new(channel(&server).await);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let refused = grpc.unary(tonic::Request::new(()), path, Empty).await.map(|_: tonic::Response<()>| ()).unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn wrong_credentials_are_refused_over_http_and_grpc() {
    let server = DevServer::builder().secret_token("right").bind("127.0.0.1:0").unwrap();
    for headers in [&[][..], &[("Authorization", "Bearer wrong")]] {
        let answer = request(&server, "POST /v1/traces", headers, &traces().encode_to_vec());
        assert_eq!(answer.status, 401);
        assert!(answer.json()["error"].as_str().unwrap().starts_with("authentication failed"), "{answer:?}");
    }
    let mut client = TraceServiceClient::new(channel(&server).await);
    assert_eq!(client.export(traces()).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(server.store().stats().held, 0);

    let right = [("Authorization", "Bearer right"), PROTOBUF];
    assert_eq!(request(&server, "POST /v1/traces", &right, &traces().encode_to_vec()).status, 200);
    let mut message = tonic::Request::new(traces());
    message.metadata_mut().insert("authorization", "Bearer right".parse().unwrap());
    client.export(message).await.unwrap();
    assert_eq!(server.store().stats().accepted.transaction, 2);
}

fn exponential(points: usize) -> ExportMetricsServiceRequest {
    let data_points = vec![ExponentialHistogramDataPoint::default(); points];
    let data = Some(Data::ExponentialHistogram(ExponentialHistogram { data_points, ..Default::default() }));
    let mut request = requests::metrics();
    request.resource_metrics.push(ResourceMetrics {
        scope_metrics: vec![ScopeMetrics {
            metrics: vec![Metric { name: "e".into(), data, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    });
    request
}

#[test]
fn unknown_metric_points_are_a_partial_success() {
    let server = server();
    let answer = post(&server, "/v1/metrics", &exponential(5).encode_to_vec());
    assert_eq!(answer.status, 200);
    let partial = ExportMetricsServiceResponse::decode(answer.bytes.as_slice()).unwrap().partial_success.unwrap();
    // and a number that is none, and a histogram with a bucket too few
    assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (7, "unsupported data points"));
    let stats = server.store().stats();
    assert_eq!(stats.rejected.metricset, 7);
    assert!(stats.accepted.metricset > 3, "the others are there: {stats:?}");
}

#[tokio::test]
async fn scripted_answers_apply_to_otlp() {
    let server = server();
    let message = traces().encode_to_vec();
    server.script([
        Answer::unavailable(),
        Answer::too_many(),
        Answer::forbidden(),
        Answer::failed_after(1),
        Answer::rejected(["no room"]),
        Answer::normal().after(Duration::from_millis(10)),
    ]);
    for (status, code, words) in [(503, 14, "queue is full"), (429, 8, "rate limit exceeded"), (403, 7, "unauthorized")]
    {
        let answer = post(&server, "/v1/traces", &message);
        let said = Status::decode(answer.bytes.as_slice()).unwrap();
        assert_eq!((answer.status, said.code), (status, code));
        assert!(said.message.starts_with(words), "{said:?}");
        assert_eq!(server.store().stats().held, 0, "{words}");
    }
    assert_eq!(post(&server, "/v1/traces", &message).status, 500);
    let stats = server.store().stats();
    assert_eq!((stats.accepted.events(), stats.held_by_type.transaction), (1, 1));

    let answer = post(&server, "/v1/traces", &message);
    let partial = ExportTraceServiceResponse::decode(answer.bytes.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_spans, partial.error_message.as_str()), (200, 1, "no room"));
    assert_eq!(post(&server, "/v1/traces", &message).body, "");
    assert_eq!(server.store().stats().accepted.span, 2);

    server.script([Answer::unavailable(), Answer::unauthorized(), Answer::failed_after(0), Answer::cut()]);
    let mut client = TraceServiceClient::new(channel(&server).await);
    for code in [Code::Unavailable, Code::Unauthenticated, Code::Unknown] {
        assert_eq!(client.export(traces()).await.unwrap_err().code(), code);
    }
    client.export(traces()).await.unwrap_err();
    assert_eq!((server.scripted(), server.store().stats().accepted.span), (0, 2));
    client.export(traces()).await.unwrap();
    assert_eq!(server.store().stats().accepted.span, 3);
}

/// Messages without content.
#[derive(Debug, Clone, Copy)]
struct Empty;

impl tonic::codec::Codec for Empty {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Empty {
    type Item = ();
    type Error = tonic::Status;

    fn encode(&mut self, (): (), _: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        Ok(())
    }
}

impl tonic::codec::Decoder for Empty {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        Ok(Some(()))
    }
}
