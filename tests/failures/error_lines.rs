//! Log lines that become the error of a failed transaction.

use std::{any::Any, io};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tower_apm::{
    CaptureLogErrors, ErrorVerdict, Outcome, ResponseExt, Transaction, User,
    testkit::{Kind, TestAgent},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::{call, errors, line_of, only_error};

#[derive(Debug, thiserror::Error)]
#[error("the sale failed")]
struct SaleError;

const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

fn io_error() -> io::Error {
    io::Error::other("disk full")
}

async fn started(capture: CaptureLogErrors) -> TestAgent {
    TestAgent::builder().configure(move |agent| agent.capture_log_errors(capture)).start().await
}

#[tokio::test]
async fn error_line_is_the_error_of_a_failed_request() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        let _span = tracing::info_span!("load").entered();
        tracing::error!(order = 7, "database error: {}", io_error()); // here
        tx.set_user(User::id("ada"));
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/orders/{id}", get(handler)), "/orders/7").await;
    let mut log = error["log"].clone();
    let stack = log.as_object_mut().unwrap().remove("stacktrace").unwrap();
    assert_eq!(
        log,
        json!({
            "message": "database error: disk full", "level": "error", "logger_name": "failures::error_lines",
            "param_message": "GET /orders/{id}",
        })
    );
    assert_eq!(stack[0]["lineno"], line_of(include_str!("error_lines.rs"), "// here"));
    assert!(stack[0]["filename"].as_str().unwrap().ends_with("error_lines.rs"), "{stack}");
    assert!(error["culprit"].as_str().unwrap().contains("error_line_is_the_error_of_a_failed_request"), "{error}");
    assert_eq!(error.get("exception"), None);
    assert_eq!(error["transaction"], json!({ "name": "GET /orders/{id}", "type": "request", "sampled": true }));
    assert_eq!(error["context"]["tags"]["order"], 7);
    assert_eq!(error["context"]["user"], json!({ "id": "ada" }), "the user is known at the end");
    assert_eq!(error["context"]["response"]["status_code"], 500);
    apm.expect_error("database error: disk full").await.child_of("load");
    apm.expect_transaction("GET /orders/{id}").await.outcome("failure");
}

