//! Error groups, computed by the real APM Server.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tower::ServiceExt;
use tower_apm::{Agent, ResponseExt};

use crate::decoder::{DEADLINE, Decoder, agent};

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

// spec: error-tracking.md
#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn error_groups_do_not_depend_on_lines_and_runtime() {
    let decoder = Decoder::start("");
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

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("listing {0} is sold")]
    Sold(u32),
    #[error("settlement of {0} failed")]
    Settlement(u32),
    #[error("the database is down")]
    Database,
}

fn app_error(id: u32) -> AppError {
    match id {
        0 => AppError::Database,
        1 => AppError::Settlement(id),
        id => AppError::Sold(id),
    }
}

fn respond(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(error)
}

/// The numbers of errors in each group of the real server, after requests to these paths. The smallest group is first.
async fn groups(app: Router, paths: &[&str]) -> Vec<usize> {
    let decoder = Decoder::start("");
    let agent = agent(|agent| agent.server_url(&*decoder.http));
    let app = app.layer(agent.layer());
    for path in paths {
        app.clone().oneshot(Request::get(*path).body(Body::empty()).unwrap()).await.unwrap();
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for document in decoder.documents() {
        let key = document.text("/error/grouping_key");
        if !key.is_empty() {
            *groups.entry(key.to_owned()).or_default() += 1;
        }
    }
    let mut sizes: Vec<_> = groups.into_values().collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn variants_and_routes_are_groups_of_the_real_server() {
    let routes = |fail: fn(u32) -> Response| {
        let handler = move |Path(id): Path<u32>| async move { fail(id) };
        Router::new().route("/a/{id}", get(handler)).route("/b/{id}", get(handler))
    };
    let fails: [fn(u32) -> Response; 3] = [
        |id| respond(app_error(id)),
        |id| respond(anyhow::Error::from(app_error(id))),
        |id| respond(anyhow::Error::from(app_error(id)).context(format!("request {id} failed"))),
    ];
    for fail in fails {
        assert_eq!(groups(routes(fail), &["/a/0", "/a/1", "/b/2"]).await, [1, 1, 1]);
        assert_eq!(groups(routes(fail), &["/a/2", "/a/3", "/a/4", "/b/5"]).await, [1, 3]);
    }
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn lines_and_statuses_are_grouped_by_route_in_the_real_server() {
    let fails: [fn(u32) -> Response; 2] = [
        |id| {
            tracing::error!("database error: no row {id}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        },
        |id| (StatusCode::INTERNAL_SERVER_ERROR, format!("no row {id}")).into_response(),
    ];
    for fail in fails {
        let handler = move |Path(id): Path<u32>| async move { fail(id) };
        let app = Router::new().route("/a/{id}", get(handler)).route("/b/{id}", get(handler));
        assert_eq!(groups(app, &["/a/1", "/a/2", "/b/1"]).await, [1, 2]);
    }
}
