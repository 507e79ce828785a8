//! Invalid and too large OTLP requests are refused, and other requests are not affected.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, ArrayValue, any_value::Value},
};
use prost::Message;
use tower_apm::devserver::DevServer;

use crate::{
    client::{PROTOBUF, request},
    otlp::{Status, post, server, traces},
    requests,
};

/// The length-delimited field of this number.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A request whose one group of spans is this.
fn spans(spans: &[u8]) -> Vec<u8> {
    field(1, &field(2, spans))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(body).unwrap();
    gzip.finish().unwrap()
}

/// An attribute that is a list of a list of a list…
fn nested(depth: usize) -> Vec<u8> {
    let value = (0..depth).fold(AnyValue::default(), |value, _| AnyValue {
        value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })),
    });
    let attribute = requests::attribute("deep", value);
    requests::traces(requests::resource(), vec![requests::span(1, 2, false, vec![attribute])]).encode_to_vec()
}

/// 400 in words, nothing stored, and the next request is taken.
fn refused(server: &DevServer, headers: &[(&str, &str)], body: &[u8], words: &str) {
    let before = server.store().stats();
    let headers = [&[PROTOBUF], headers].concat();
    let answer = request(server, "POST /v1/traces", &headers, body);
    assert_eq!(answer.status, 400, "{words}");
    let said = Status::decode(answer.bytes.as_slice()).unwrap();
    assert!(said.code == 3 && said.message.contains(words), "{said:?}");
    let stats = server.store().stats();
    assert_eq!((stats.held, stats.unrecognized), (before.held, before.unrecognized + 1), "{words}");
    assert_eq!(stats.last_rejection, Some(said.message));
    assert_eq!(post(server, "/v1/traces", &traces().encode_to_vec()).status, 200);
    assert_eq!(server.store().stats().held, before.held + 3);
}

#[test]
fn invalid_message_is_refused_as_a_whole() {
    let server = server();
    let good = traces().encode_to_vec();
    for body in [
        b"garbage that is no protobuf".as_slice(),
        &good[..good.len() - 1],
        // a length beyond the end, and one beyond all memory
        &[0x0a, 0x7f, 0x00],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        // a varint without an end
        &[0xff; 11],
        // the good first, and then a span whose name is no text
        &[good.clone(), spans(&field(2, &field(5, &[0xff, 0xfe])))].concat(),
    ] {
        refused(&server, &[], body, "cannot read the message");
    }
    refused(&server, &[], b"{\"resourceSpans\":[]}", "only binary protobuf");
}

#[test]
fn other_media_types_are_refused() {
    let server = server();
    let body = traces().encode_to_vec();
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/json"),
        Some("application/octet-stream"),
        Some("text/plain;x=application/x-protobuf"),
        Some("application/x-protobuf, text/plain"),
    ] {
        let headers: Vec<_> = content_type.map(|value| ("Content-Type", value)).into_iter().collect();
        let answer = request(&server, "POST /v1/traces", &headers, &body);
        assert_eq!(answer.status, 415, "{content_type:?}");
        let said = Status::decode(answer.bytes.as_slice()).unwrap();
        assert!(said.message.contains("only binary protobuf"), "{said:?}");
    }
    assert_eq!(server.store().stats().held, 0);
    let named = [("Content-Type", "application/x-protobuf; charset=utf-8")];
    assert_eq!(request(&server, "POST /v1/traces", &named, &body).status, 200);
}

#[test]
fn deeply_nested_message_is_refused() {
    let server = server();
    assert_eq!(post(&server, "/v1/traces", &nested(20)).status, 200);
    for depth in [64, 1_000] {
        refused(&server, &[], &nested(depth), "nested deeper");
    }
}

#[test]
fn message_over_the_memory_budget_is_refused_before_decoding() {
    let server = server();
    // two bytes each
    let many = spans(&field(2, &[]).repeat(1_000_000));
    refused(&server, &[], &many, "bytes of memory");
    let many = spans(&field(2, &field(9, &[]).repeat(2_500_000)));
    refused(&server, &[], &many, "bytes of memory");
    refused(&server, &[("Content-Encoding", "gzip")], &gzip(&many), "bytes of memory");
}

/// What spans of a scope, and events of a span, have in common is written into each of them.
#[test]
fn otlp_messages_that_expand_beyond_the_limit_are_refused() {
    let server = server();
    let long = field(1, &vec![b'x'; 500_000]);
    let scope = field(1, &field(2, &[field(1, &long), field(2, &[]).repeat(1_000)].concat()));
    refused(&server, &[], &scope, "bytes of events");
    // a long attribute of the request, links to children
    let event = field(11, &[]).repeat(1_000);
    let attribute = field(9, &[field(1, b"url.full"), field(2, &long)].concat());
    refused(&server, &[], &spans(&field(2, &[attribute, event.clone()].concat())), "bytes of events");
    let child = field(13, &field(4, &[field(1, b"is_child"), field(2, &[0x10, 1])].concat()));
    refused(&server, &[], &spans(&field(2, &[child.repeat(10_000), event].concat())), "bytes of events");
}

#[test]
fn decompression_bomb_is_refused() {
    let server = server();
    let bomb = gzip(&vec![0; 40 * 1024 * 1024]);
    assert!(bomb.len() < 50_000);
    refused(&server, &[("Content-Encoding", "gzip")], &bomb, "more than 32 MiB");
    refused(&server, &[("Content-Encoding", "gzip")], &bomb[..1_000], "cut short");
    refused(&server, &[("Content-Encoding", "deflate")], b"plain", "cannot read the body");
}

#[test]
fn empty_message_is_accepted_and_get_is_refused() {
    let server = server();
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
        assert_eq!(post(&server, path, b"").status, 200);
        assert_eq!(request(&server, &format!("GET {path}"), &[], b"").status, 405);
    }
    assert_eq!(server.store().stats().held, 0);
}

#[tokio::test]
async fn grpc_messages_are_limited_to_4_mib() {
    let server = server();
    let channel = tonic::transport::Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut client = TraceServiceClient::new(channel.clone());
    let of = |size: usize| {
        let attribute = requests::attribute("colour", requests::text(&"x".repeat(size)));
        requests::traces(requests::resource(), vec![requests::span(1, 2, false, vec![attribute])])
    };
    client.export(of(4_000_000)).await.unwrap();
    let too_large = client.export(of(4_200_000)).await.unwrap_err();
    assert_eq!(too_large.code(), tonic::Code::ResourceExhausted, "{too_large:?}");
    let mut packed = TraceServiceClient::new(channel).send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let too_large = packed.export(of(5_000_000)).await.unwrap_err();
    assert_eq!(too_large.code(), tonic::Code::ResourceExhausted, "{too_large:?}");
    let deep = ExportTraceServiceRequest::decode(nested(20).as_slice()).unwrap();
    client.export(deep).await.unwrap();
    assert_eq!(server.store().stats().accepted.transaction, 2);
}