#[tokio::test]
async fn error_line_of_a_successful_request_is_no_error() {
    let apm = TestAgent::start().await;
    let handler = async || {
        tracing::error!("cache error: {}", io_error());
        tracing::warn!(error = %io_error(), "retrying");
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.outcome("success");
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn first_line_of_the_highest_level_is_recorded() {
    let apm = TestAgent::start().await;
    let handler = async || {
        tracing::warn!(error = "a warning", "retrying");
        tracing::error!("first");
        tracing::error!("second");
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
    assert_eq!(error["log"]["message"], "first");
}

#[tracing::instrument(err(level = "warn"))]
async fn warns() -> Result<(), io::Error> {
    Err(io_error())
}

#[tracing::instrument(err(level = "info"))]
async fn informs() -> Result<(), io::Error> {
    Err(io_error())
}

#[tracing::instrument(err(Debug, level = "warn"))]
async fn warns_by_debug() -> Result<(), SaleError> {
    Err(SaleError)
}

#[tokio::test]
async fn instrumented_error_of_a_lower_level_is_the_error_of_a_failed_request() {
    let app = Router::new()
        .route("/warn", get(async || warns().await.map_err(|_| FAILED)))
        .route("/info", get(async || informs().await.map_err(|_| FAILED)))
        .route("/debug", get(async || warns_by_debug().await.map_err(|_| FAILED)))
        .route("/fine", get(async || drop(warns().await)));
    for (path, level, kind, message) in [
        ("/warn", "warn", None, "disk full"),
        ("/info", "info", None, "disk full"),
        ("/debug", "warn", Some("SaleError"), "SaleError"),
    ] {
        let apm = TestAgent::start().await;
        let error = only_error(&apm, app.clone(), path).await;
        assert_eq!(
            (&error["exception"]["message"], &error["log"]["level"]),
            (&json!(message), &json!(level)),
            "{error}"
        );
        assert_eq!(error["exception"]["type"].as_str(), kind, "{error}");
    }
    let apm = TestAgent::start().await;
    call(app.layer(apm.layer()), "/fine").await;
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn field_of_any_name_is_the_line_if_there_is_no_message() {
    let apm = TestAgent::start().await;
    let handler = async || {
        tracing::error!(password = "hunter2", order = 7, e = %io_error());
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
    assert_eq!(error["log"]["message"], "disk full");
    assert_eq!(error["context"]["tags"], json!({ "order": 7, "password": "[REDACTED]" }));
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn line_yields_to_every_other_error_of_the_request() {
    let with_line = |answer: fn(&Transaction) -> Response| {
        async move |tx: Transaction| {
            tracing::error!("database error: {}", io_error());
            answer(&tx)
        }
    };
    let attached = |_: &Transaction| FAILED.into_response().with_error(SaleError);
    let captured = |tx: &Transaction| {
        tx.capture_error(&SaleError);
        FAILED.into_response()
    };
    let app = Router::new().route("/attached", get(with_line(attached))).route("/captured", get(with_line(captured)));
    for path in ["/attached", "/captured"] {
        let apm = TestAgent::start().await;
        let error = only_error(&apm, app.clone(), path).await;
        assert_eq!(error["exception"]["type"], "SaleError", "{path}");
    }
    // a discarded error is still the reason of the failure
    let apm = TestAgent::start().await;
    let layer = apm.layer().on_error(|_, _| ErrorVerdict::Discard);
    call(app.clone().layer(layer), "/attached").await;
    apm.expect_no_errors().await;
    let apm = TestAgent::builder().configure(|agent| agent.ignore_exceptions(["SaleError"])).start().await;
    call(app.layer(apm.layer()), "/captured").await;
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn line_of_the_trace_layer_is_no_error() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/", get(async || FAILED));
    let app = app.layer(tower_http::trace::TraceLayer::new_for_http());
    let error = only_error(&apm, app, "/").await;
    assert_eq!(error["log"]["message"], "GET / returned 500 Internal Server Error");
}

#[tokio::test]
async fn panic_that_a_middleware_catches_is_the_only_error() {
    tower_apm::install_panic_hook();
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| -> StatusCode {
        tx.set_user(User::id("ada"));
        panic!("boom")
    };
    // a response without a body ends the transaction at once
    let catch = CatchPanicLayer::custom(|_: Box<dyn Any + Send>| FAILED.into_response());
    let app = Router::new().route("/", get(handler)).layer(catch);
    call(app.layer(apm.layer().request_span(false)), "/").await;
    let errors = errors(&apm).await;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let error = &errors[0];
    assert_eq!((&error["exception"]["type"], &error["exception"]["message"]), (&json!("panic"), &json!("boom")));
    assert_eq!(error["context"]["user"]["id"], "ada", "it is sent before the transaction ends");
}

/// Logs where errors become responses, as many services do.
struct Logged;

impl IntoResponse for Logged {
    fn into_response(self) -> Response {
        tracing::error!("database error"); // logged here
        FAILED.into_response()
    }
}

#[tokio::test]
async fn culprit_of_a_line_of_into_response_is_the_route() {
    let apm = TestAgent::start().await;
    let error = only_error(&apm, Router::new().route("/orders/{id}", get(async || Logged)), "/orders/7").await;
    assert_eq!(error["culprit"], "GET /orders/{id}");
    let stack = &error["log"]["stacktrace"];
    assert_eq!(stack.as_array().map(Vec::len), Some(1), "{stack}");
    assert_eq!(stack[0]["lineno"], line_of(include_str!("error_lines.rs"), "// logged here"), "the location stays");
}

#[tokio::test]
async fn option_selects_the_lines() {
    let app = || {
        Router::new().route("/fine", get(async || tracing::error!("a line"))).route(
            "/failed",
            get(async || {
                tracing::error!("a line");
                tracing::error!("another line");
                FAILED
            }),
        )
    };
    for (capture, fine, failed) in [
        (CaptureLogErrors::Off, &[][..], &["GET /failed returned 500 Internal Server Error"][..]),
        (CaptureLogErrors::FailedRequests, &[], &["a line"]),
        (CaptureLogErrors::All, &["a line"], &["a line", "another line"]),
    ] {
        for (path, wanted) in [("/fine", fine), ("/failed", failed)] {
            let apm = started(capture).await;
            call(app().layer(apm.layer()), path).await;
            let errors = errors(&apm).await;
            let messages: Vec<_> = errors.iter().map(|error| error["log"]["message"].as_str().unwrap()).collect();
            assert_eq!(messages, wanted, "{capture:?} {path}");
        }
    }
}

#[tokio::test]
async fn option_all_records_lines_outside_of_transactions() {
    let lines = || tracing::error!("no connection");
    let apm = started(CaptureLogErrors::All).await;
    apm.agent().start_transaction("job", "scheduled").in_scope(lines);
    let error = &errors(&apm).await[0];
    assert_eq!((&error["log"]["message"], &error["transaction"]["name"]), (&json!("no connection"), &json!("job")));
}

#[tokio::test]
async fn line_of_background_work_needs_the_outcome_failure() {
    let apm = TestAgent::start().await;
    let work = |name: &'static str, outcome: Option<Outcome>| {
        let job = apm.agent().start_transaction(name, "scheduled");
        if let Some(outcome) = outcome {
            job.set_outcome(outcome);
        }
        job.in_scope(|| tracing::error!("cannot settle"));
    };
    work("fine", None);
    work("failed", Some(Outcome::Failure));
    let errors = errors(&apm).await;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["transaction"]["name"], "failed");
    assert_eq!(errors[0]["log"]["message"], "cannot settle");
}

#[tokio::test]
async fn failed_background_work_without_a_line_has_no_error() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("job", "scheduled").set_outcome(Outcome::Failure);
    apm.expect_transaction("job").await.outcome("failure").no_error();
}

#[tokio::test]
async fn line_of_an_ignored_request_is_sent_if_the_request_fails() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/*"])).start().await;
    let app = Router::new()
        .route("/fine", get(async || tracing::error!("a line")))
        .route(
            "/failed",
            get(async || {
                tracing::error!("another line");
                FAILED
            }),
        )
        .layer(apm.layer());
    call(app.clone(), "/fine").await;
    call(app, "/failed").await;
    let errors = errors(&apm).await;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["log"]["message"], "another line");
    assert_eq!(errors[0].get("transaction_id"), None);
}

#[tokio::test]
async fn unsampled_request_has_its_line() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    let handler = async || {
        tracing::error!("database error");
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
    assert_eq!(error["transaction"]["sampled"], false);
    assert_eq!(apm.events(Kind::Transaction).len(), 0);
}

#[tokio::test]
async fn secrets_in_lines_are_redacted() {
    let apm = TestAgent::start().await;
    let handler = async || {
        tracing::error!("cannot connect to postgres://app:hunter2@db/orders?password=hunter3");
        FAILED
    };
    let error = only_error(&apm, Router::new().route("/", get(handler)), "/").await;
    assert!(error["log"]["message"].as_str().unwrap().starts_with("cannot connect to postgres://"), "{error}");
    for secret in ["hunter2", "hunter3"] {
        apm.assert_no_secret(secret);
    }
}

#[tokio::test]
async fn error_filter_sees_the_text_of_a_line() {
    let filter = |error: &tower_apm::ReportedError<'_>| error.message() != "expected";
    let apm = TestAgent::builder().configure(move |agent| agent.error_filter(filter)).start().await;
    let handler = async || {
        tracing::error!("expected");
        FAILED
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.outcome("failure").no_error();
    assert_eq!(apm.agent().stats().filtered, 1);
}
