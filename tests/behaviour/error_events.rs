//! ERROR events of `tracing`: their origin, and which of them duplicate another error.

use std::io;

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_apm::{
    ErrorVerdict, ResponseExt, Transaction,
    testkit::{Kind, TestAgent},
};

use crate::http::call;

#[derive(Debug, thiserror::Error)]
#[error("the sale failed")]
struct SaleError(#[source] io::Error);

impl IntoResponse for SaleError {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(self)
    }
}

fn disk() -> io::Error {
    io::Error::other("disk full")
}

#[tracing::instrument(err)]
async fn store() -> Result<(), io::Error> {
    Err(disk())
}

#[tracing::instrument(err)]
async fn sell() -> Result<(), SaleError> {
    store().await.map_err(SaleError)
}

#[tracing::instrument(err(Debug))]
async fn sell_debug() -> Result<(), SaleError> {
    Err(SaleError(disk()))
}

#[tokio::test]
async fn error_logged_as_text_and_passed_to_with_error_is_one_document() {
    let app = Router::new().route("/text", get(sell)).route("/debug", get(sell_debug));
    for (path, span) in [("/text", "store"), ("/debug", "sell_debug")] {
        let apm = TestAgent::start().await;
        call(app.clone().layer(apm.layer()), path).await;
        apm.expect_error("SaleError").await.message("the sale failed").caused_by("disk full").child_of(span);
        apm.flush().await;
        assert_eq!(apm.events(Kind::Error).len(), 1, "{path}: {:?}", apm.events(Kind::Error));
        assert!(apm.agent().stats().suppressed_errors > 0);
    }
}

#[tokio::test]
async fn document_that_replaces_a_text_keeps_the_line_and_fields_of_the_event() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_label("module", "late");
        tracing::error!(error = %disk(), order = 7, "cannot store");
        tx.set_label("module", "later");
        SaleError(disk())
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    let error = apm.expect_error("SaleError").await.label("order", 7).label("module", "later");
    error.field("/log/message", "cannot store").message("the sale failed");
}

#[tokio::test]
async fn error_captured_before_or_after_its_text_is_one_document() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let _ = store().await;
        Transaction::current().capture_error(&SaleError(disk()));
        tracing::error!(error = %SaleError(disk()), "given up");
        tracing::error!(error = %disk(), "given up");
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await;
    apm.expect_error("SaleError").await.caused_by("disk full");
    apm.flush().await;
    assert_eq!(apm.events(Kind::Error).len(), 1, "{:?}", apm.events(Kind::Error));
}

#[tokio::test]
async fn error_text_without_error_value_is_sent_with_the_transaction() {
    let apm = TestAgent::start().await;
    let handler = async || {
        for attempt in 0..20 {
            tracing::error!(error = format!("attempt {attempt} failed"), "retrying");
        }
        StatusCode::BAD_GATEWAY.into_response().with_error(SaleError(disk()))
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("attempt 19 failed").await.child_of("GET /");
    apm.flush().await;
    assert_eq!(apm.events(Kind::Error).len(), 21);
}

#[tokio::test]
async fn error_text_of_background_work_does_not_wait_for_the_end() {
    let apm = TestAgent::start().await;
    let job = apm.agent().start_transaction("job", "scheduled");
    let work = async {
        tracing::error!(error = %disk(), "retrying");
        apm.flush().await;
        assert_eq!(apm.events(Kind::Error).len(), 1);
    };
    job.run(work).await;
}

#[tokio::test]
async fn error_of_an_ignored_request_is_one_document() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/*"])).start().await;
    let app = Router::new().route("/text", get(sell)).route("/alone", get(async || drop(store().await)));
    call(app.clone().layer(apm.layer()), "/text").await;
    apm.expect_error("SaleError").await;
    call(app.layer(apm.layer()), "/alone").await;
    apm.expect_error("disk full").await;
    apm.flush().await;
    assert_eq!(apm.events(Kind::Error).len(), 2, "{:?}", apm.events(Kind::Error));
}

#[tokio::test]
async fn error_discarded_by_a_hook_is_discarded_with_its_text() {
    let apm = TestAgent::start().await;
    let layer = apm.layer().on_error(|_, _| ErrorVerdict::Discard);
    call(Router::new().route("/", get(sell)).layer(layer), "/").await;
    apm.expect_transaction("GET /").await.outcome("failure");
    apm.expect_no_errors().await;
}

/// The error id in the log is that of the document that is sent.
#[tokio::test]
async fn document_that_replaces_a_text_keeps_its_id() {
    let apm = TestAgent::builder().configure(|agent| agent.log_sending(true)).start().await;
    let written = crate::captured_output::CapturedOutput::default();
    let printer = tracing_subscriber::fmt::layer().json().event_format(apm.agent().ecs_format());
    use tracing_subscriber::layer::SubscriberExt;
    let subscriber = tracing_subscriber::registry();
    let subscriber = subscriber.with(apm.agent().tracing_layer()).with(printer.with_writer(written.clone()));
    let app = Router::new().route("/", get(sell)).layer(apm.layer());
    tracing::instrument::WithSubscriber::with_subscriber(call(app, "/"), subscriber).await;
    let error = apm.expect_error("SaleError").await;
    assert_eq!(written.objects()[0]["error.id"], error.json()["id"]);
}

mod helpers {
    /// Is inlined into its caller with the code of the macro.
    #[inline(always)]
    pub(super) fn report(error: &dyn std::error::Error) {
        tracing::error!(error = error.to_string(), "reported");
    }

    pub(super) async fn report_later() {
        tokio::task::yield_now().await;
        tracing::error!(error = "late", "reported");
    }
}

#[tokio::test]
async fn first_frame_and_culprit_are_the_function_that_logged() {
    let apm = TestAgent::start().await;
    let handler = async || {
        helpers::report(&disk());
        helpers::report_later().await;
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    for (message, function) in [("disk full", "helpers::report"), ("late", "helpers::report_later")] {
        let error = apm.expect_error(message).await.culprit_contains(function);
        let frame = &error.json()["exception"]["stacktrace"][0];
        assert!(frame["function"].as_str().unwrap().contains(function), "{frame}");
        assert!(frame["filename"].as_str().unwrap().ends_with("error_events.rs"), "{frame}");
        assert_eq!(frame["library_frame"], false, "{frame}");
        let line = frame["lineno"].as_u64().unwrap() as usize;
        let source = include_str!("error_events.rs").lines().nth(line - 1).unwrap();
        assert!(source.contains("tracing::error!"), "{source}");
    }
}
