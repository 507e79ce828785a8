//! Do errors that are one group of Kibana's stay one, by the APM Server's own word? (agent-spec, section 9.4)

use std::collections::BTreeMap;

use axum::{Router, body::Body, extract::Request, routing::get};
use tower::ServiceExt;
use tower_apm::Agent;

use crate::server::{DEADLINE, Decoder, agent};

#[derive(Debug, thiserror::Error)]
#[error("settlement of {0} failed")]
struct SettlementError(u32);

#[inline(never)]
fn settle(agent: &Agent, number: u32) {
    if number == 1 {
        return agent.capture_error(&SettlementError(number));
    }
    // on another line
    agent.capture_error(&SettlementError(number));
}

#[inline(never)]
fn refund(agent: &Agent, number: u32) {
    agent.capture_error(&SettlementError(number));
}

#[tokio::test]
async fn section_9_4_neither_lines_nor_the_runtime_part_a_group() {
    let Some(decoder) = Decoder::start("") else { return };
    let agent = agent(|agent| agent.server_url(&*decoder.http));
    settle(&agent, 1);
    let theirs = agent.clone();
    std::thread::spawn(move || settle(&theirs, 2)).join().unwrap();
    let theirs = agent.clone();
    let handler = || async move { settle(&theirs, 3) };
    let app = Router::new().route("/", get(handler)).layer(agent.layer());
    app.oneshot(Request::new(Body::empty())).await.unwrap();
    let theirs = agent.clone();
    tokio::spawn(async move { settle(&theirs, 4) }).await.unwrap();
    refund(&agent, 5);
    agent.shutdown(DEADLINE).await.unwrap();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for document in decoder.documents() {
        let key = document.text("/error/grouping_key").to_owned();
        let message = document.text("/error/exception/0/message");
        if !key.is_empty() {
            groups.entry(key).or_default().push(message.to_owned());
        }
    }
    let mut sizes: Vec<_> = groups.values().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 4], "{groups:#?}");
}
