//! Idle and slow connections do not block new ones.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use prost::Message;
use tower_apm::devserver::{DevServer, Kind, Query};

use crate::{
    client::{Connection, NDJSON, get, lines, poll, post, request},
    otlp::Status,
    spec::{METADATA, SPAN},
};

/// So short that a test can wait for it.
const SHORT: Duration = Duration::from_millis(50);

const OPEN: &str = "POST /intake/v2/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";

fn is_closed(connection: &mut Connection) -> bool {
    match connection.answer() {
        Ok(answer) => panic!("an answer: {answer:?}"),
        Err(error) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
    }
}

#[test]
fn idle_connection_is_closed_for_a_new_one() {
    let server = DevServer::builder().max_connections(4).bind("127.0.0.1:0").unwrap();
    let mut idle: Vec<_> = (0..12).map(|_| Connection::open(server.addr())).collect();
    idle[0].try_send("GET / HT").ok();
    for _ in 0..8 {
        assert_eq!(get(&server, "/api/stats").status, 200);
    }
    assert!(is_closed(&mut idle[0]), "the oldest makes room first");
    let mut kept = Connection::open(server.addr());
    for _ in 0..3 {
        assert_eq!(
            kept.request("GET /api/stats", &[], b"").unwrap().status,
            200,
            "idle connections are kept otherwise"
        );
    }
}

#[test]
fn oldest_waiting_request_is_closed_for_a_new_connection() {
    let server = DevServer::builder().max_connections(2).bind("127.0.0.1:0").unwrap();
    let mut open: Vec<_> = (0..2).map(|_| Connection::open(server.addr())).collect();
    for connection in &mut open {
        connection.send(OPEN);
        connection.chunk(lines(&[METADATA]).as_bytes());
    }
    assert_eq!(get(&server, "/api/stats").status, 200);
    assert!(is_closed(&mut open[0]), "the oldest request");
    open[1].chunk(lines(&[SPAN]).as_bytes());
    open[1].chunk(b"");
    assert_eq!(open[1].answer().unwrap().status, 202);
}

#[test]
fn slow_heads_have_a_deadline() {
    let server = DevServer::builder().head_timeout(SHORT).bind("127.0.0.1:0").unwrap();
    for head in ["GET /api/stats HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "G", "PR"] {
        let mut connection = Connection::open(server.addr());
        connection.send(head);
        // each byte comes in time, the whole does not
        poll(|| connection.try_send("x").is_err().then_some(()));
        assert!(is_closed(&mut connection), "{head}");
    }
}

#[test]
fn head_timeout_does_not_apply_to_idle_connections() {
    let server = DevServer::builder().head_timeout(SHORT).bind("127.0.0.1:0").unwrap();
    let mut connection = Connection::open(server.addr());
    let start = Instant::now();
    while start.elapsed() < SHORT * 4 {
        assert_eq!(connection.request("GET /api/stats", &[], b"").unwrap().status, 200);
        std::thread::sleep(SHORT / 4);
    }
}

#[test]
fn slow_bodies_have_a_deadline_and_keep_received_events() {
    let server = DevServer::builder().body_timeout(SHORT).bind("127.0.0.1:0").unwrap();
    let mut intake = Connection::open(server.addr());
    intake.send(OPEN);
    intake.chunk(lines(&[METADATA, SPAN]).as_bytes());
    let answer = intake.answer().unwrap();
    assert_eq!((answer.status, answer.counts()), (503, (1, 1)));
    assert_eq!(server.store().query(&Query::new().kind(Kind::Span)).total, 1);

    let mut otlp = Connection::open(server.addr());
    otlp.send("POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n");
    otlp.send("Content-Length: 100\r\n\r\nx");
    let answer = otlp.answer().unwrap();
    let said = Status::decode(answer.bytes.as_slice()).unwrap();
    assert!(answer.status == 503 && said.message.contains("too slowly"), "{said:?}");

    let mut config = Connection::open(server.addr());
    config.send("PUT /api/agent-config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    assert_eq!(config.answer().unwrap().status, 400);
}

#[test]
fn large_heads_are_refused() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let long = "x".repeat(40_000);
    assert_eq!(request(&server, "GET /api/stats", &[("X-Long", &long)], b"").status, 200);
    let mut connection = Connection::open(server.addr());
    connection.send("GET /api/stats HTTP/1.1\r\nHost: localhost\r\n");
    let refused = poll(|| {
        let sent = connection.try_send(format!("X-Long: {long}\r\n"));
        sent.is_err().then(|| connection.answer().map(|answer| answer.status))
    });
    assert!(refused.is_err() || refused.unwrap() == 431);
    assert_eq!(post(&server, &lines(&[METADATA, SPAN])).status, 202);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let mut connection = Connection::open(server.addr());
    connection.send("GET /api/stats HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500));
    for _ in 0..500 {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    assert_eq!(request(&server, "POST /intake/v2/events", &[NDJSON], b"").status, 202);
}
