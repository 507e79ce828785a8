//! Errors of `anyhow` and `eyre`, as values and as text.

use std::{backtrace::Backtrace, error::Error, io};

use anyhow::Context;
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_apm::{ResponseExt, testkit::TestAgent};

use crate::app::{chain, line_of, only_error};

const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

#[derive(Debug, thiserror::Error)]
enum ChainError {
    #[error("HTTP error 502 of the node")]
    Node(#[source] io::Error),
}

fn chain_error() -> ChainError {
    ChainError::Node(io::Error::other("connection reset"))
}

fn report() -> anyhow::Error {
    anyhow::Error::from(chain_error()).context("cannot settle")
}

fn eyre_report() -> eyre::Report {
    eyre::Report::from(chain_error()).wrap_err("cannot settle") // created here
}

const CHAIN: [&str; 3] = ["cannot settle", "HTTP error 502 of the node", "connection reset"];

fn messages(error: &serde_json::Value) -> Vec<&str> {
    chain(error).into_iter().map(|(_, message)| message).collect()
}

#[tokio::test]
async fn logged_anyhow_report_has_message_and_causes() {
    let logs: [fn(); 5] = [
        || tracing::error!("{:?}", report()),
        || tracing::error!(report = ?report()),
        || tracing::error!(report = ?report(), "purchase failed"),
        || tracing::error!(error = ?report()),
        || tracing::warn!(error = ?report(), "purchase failed"),
    ];
    for (number, log) in logs.into_iter().enumerate() {
        let apm = TestAgent::start().await;
        let handler = async move || {
            log();
            FAILED
        };
        let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
        assert_eq!(messages(&error), CHAIN, "{number}");
        let line = error["log"]["message"].as_str();
        let wanted = match number {
            2 | 4 => Some("purchase failed"),
            3 => None,
            _ => Some("cannot settle"),
        };
        assert_eq!(line, wanted, "{number}");
        assert!(error["context"].get("tags").is_none(), "the report is no label: {error}");
    }
}

#[tokio::test]
async fn logged_debug_of_an_error_gives_its_type() {
    let apm = TestAgent::start().await;
    let handler = async || {
        tracing::error!("{:?}", chain_error());
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
    assert_eq!(error["exception"]["type"], "Node", "{error}");
}

#[tokio::test]
async fn location_of_a_logged_eyre_report_is_the_first_frame() {
    let apm = TestAgent::start().await;
    let handler = async || {
        tracing::error!("{:?}", eyre_report());
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
    assert_eq!(messages(&error), CHAIN);
    let stack = &error["exception"]["stacktrace"];
    assert_eq!(stack[0]["lineno"], line_of(include_str!("reports.rs"), "// created here"), "{stack}");
    assert!(stack[0]["filename"].as_str().unwrap().ends_with("reports.rs"), "{stack}");
    let logged = stack[1]["function"].as_str().unwrap();
    assert!(logged.contains("location_of_a_logged_eyre_report_is_the_first_frame"), "{stack}");
}

async fn attached<E>(error: fn() -> E) -> serde_json::Value
where
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let apm = TestAgent::start().await;
    let handler = async move || -> Response { FAILED.into_response().with_error(error()) };
    only_error(&apm, Router::new().route("/orders/{id}", get(handler)), "/orders/7").await
}

#[tokio::test]
async fn attached_report_has_the_type_of_the_first_cause_that_has_one() {
    let boxed = || -> Box<dyn Error + Send + Sync> { report().into() };
    for error in [attached(report).await, attached(eyre_report).await, attached(boxed).await] {
        let types = [Some("Node"), Some("Node"), Some("Error")];
        assert_eq!(chain(&error), types.into_iter().zip(CHAIN).collect::<Vec<_>>());
        assert_eq!(error["culprit"], "GET /orders/{id}");
        assert_eq!(error["exception"]["handled"], false);
    }
}

#[tokio::test]
async fn message_gives_no_type() {
    let adhoc = || anyhow::anyhow!("HTTP error 500");
    let display = || None::<()>.context("Timeout").unwrap_err();
    let text = || -> Box<dyn Error + Send + Sync> { "HTTP error 500".into() };
    for error in
        [attached(adhoc).await, attached(display).await, attached(text).await, attached(|| eyre::eyre!("HTTP")).await]
    {
        assert_eq!(error["exception"].get("type"), None, "{error}");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no stock")]
struct NoStock {
    backtrace: Box<Backtrace>,
}

#[inline(never)]
fn find_stock() -> NoStock {
    NoStock { backtrace: Backtrace::force_capture().into() }
}

/// `anyhow` and the standard library read `RUST_BACKTRACE` once in a process, so a test that depends on it runs in a process
/// of its own. Returns true there, and otherwise after that process has succeeded.
fn is_child(test: &str, backtrace: &str) -> bool {
    const CHILD: &str = "TOWER_APM_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .envs([(CHILD, "1"), ("RUST_BACKTRACE", backtrace)])
        .env_remove("RUST_LIB_BACKTRACE")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    let is_passed = child.status.success() && output.contains("1 passed");
    assert!(is_passed, "{output}{}", String::from_utf8_lossy(&child.stderr));
    false
}

#[tokio::test]
async fn attached_error_without_a_stack_has_that_of_its_handler() {
    if !is_child("reports::attached_error_without_a_stack_has_that_of_its_handler", "0") {
        return;
    }
    let error = attached(report).await;
    let stack = error["exception"]["stacktrace"].as_array().unwrap();
    assert_eq!(stack.len(), 1, "{stack:#?}");
    assert!(stack[0]["function"].as_str().unwrap().ends_with("reports::attached"), "{stack:#?}");
}

#[tokio::test]
async fn stack_of_an_attached_error_is_used_if_backtraces_are_on() {
    if !is_child("reports::stack_of_an_attached_error_is_used_if_backtraces_are_on", "1") {
        return;
    }
    for (error, function) in [(attached(report).await, "reports::report"), (attached(find_stock).await, "find_stock")] {
        let stack = error["exception"]["stacktrace"].as_array().unwrap();
        assert!(stack[0]["function"].as_str().unwrap().ends_with(function), "{function}: {stack:#?}");
        assert_eq!(error["culprit"], "GET /orders/{id}");
    }
    assert!(find_stock().backtrace.to_string().contains("find_stock"));
}
