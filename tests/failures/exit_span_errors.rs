//! Errors of exit spans next to the errors of their transactions.

use std::{
    future::{Ready, ready},
    io,
};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_apm::{ResponseExt, db, testkit::TestAgent};

use crate::app::{call, errors, only_error};

const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
struct Refused;

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("the order was not stored")]
    Store(#[source] Refused),
}

fn refused() -> Ready<Result<(), Refused>> {
    ready(Err(Refused))
}

fn cache() -> db::DbCall<'static> {
    db::call("redis").name("GET")
}

#[tokio::test]
async fn error_of_a_response_replaces_the_error_of_the_exit_span_that_caused_it() {
    let apm = TestAgent::start().await;
    let handler = async || -> Response {
        let error = cache().run(refused()).await.map_err(AppError::Store).unwrap_err();
        FAILED.into_response().with_error(error)
    };
    let error = only_error(&apm, Router::new().route("/orders", get(handler)), "/orders").await;
    assert_eq!(error["exception"]["type"], "AppError::Store");
    assert_eq!(error["exception"]["cause"][0]["message"], "connection refused");
    apm.expect_error("the order was not stored").await.child_of("GET");
    assert_eq!(apm.agent().stats().suppressed_errors, 1);
}

#[tokio::test]
async fn error_of_an_exit_span_is_the_error_of_a_request_without_another_one() {
    for quotes in [false, true] {
        let apm = TestAgent::start().await;
        let handler = async move || {
            let error = cache().run(refused()).await.unwrap_err();
            if quotes {
                tracing::error!("the cache is away: {error}");
            }
            FAILED
        };
        let error = only_error(&apm, Router::new().route("/orders", get(handler)), "/orders").await;
        assert_eq!(error["exception"]["message"], "connection refused", "line: {quotes}");
        apm.expect_error("connection refused").await.child_of("GET");
    }
}

#[tokio::test]
async fn handled_error_of_an_exit_span_does_not_hide_the_line_of_a_failed_request() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let _handled = cache().run(refused()).await;
        tracing::error!("database error: {}", io::Error::other("disk full"));
        FAILED
    };
    call(Router::new().route("/orders", get(handler)).layer(apm.layer()), "/orders").await;
    let mut messages: Vec<_> = errors(&apm)
        .await
        .iter()
        .map(|error| error["exception"]["message"].as_str().or(error["log"]["message"].as_str()).unwrap().to_owned())
        .collect();
    messages.sort();
    assert_eq!(messages, ["connection refused", "database error: disk full"]);
}

#[tokio::test]
async fn failed_call_that_is_repeated_with_success_does_not_fail_background_work() {
    let apm = TestAgent::start().await;
    let work = async {
        cache().run(refused()).await.unwrap_err();
        cache().run(ready(Ok::<_, Refused>(()))).await.unwrap();
    };
    apm.agent().start_transaction("settle", "scheduled").run(work).await;
    apm.expect_transaction("settle").await.outcome("success");
    apm.expect_error("connection refused").await.child_of("GET");
}

#[tokio::test]
async fn ignored_exception_in_a_line_is_not_the_error_of_a_failed_request() {
    let apm = TestAgent::builder().configure(|agent| agent.ignore_exceptions(["*Refused"])).start().await;
    let handler = async || {
        let error: &(dyn std::error::Error + 'static) = &Refused;
        tracing::warn!(error, "retrying");
        FAILED
    };
    call(Router::new().route("/orders", get(handler)).layer(apm.layer()), "/orders").await;
    assert!(errors(&apm).await.is_empty());
}
