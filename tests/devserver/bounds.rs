//! Answers, memory and work are bounded for any request.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http_body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use tower_apm::devserver::{DevServer, Kind, Query};

use crate::{
    client::{Connection, NDJSON, PROTOBUF, get, lines, poll, post, request},
    otlp::{Status, traces},
    requests,
    spec::{ERROR, METADATA, SPAN},
};

const MIB: usize = 1024 * 1024;

fn server() -> DevServer {
    DevServer::bind("127.0.0.1:0").unwrap()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(body).unwrap();
    gzip.finish().unwrap()
}

fn post_gzip(server: &DevServer, body: &[u8]) -> crate::client::Answer {
    let headers = [NDJSON, ("Content-Encoding", "gzip")];
    request(server, "POST /intake/v2/events?verbose", &headers, &gzip(body))
}

fn long_metadata(bytes: usize) -> String {
    METADATA.replace("\"service\"", &format!("\"labels\":{{\"a\":1}},\"x\":\"{}\",\"service\"", "x".repeat(bytes)))
}

/// Each event is listed with its metadata: a little that was sent can be a lot to answer.
#[test]
fn event_list_is_limited_in_bytes_and_returns_next() {
    let server = server();
    let spans: Vec<_> = (0..90).map(|number| SPAN.replace("SELECT FROM t", &format!("span {number}"))).collect();
    let metadata = long_metadata(270_000);
    let all: Vec<_> = [metadata.as_str()].into_iter().chain(spans.iter().map(String::as_str)).collect();
    assert_eq!(post(&server, &lines(&all)).counts(), (90, 0));

    let mut path = "/api/events?type=span&limit=10000&q=span%20".to_owned();
    let mut names = Vec::new();
    let mut pages = 0;
    loop {
        let answer = get(&server, &path);
        assert!(answer.bytes.len() < 9 * MIB, "{} bytes", answer.bytes.len());
        let page = answer.json();
        let events = page["events"].as_array().unwrap();
        assert_eq!(page["total"], 90 - names.len(), "what is before");
        names.extend(events.iter().map(|event| event["event"]["name"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(page["truncated"], true);
                path = next.to_owned();
            }
            None => break,
        }
    }
    assert_eq!(pages, 3);
    let expected: Vec<_> = (0..90).rev().map(|number| format!("span {number}")).collect();
    assert_eq!(names, expected, "each once, the newest first");
}

#[test]
fn event_list_is_limited_in_events() {
    let server = DevServer::builder().max_events(20_000).bind("127.0.0.1:0").unwrap();
    let body = [METADATA].into_iter().chain(std::iter::repeat_n(SPAN, 10_001)).collect::<Vec<_>>();
    assert_eq!(post(&server, &lines(&body)).counts(), (10_001, 0));
    for limit in ["18446744073709551615", "10001"] {
        let page = get(&server, &format!("/api/events?type=span&limit={limit}")).json();
        let listed = page["events"].as_array().unwrap().len();
        assert_eq!((listed <= 10_000, &page["truncated"]), (true, &true.into()), "{limit}");
        assert!(page["next"].as_str().is_some());
    }
    let asked = get(&server, "/api/events?type=span&limit=5").json();
    assert_eq!(asked["events"].as_array().unwrap().len(), 5);
    assert!(asked.get("truncated").is_none() && asked["next"].is_string(), "cut as it was asked for");
    assert_eq!(get(&server, "/api/events?limit=99999999999999999999").status, 400);
}

/// A client that does not read its answer keeps one event at most, and the server goes on.
#[test]
fn unread_answers_do_not_block_other_requests() {
    let server = DevServer::builder().max_unfinished_bytes(MIB).bind("127.0.0.1:0").unwrap();
    let metadata = long_metadata(270_000);
    let body: Vec<_> = [metadata.as_str()].into_iter().chain(std::iter::repeat_n(SPAN, 100)).collect();
    assert_eq!(post(&server, &lines(&body)).counts(), (100, 0));
    let mut unread: Vec<_> = (0..30).map(|_| Connection::open(server.addr())).collect();
    for connection in &mut unread {
        connection.send("GET /api/events?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let cut = poll(|| {
        let answer = get(&server, "/api/events?limit=10000");
        (answer.bytes.len() < MIB).then(|| answer.json())
    });
    assert_eq!(cut["truncated"], true, "there was no memory for more of it");
    assert_eq!(post(&server, &lines(&[METADATA, SPAN])).counts(), (1, 0));
    drop(unread);
    poll(|| (get(&server, "/api/events?limit=10000").bytes.len() > 7 * MIB).then_some(()));
}

/// An OTLP body of this many bytes when it is decompressed, and its beginning.
fn compressed_body(bytes: usize) -> Vec<u8> {
    let text = requests::attribute("colour", requests::text(&"x".repeat(bytes)));
    gzip(&requests::traces(requests::resource(), vec![requests::span(1, 2, false, vec![text])]).encode_to_vec())
}

#[test]
fn unfinished_otlp_bodies_share_the_memory_budget() {
    let server = DevServer::builder().max_unfinished_bytes(8 * MIB).bind("127.0.0.1:0").unwrap();
    let body = compressed_body(MIB);
    let headers = [PROTOBUF, ("Content-Encoding", "gzip")];
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&vec![0; MIB]).unwrap();
    let zlib = zlib.finish().unwrap();
    let unfinished: Vec<_> = (0..60)
        .map(|number| {
            let (encoding, body) = if number % 2 == 0 { ("gzip", &body) } else { ("deflate", &zlib) };
            let mut connection = Connection::open(server.addr());
            connection.send(format!(
                "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n\
                 Content-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            connection.send(&body[..body.len() - 12]);
            connection
        })
        .collect();
    let refused = poll(|| Some(request(&server, "POST /v1/traces", &headers, &body)).filter(|it| it.status != 200));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let said = Status::decode(refused.bytes.as_slice()).unwrap();
    assert!(said.code == 14 && said.message.contains("memory"), "{said:?}");
    let small = request(&server, "POST /v1/traces", &[PROTOBUF], &traces().encode_to_vec());
    assert_eq!(small.status, 200, "small requests are served meanwhile");
    drop(unfinished);
    poll(|| (request(&server, "POST /v1/traces", &headers, &body).status == 200).then_some(()));
}

#[test]
fn unfinished_lines_share_the_memory_budget() {
    let server = DevServer::builder().max_unfinished_bytes(MIB).bind("127.0.0.1:0").unwrap();
    let line = format!("{}\n{}", METADATA, "x".repeat(290_000));
    let mut open: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(server.addr());
            connection.send(
                "POST /intake/v2/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                 Content-Length: 10000000\r\n\r\n",
            );
            connection.send(&line);
            connection
        })
        .collect();
    // the first ones have the memory, the last one has not
    let refused = open.last_mut().unwrap().answer().unwrap();
    assert_eq!((refused.status, refused.header("retry-after"), refused.counts()), (503, Some("1"), (0, 1)));
    assert_eq!(post(&server, &lines(&[METADATA, SPAN])).counts(), (1, 0), "small requests are served meanwhile");
}

