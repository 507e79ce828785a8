//! Are the events of a request that is still open there already?

use std::{io::Write, time::Duration};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use tower_apm::devserver::{DevServer, Kind, Query, Store};

use crate::{
    client::{Connection, lines},
    spec::{METADATA, SPAN, TRANSACTION},
};

const DEADLINE: Duration = Duration::from_secs(20);

async fn arrived(store: &Store, kind: Kind, count: usize) {
    let enough = |store: &Store| (store.query(&Query::new().kind(kind)).total == count).then_some(());
    let found = store.wait_for(DEADLINE, enough).await;
    assert!(found.is_some(), "{count} {kind} did not arrive: {:?}", store.query(&Query::new()).events);
}

fn open(server: &DevServer, encoding: &str) -> Connection {
    let mut connection = Connection::open(server.addr());
    connection.send(format!(
        "POST /intake/v2/events?verbose HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Transfer-Encoding: chunked\r\n{encoding}\r\n"
    ));
    connection
}

#[tokio::test]
async fn lines_are_stored_as_they_arrive() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let mut connection = open(&server, "");
    connection.chunk(lines(&[METADATA]).as_bytes());
    arrived(server.store(), Kind::Metadata, 1).await;
    connection.chunk(lines(&[TRANSACTION, SPAN]).as_bytes());
    arrived(server.store(), Kind::Span, 1).await;
    let (start, end) = SPAN.split_at(40);
    connection.chunk(start.as_bytes());
    connection.chunk(format!("{end}\n").as_bytes());
    arrived(server.store(), Kind::Span, 2).await;
    connection.chunk(b"");
    assert_eq!(connection.answer().unwrap().counts(), (3, 0));
}

/// What an agent flushes can be read although its compressed stream goes on.
#[tokio::test]
async fn compressed_lines_are_stored_as_they_are_flushed() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut connection = open(&server, "Content-Encoding: gzip\r\n");
    gzip.flush().unwrap();
    for (count, line) in [(0, METADATA), (1, SPAN), (2, SPAN)] {
        writeln!(gzip, "{line}").unwrap();
        gzip.flush().unwrap();
        connection.chunk(&std::mem::take(gzip.get_mut()));
        arrived(server.store(), Kind::Span, count).await;
    }
    connection.chunk(&gzip.finish().unwrap());
    connection.chunk(b"");
    assert_eq!(connection.answer().unwrap().counts(), (2, 0));

    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut connection = open(&server, "Content-Encoding: deflate\r\n");
    zlib.write_all(lines(&[METADATA, TRANSACTION]).as_bytes()).unwrap();
    zlib.flush().unwrap();
    connection.chunk(&std::mem::take(zlib.get_mut()));
    arrived(server.store(), Kind::Transaction, 1).await;
    connection.chunk(&zlib.finish().unwrap());
    connection.chunk(b"");
    assert_eq!(connection.answer().unwrap().counts(), (1, 0));
}

#[tokio::test]
async fn events_of_a_disconnected_client_are_kept() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let mut connection = open(&server, "");
    connection.chunk(lines(&[METADATA, SPAN]).as_bytes());
    connection.chunk(TRANSACTION.as_bytes());
    drop(connection);
    arrived(server.store(), Kind::Span, 1).await;
    let mut next = open(&server, "");
    next.chunk(lines(&[METADATA, SPAN]).as_bytes());
    next.chunk(b"");
    assert_eq!(next.answer().unwrap().status, 202);
    assert_eq!(server.store().query(&Query::new().kind(Kind::Transaction)).total, 0, "half a line is none");
}

/// The server says at once that a stream is hopeless, and the client gets to hear it.
#[test]
fn bad_metadata_is_answered_while_the_request_is_open() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let mut connection = open(&server, "");
    connection.chunk(lines(&[SPAN]).as_bytes());
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.counts()), (400, (0, 1)));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let server = DevServer::builder().max_connections(1).bind("127.0.0.1:0").unwrap();
    let mut first = open(&server, "");
    first.chunk(lines(&[METADATA]).as_bytes());
    arrived(server.store(), Kind::Metadata, 1).await;
    let mut second = open(&server, "Connection: close\r\n");
    second.chunk(lines(&[METADATA, SPAN]).as_bytes());
    second.chunk(b"");
    first.chunk(lines(&[TRANSACTION]).as_bytes());
    arrived(server.store(), Kind::Transaction, 1).await;
    assert_eq!(server.store().stats().requests, 1, "the second is not served yet");
    drop(first);
    assert_eq!(second.answer().unwrap().counts(), (1, 0));
}
