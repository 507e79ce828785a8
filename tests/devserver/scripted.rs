//! Scripted answers are given once and in order.

use std::time::{Duration, Instant};

use tower_apm::devserver::{Answer, DevServer, Kind, Query};

use crate::{
    client::{self, Connection, lines, post},
    spec::{METADATA, SPAN, TRANSACTION},
};

fn body() -> String {
    lines(&[METADATA, TRANSACTION, SPAN, SPAN])
}

fn stored(server: &DevServer) -> usize {
    server.store().query(&Query::new()).events.iter().filter(|event| event.kind() != Kind::Metadata).count()
}

/// The answer to the next request, or none if the connection was cut.
fn try_post(server: &DevServer) -> Option<client::Answer> {
    let headers = [("Content-Type", "application/x-ndjson")];
    Connection::open(server.addr()).request("POST /intake/v2/events", &headers, body().as_bytes()).ok()
}

#[test]
fn each_answer_is_given_once_and_in_order() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.script([
        Answer::unavailable(),
        Answer::too_many(),
        Answer::unauthorized(),
        Answer::forbidden(),
        Answer::cut(),
        Answer::normal(),
    ]);
    let statuses: Vec<_> = (0..6).map(|_| try_post(&server).map(|answer| answer.status)).collect();
    assert_eq!(statuses, [Some(503), Some(429), Some(401), Some(403), None, Some(202)]);
    assert_eq!((stored(&server), server.scripted()), (3, 0), "only the last was stored");
    assert_eq!(try_post(&server).unwrap().status, 202);
}

#[test]
fn failures_have_the_shape_of_real_ones() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.script([Answer::unavailable(), Answer::unauthorized()]);
    let full = try_post(&server).unwrap();
    assert_eq!((full.counts(), full.header("connection")), ((0, 1), Some("close")));
    assert_eq!(full.json()["errors"][0]["message"], "queue is full");
    assert_eq!(try_post(&server).unwrap().json()["error"], "authentication failed");
}

#[test]
fn events_can_be_refused_with_given_words() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.script([Answer::rejected(["no room", "bad luck"])]);
    let answer = post(&server, &body());
    assert_eq!((answer.status, answer.counts()), (400, (1, 2)));
    assert_eq!(answer.json()["errors"][1]["message"], "bad luck");
    assert_eq!(stored(&server), 1);
}

#[test]
fn scripted_failure_can_follow_accepted_events() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.script([Answer::failed_after(2)]);
    let answer = post(&server, &body());
    assert_eq!((answer.status, answer.counts()), (500, (2, 1)));
    assert_eq!(stored(&server), 2);
}

#[test]
fn scripted_connection_loss_keeps_the_events() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.script([Answer::cut_after_storing()]);
    assert!(try_post(&server).is_none());
    assert_eq!(stored(&server), 3);
}

#[test]
fn scripted_answer_can_be_delayed() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let delay = Duration::from_millis(150);
    server.script([Answer::slow(delay)]);
    let start = Instant::now();
    assert_eq!(try_post(&server).unwrap().status, 202);
    assert!(start.elapsed() >= delay);
    assert_eq!(stored(&server), 3);
}

#[test]
fn clear_removes_scripted_answers() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.script([Answer::unavailable(), Answer::cut()]);
    assert_eq!(server.scripted(), 2);
    server.clear();
    assert_eq!(try_post(&server).unwrap().status, 202);
}