/// A body of which the first part has come.
struct Unfinished(Option<Bytes>);

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => std::task::Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => std::task::Poll::Pending,
        }
    }
}

fn grpc(server: &DevServer, body: Body) -> http::Request<Body> {
    http::Request::post(format!("{}/opentelemetry.proto.collector.trace.v1.TraceService/Export", server.url()))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .body(body)
        .unwrap()
}

fn framed(message: &[u8], is_compressed: bool) -> Vec<u8> {
    [&[u8::from(is_compressed)], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn http2() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

#[tokio::test]
async fn unfinished_grpc_streams_share_the_memory_budget() {
    let server = DevServer::builder().max_unfinished_bytes(8 * MIB).bind("127.0.0.1:0").unwrap();
    let message = requests::traces(
        requests::resource(),
        vec![requests::span(1, 2, false, vec![requests::attribute("a", requests::text(&"x".repeat(2 * MIB)))])],
    );
    let whole = framed(&message.encode_to_vec(), false);
    let client = http2();
    let open: Vec<_> = (0..60)
        .map(|_| {
            let part = Bytes::copy_from_slice(&whole[..whole.len() - 1]);
            tokio::spawn(client.request(grpc(&server, Body::new(Unfinished(Some(part))))))
        })
        .collect();
    let other = http2();
    let call = async |body: Vec<u8>| {
        let answer = other.request(grpc(&server, body.into())).await.unwrap();
        let status = answer.headers().get("grpc-status").cloned();
        if status.as_ref().is_some_and(|status| status == "8") {
            assert!(answer.headers().contains_key("grpc-status-details-bin"), "when to try again");
        }
        (answer.status(), status.map_or_else(|| "0".to_owned(), |status| status.to_str().unwrap().to_owned()))
    };
    let refused = async {
        loop {
            if call(whole.clone()).await.1 == "8" {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), refused).await.expect("RESOURCE_EXHAUSTED");
    let small = framed(&gzip(&traces().encode_to_vec()), true);
    assert_eq!(call(small).await.1, "0", "small calls are served meanwhile");
    open.iter().for_each(tokio::task::JoinHandle::abort);
    let taken = async { while call(whole.clone()).await.1 != "0" {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), taken).await.expect("the memory is given back");
}

/// A broken frame is refused before its message comes.
#[tokio::test]
async fn invalid_grpc_frames_are_refused() {
    let server = server();
    let client = http2();
    let good = traces().encode_to_vec();
    for (body, code) in [
        (vec![0, 0xff, 0xff, 0xff, 0xff], "8"),
        (vec![2, 0, 0, 0, 0], "13"),
        (vec![0, 0, 0], "13"),
        (Vec::new(), "13"),
        (framed(&good, false)[..20].to_vec(), "13"),
        ([framed(&good, false), framed(&good, false)].concat(), "13"),
        (framed(b"no gzip", true), "13"),
        (framed(&gzip(&vec![0; 5 * MIB]), true), "8"),
    ] {
        let shown = body.get(..8.min(body.len())).unwrap().to_vec();
        let answer = client.request(grpc(&server, body.into())).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], code, "{shown:?}");
    }
    assert_eq!(server.store().stats().held, 0);
    let answer = client.request(grpc(&server, framed(&good, false).into())).await.unwrap();
    assert!(answer.headers().get("grpc-status").is_none(), "the code comes behind the message");
}

/// Some hundred bytes are a lot of work; meanwhile the server answers.
#[test]
fn large_bodies_do_not_block_other_requests() {
    let server = server();
    let body = gzip(&[METADATA.as_bytes(), &b"\n{}"[..].repeat(90_000)].concat());
    assert!(body.len() < 1_000);
    let mut busy = Connection::open(server.addr());
    busy.send(format!(
        "POST /intake/v2/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    busy.send(&body);
    let mut halfway = 0;
    poll(|| {
        let refused = get(&server, "/api/stats").json()["unrecognized"].as_u64().unwrap();
        halfway += u64::from(refused > 0 && refused < 90_000);
        (refused == 90_000).then_some(())
    });
    assert!(halfway > 0, "it was answered before the body was worked off");
    assert_eq!(busy.answer().unwrap().status, 400);
}

#[test]
fn bodies_are_limited_in_lines_and_bytes() {
    let server = server();
    let with = |line: &str, count: usize| [METADATA, "\n", SPAN, &format!("\n{line}").repeat(count), "\n"].concat();
    let fits = post_gzip(&server, with("", 99_900).as_bytes());
    assert_eq!((fits.status, fits.counts()), (202, (1, 0)));
    for line in ["", "{}", "x"] {
        let answer = post_gzip(&server, with(line, 100_000).as_bytes());
        assert_eq!((answer.status, answer.counts().0), (413, 1), "{line}");
        assert!(answer.body.contains("100000"), "{}", answer.body.len());
    }
    let answer = post_gzip(&server, &[with("", 0).as_bytes(), &vec![b'x'; 65 * MIB]].concat());
    assert_eq!(answer.counts().0, 1);
    assert!(answer.status >= 400 && answer.body.contains("64 MiB"));
}

/// Each level of causes is read again, so what is deep must not be large.
#[test]
fn work_on_one_event_is_bounded() {
    let server = server();
    let nested = |levels: usize, bytes: usize| {
        let message = "x".repeat(bytes);
        let cause =
            r#""cause":[{"type":"t","#.repeat(levels) + &format!(r#""message":"{message}""#) + &"}]".repeat(levels);
        ERROR.replace("\"message\"", &format!("{cause},\"message\""))
    };
    for (levels, bytes, is_taken) in
        [(3, 290_000, true), (10, 290_000, true), (200, 10, true), (250, 280_000, false), (8_000, 10, false)]
    {
        let answer = post(&server, &lines(&[METADATA, &nested(levels, bytes), SPAN]));
        assert_eq!(answer.counts(), if is_taken { (2, 0) } else { (1, 1) }, "{levels} levels around {bytes} bytes");
    }
    let costly: Vec<_> = std::iter::repeat_n(nested(250, 280_000), 80).collect();
    let body: Vec<_> = [METADATA].into_iter().chain(costly.iter().map(String::as_str)).collect();
    let answer = post_gzip(&server, lines(&body).as_bytes());
    assert!(answer.status == 413 && answer.body.contains("deeply nested"), "{}", answer.status);
    let deep = "[".repeat(140_000) + &"]".repeat(140_000);
    let context = SPAN.replace("\"type\"", &format!("\"x\":{deep},\"type\""));
    assert_eq!(post(&server, &lines(&[METADATA, &context, SPAN])).counts(), (2, 0), "unknown fields may be deep");
    let keys: String = (0..20_000).map(|key| format!("\"{key}\":1,")).collect();
    let keys = SPAN.replace("\"type\"", &format!("{keys}\"type\""));
    assert_eq!(post(&server, &lines(&[METADATA, &keys])).counts(), (1, 0));
}

#[test]
fn error_messages_about_long_keys_are_short() {
    let server = server();
    let key = "é".repeat(100_000);
    let bad = SPAN.replace("\"type\"", &format!("\"context\":{{\"tags\":{{\"{key}\":[]}}}},\"type\""));
    let answer = post(&server, &lines(&[METADATA, &bad]));
    assert!(answer.json()["errors"][0]["message"].as_str().unwrap().len() <= 1024);
    assert!(server.store().stats().last_rejection.unwrap().len() <= 1024);
}

#[test]
fn central_configuration_is_limited_in_bytes() {
    let server = server();
    let body = |service: usize| {
        let value = "x".repeat(50_000);
        format!(r#"{{"service":{{"name":"{service}"}},"settings":{{"a":"{value}"}}}}"#)
    };
    let statuses: Vec<_> = (0..25)
        .map(|service| request(&server, "PUT /api/agent-config", &[], body(service).as_bytes()).status)
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(statuses[20..], [507; 5]);
    assert_eq!(request(&server, "PUT /api/agent-config", &[], body(3).as_bytes()).status, 200, "in its place");
    let huge = "x".repeat(2_000_000);
    assert_eq!(request(&server, "PUT /api/agent-config", &[], huge.as_bytes()).status, 400);
}

#[test]
fn event_size_includes_all_names() {
    let server = DevServer::builder().max_bytes(4 * MIB).bind("127.0.0.1:0").unwrap();
    let samples: Vec<_> = (0..10_000).map(|number| format!("\"{number}\":{{\"value\":1}}")).collect();
    let line = format!("{{\"metricset\":{{\"samples\":{{{}}}}}}}", samples.join(","));
    for _ in 0..20 {
        assert_eq!(post(&server, &lines(&[METADATA, &line])).counts(), (1, 0));
    }
    let held = server.store().query(&Query::new().kind(Kind::Metricset)).total;
    assert!(held * (line.len() + 10_000 * 32) <= 4 * MIB, "{held} are kept");
}
