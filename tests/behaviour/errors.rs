//! Which errors are recorded, and what their documents contain.

use std::{
    backtrace::Backtrace,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::{KeyValue, trace::TraceContextExt};
use tower::ServiceExt;
use tower_apm::{
    AgentBuilder, ErrorVerdict, ResponseExt, TraceId, Transaction, User,
    testkit::{Kind, TestAgent},
};

use crate::http::{call, empty, get as request, send};

#[derive(Debug, thiserror::Error)]
#[error("settlement of {0} failed")]
struct SettlementError(&'static str, #[source] ChainError);

#[derive(Debug, thiserror::Error)]
#[error("the chain refused")]
struct ChainError(#[source] io::Error);

fn settlement_error() -> SettlementError {
    SettlementError("42", ChainError(io::Error::other("execution reverted")))
}

async fn settle() -> Response {
    StatusCode::BAD_GATEWAY.into_response().with_error(settlement_error())
}

// spec: error-tracking.md
#[tokio::test]
async fn attached_error_is_recorded_with_all_causes_and_context() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_user(User::id("0xdef"))
            .set_label("token_id", "42")
            .set_custom_context("order", serde_json::json!({ "buyer": "0xdef" }));
        StatusCode::BAD_GATEWAY.into_response().with_error(settlement_error())
    };
    send(Router::new().route("/settle/{id}", get(handler)).layer(apm.layer()), empty(request("/settle/7"))).await;
    apm.expect_transaction("GET /settle/{id}").await.outcome("failure");
    apm.expect_error("SettlementError")
        .await
        .message("settlement of 42 failed")
        .caused_by("ChainError")
        .caused_by("the chain refused")
        .caused_by("execution reverted")
        .handled(false)
        .field("/culprit", "GET /settle/{id}")
        .frame_contains("errors.rs")
        .child_of("GET /settle/{id}")
        .field_contains("/exception/module", "errors")
        .field("/transaction/name", "GET /settle/{id}")
        .field("/transaction/sampled", true)
        .user_id("0xdef")
        .label("token_id", "42")
        .custom("/order/buyer", "0xdef")
        .request_header("host", "shop.example:3000")
        .field("/context/request/url/pathname", "/settle/7");
}

#[tokio::test]
async fn client_error_status_is_not_recorded_unless_captured() {
    let apm = TestAgent::start().await;
    let quiet = async || StatusCode::CONFLICT.into_response().with_error(settlement_error());
    let loud = async |tx: Transaction| {
        tx.capture_error(&settlement_error());
        StatusCode::CONFLICT
    };
    let app = Router::new().route("/quiet", get(quiet)).route("/loud", get(loud)).layer(apm.layer());
    call(app.clone(), "/quiet").await;
    apm.expect_transaction("GET /quiet").await.status(409);
    apm.expect_no_errors().await;
    call(app, "/loud").await;
    apm.expect_transaction("GET /loud").await.outcome("success").error("SettlementError", |error| error.handled(true));
}

// spec: error-tracking.md
#[tokio::test]
async fn error_builder_adds_labels_and_custom_context() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_label("step", "buy").set_label("token_id", "42");
        tx.error(&settlement_error())
            .handled(false)
            .label("step", "announce")
            .custom("attempt", 3)
            .message_template("settlement of {} failed")
            .capture();
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("SettlementError")
        .await
        .handled(false)
        .label("step", "announce")
        .label("token_id", "42")
        .custom("/attempt", 3)
        .field("/transaction/name", "GET /")
        .field("/log/param_message", "settlement of {} failed");
    apm.expect_transaction("GET /").await.label("step", "buy").outcome("success").no_field("/context/custom");
}

#[tokio::test]
async fn error_captured_twice_is_one_document() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.capture_error(&settlement_error());
        tx.capture_error(&settlement_error());
        tx.capture_error(&io::Error::other("another"));
        StatusCode::BAD_GATEWAY.into_response().with_error(settlement_error())
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.error("SettlementError", |error| error).error("another", |error| error);
    assert_eq!(apm.events(Kind::Error).len(), 2);
    assert_eq!(apm.agent().stats().suppressed_errors, 2);
}

#[tokio::test]
async fn error_rate_is_limited_and_counted() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        for number in 0..200 {
            tx.capture_error(&io::Error::other(format!("number {number}")));
        }
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await;
    let (sent, stats) = (apm.events(Kind::Error).len() as u64, apm.agent().stats());
    assert!(sent < 200, "{sent}");
    assert_eq!(sent + stats.suppressed_errors, 200);
}

#[tokio::test]
async fn tracing_error_event_is_a_document() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let error = settlement_error();
        let _span = tracing::info_span!("settle").entered();
        tracing::error!(error = &error as &dyn std::error::Error, token_id = "42", attempt = 3, "cannot settle");
        tracing::error!("without an error");
        tracing::warn!(error = &error as &dyn std::error::Error, "only a warning");
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("cannot settle")
        .await
        .message("settlement of 42 failed")
        .caused_by("execution reverted")
        .label("token_id", "42")
        .label("attempt", 3)
        .child_of("settle")
        .field("/log/level", "error");
    apm.expect_transaction("GET /").await.outcome("success").span("settle", |span| span.outcome("failure"));
    assert_eq!(apm.events(Kind::Error).len(), 1);
}

#[tokio::test]
async fn current_opentelemetry_span_is_the_transaction() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let context = opentelemetry::Context::current();
        context.span().set_attribute(KeyValue::new("cart.size", 3));
        context.span().record_error(&settlement_error());
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.label("cart.size", 3).error("settlement of 42 failed", |error| error);
}

// spec: error-tracking.md
#[tokio::test]
async fn errors_of_unsampled_requests_are_sent() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    let handler = async |tx: Transaction| {
        tx.set_user(User::id("0xdef")).set_label("token_id", "42");
        tracing::info_span!("silent").in_scope(|| ());
        StatusCode::BAD_GATEWAY.into_response().with_error(settlement_error())
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("SettlementError")
        .await
        .field("/transaction/sampled", false)
        .user_id("0xdef")
        .label("token_id", "42")
        .field("/context/request/url/pathname", "/");
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (0, 0));
}

#[tokio::test]
async fn given_backtrace_is_used() {
    #[inline(never)]
    fn deep_in_the_code() -> Backtrace {
        Backtrace::force_capture()
    }
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        let backtrace = deep_in_the_code();
        tx.error(&settlement_error()).backtrace(&backtrace).capture();
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("SettlementError").await.frame_contains("deep_in_the_code").culprit_contains("deep_in_the_code");
}

#[tokio::test]
async fn stack_trace_limit_zero_records_no_stacks() {
    let apm = TestAgent::builder().configure(|agent| agent.stack_trace_limit(0)).start().await;
    call(Router::new().route("/", get(settle)).layer(apm.layer()), "/").await;
    apm.expect_error("SettlementError").await.no_field("/exception/stacktrace");
}

#[tokio::test]
async fn boxed_errors_keep_their_text_and_causes() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let boxed: Box<dyn std::error::Error + Send + Sync> = settlement_error().into();
        StatusCode::BAD_GATEWAY.into_response().with_error(boxed)
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("settlement of 42 failed").await.kind("SettlementError").caused_by("execution reverted");
}

#[tokio::test]
async fn trace_id_extractor_returns_the_trace_id() {
    let apm = TestAgent::start().await;
    let handler = async |id: TraceId| id.to_string();
    let body = call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await.into_body();
    assert_eq!(body, apm.expect_transaction("GET /").await.trace_id());
}

/// An error whose text runs code.
#[derive(Debug)]
struct Wild(fn());

impl std::fmt::Display for Wild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0();
        f.write_str("wild")
    }
}

impl std::error::Error for Wild {}

/// OpenTelemetry holds the span's lock while it formats the error, so the span must not be used meanwhile.
#[tokio::test]
async fn error_text_that_uses_the_transaction_does_not_deadlock() {
    let apm = TestAgent::start().await;
    let handler = async || {
        let labels = || {
            Transaction::current().set_label("formatted", true);
        };
        opentelemetry::Context::current().span().record_error(&Wild(labels));
    };
    send(Router::new().route("/", get(handler)).layer(apm.layer()), empty(request("/"))).await;
    apm.expect_transaction("GET /").await.label("formatted", true);
    apm.expect_error("wild").await;
}

#[tokio::test]
async fn panic_in_an_error_text_does_not_deadlock() {
    let apm = TestAgent::start().await;
    let handler = async || {
        opentelemetry::Context::current().span().record_error(&Wild(|| panic!("no text")));
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    tokio::spawn(app.oneshot(empty(request("/")))).await.unwrap_err();
    apm.expect_transaction("GET /").await.outcome("failure").result("panic");
    apm.expect_error("panic").await.message("no text").handled(false);
}

#[tokio::test]
async fn panicking_error_text_does_not_break_the_response() {
    let apm = TestAgent::start().await;
    let handler = async || StatusCode::BAD_GATEWAY.into_response().with_error(Wild(|| panic!("no text")));
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    let response = app.oneshot(empty(request("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    apm.expect_transaction("GET /").await.status(502).outcome("failure");
    apm.expect_error("Wild").await;
    assert!(apm.agent().stats().contained_panics > 0);
}

#[tokio::test]
async fn secret_arguments_of_instrumented_functions_are_redacted() {
    #[tracing::instrument]
    async fn login(user: &str, password: &str) {
        tracing::error!(error = "refused", password = "hunter3", url = "https://u:hunter4@h/", "login failed");
    }
    let apm = TestAgent::start().await;
    let handler = async || login("ada", "hunter2").await;
    send(Router::new().route("/", get(handler)).layer(apm.layer()), empty(request("/"))).await;
    apm.expect_span("login").await.label("user", "ada").label("password", "[REDACTED]");
    apm.expect_error("refused").await.label("password", "[REDACTED]");
    ["hunter2", "hunter3", "hunter4"].into_iter().for_each(|secret| apm.assert_no_secret(secret));
}

#[tokio::test]
async fn huge_label_does_not_drop_the_transaction() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_label("big", "x".repeat(20_000_000));
        for i in 0..200 {
            tx.set_label(format!("k{i}"), i);
        }
    };
    send(Router::new().route("/", get(handler)).layer(apm.layer()), empty(request("/"))).await;
    apm.expect_transaction("GET /").await.label("k0", 0);
    assert_eq!(apm.agent().stats().excess_labels, 200 - 127);
}

#[tokio::test]
async fn ignored_exception_types_are_not_recorded() {
    let ignoring = |agent: AgentBuilder| agent.ignore_exceptions(["*::OutOfGas", "TimedOut"]);
    let apm = TestAgent::builder().configure(ignoring).start().await;
    let work = apm.agent().start_transaction("work", "scheduled");
    work.capture_error(&Reverted(OutOfGas)).capture_error(&TimedOut).capture_error(&std::io::Error::other("disk full"));
    drop(work);
    apm.expect_error("disk full").await;
    apm.flush().await;
    assert_eq!((apm.events(Kind::Error).len(), apm.agent().stats().filtered), (1, 2));
}

#[tokio::test]
async fn exception_type_is_ignored_by_its_public_path() {
    let ignoring = |agent: AgentBuilder| agent.ignore_exceptions(["std::io::Error"]);
    let apm = TestAgent::builder().configure(ignoring).start().await;
    apm.agent().capture_error(&std::io::Error::other("disk full"));
    let work = apm.agent().start_transaction("work", "scheduled");
    work.capture_error(&std::io::Error::other("disk full")).capture_error(&TimedOut);
    drop(work);
    apm.expect_transaction("work").await;
    assert_eq!((apm.events(Kind::Error).len(), apm.agent().stats().filtered), (1, 2));
}

#[tokio::test]
async fn error_filter_drops_errors_and_may_panic() {
    let filter = |agent: AgentBuilder| {
        agent.error_filter(|error| {
            assert!(error.message() != "disk full", "a panicking filter keeps the error");
            !error.types().any(|kind| kind.ends_with("::OutOfGas"))
                || error.transaction_name().as_deref() == Some("kept")
        })
    };
    let apm = TestAgent::builder().configure(filter).start().await;
    let work = apm.agent().start_transaction("work", "scheduled");
    work.capture_error(&OutOfGas).capture_error(&std::io::Error::other("disk full"));
    work.set_name("kept").capture_error(&Reverted(OutOfGas));
    drop(work);
    apm.expect_error("disk full").await;
    apm.expect_error("Reverted").await.caused_by("out of gas");
    apm.flush().await;
    let stats = apm.agent().stats();
    assert_eq!((apm.events(Kind::Error).len(), stats.filtered, stats.contained_panics), (2, 1, 1));
}

#[tokio::test]
async fn cause_of_a_recorded_error_is_not_recorded_again() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("work", "scheduled");
    work.capture_error(&Reverted(OutOfGas)).capture_error(&OutOfGas);
    drop(work);
    apm.expect_error("Reverted").await.caused_by("out of gas");
    apm.flush().await;
    assert_eq!((apm.events(Kind::Error).len(), apm.agent().stats().suppressed_errors), (1, 1));
}

// spec: field-limits.md
#[tokio::test]
async fn long_field_max_length_truncates_error_messages() {
    for length in [100, 20_000] {
        let apm = TestAgent::builder().configure(move |agent| agent.long_field_max_length(length)).start().await;
        let work = apm.agent().start_transaction("work", "scheduled");
        work.capture_error(&std::io::Error::other("ä".repeat(length + 1)));
        drop(work);
        apm.flush().await;
        let sent = apm.events(Kind::Error);
        let message = sent[0]["exception"]["message"].as_str().unwrap();
        assert!(message.chars().count() == length && message.ends_with("ä…"), "{length}");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("out of gas")]
struct OutOfGas;

#[derive(Debug, thiserror::Error)]
#[error("timed out")]
struct TimedOut;

#[derive(Debug, thiserror::Error)]
#[error("reverted")]
struct Reverted(#[source] OutOfGas);

// spec: error-tracking.md
#[tokio::test]
async fn errors_outside_a_transaction_have_no_trace_ids() {
    let apm = TestAgent::start().await;
    apm.agent().capture_error(&Reverted(OutOfGas));
    apm.agent().error(&TimedOut).handled(false).label("step", "start-up").custom("attempt", 3).capture();
    apm.expect_error("Reverted").await.caused_by("out of gas").frame_contains("errors.rs").no_field("/transaction_id");
    apm.expect_error("TimedOut").await.handled(false).label("step", "start-up").custom("/attempt", 3);
    // within a transaction of the same agent, the error belongs to it
    let agent = apm.agent().clone();
    apm.agent().start_transaction("work", "scheduled").in_scope(|| agent.capture_error(&OutOfGas));
    apm.expect_transaction("work").await.outcome("failure").error("OutOfGas", |error| error);
    // within a transaction of another agent, it does not
    let other = TestAgent::start().await;
    other.agent().start_transaction("theirs", "scheduled").in_scope(|| agent.capture_error(&TimedOut));
    other.expect_transaction("theirs").await.outcome("success").no_error();
    apm.flush().await;
    let errors = apm.events(Kind::Error);
    let ids = errors
        .iter()
        .map(|error| ["trace_id", "transaction_id", "parent_id"].iter().filter(|id| error.get(**id).is_some()).count());
    assert_eq!(ids.collect::<Vec<_>>(), [0, 0, 3, 0], "all ids or none");
}

#[tokio::test]
async fn late_error_has_the_name_and_type_of_its_transaction() {
    let apm = TestAgent::start().await;
    let late = Arc::new(Mutex::new(Vec::new()));
    let keep = late.clone();
    let handler = move |tx: Transaction| async move { keep.lock().unwrap().push(tx) };
    let long = format!("/listings/{}/{{id}}", "x".repeat(200));
    let app = Router::new().route("/listings/{id}", get(handler.clone())).route(&long, get(handler)).layer(apm.layer());
    call(app.clone(), "/listings/7").await;
    call(app, &long.replace("{id}", "7")).await;
    let work = apm.agent().start_transaction("settle", "scheduled");
    late.lock().unwrap().push((*work).clone());
    drop(work);
    for (tx, text) in late.lock().unwrap().iter().zip(["first", "second", "third"]) {
        tx.capture_error(&io::Error::other(text));
    }
    let first = apm.expect_error("first").await.field("/transaction/name", "GET /listings/{id}");
    first.field("/transaction/type", "request").child_of("GET /listings/{id}");
    apm.expect_error("second").await.field("/transaction/name", format!("GET {long}"));
    apm.expect_error("third").await.field("/transaction/name", "settle").field("/transaction/type", "scheduled");
}

fn discards_out_of_gas(error: &(dyn std::error::Error + 'static)) -> ErrorVerdict {
    if error.is::<OutOfGas>() || error.to_string() == "out of gas" {
        ErrorVerdict::Discard
    } else {
        ErrorVerdict::Record
    }
}

#[tokio::test]
async fn on_error_hook_discards_an_error() {
    let apm = TestAgent::start().await;
    let answer = |error: fn() -> Box<dyn std::error::Error + Send + Sync>| async move {
        StatusCode::BAD_GATEWAY.into_response().with_error(error())
    };
    let module = Router::new()
        .route("/boxed", get(move || answer(|| OutOfGas.into())))
        .route("/plain", get(async || StatusCode::BAD_GATEWAY.into_response().with_error(OutOfGas)))
        .route("/other", get(async || StatusCode::BAD_GATEWAY.into_response().with_error(TimedOut)))
        .layer(tower_apm::layer().module("chain").on_error(|_, error| discards_out_of_gas(error)));
    // a hook without a verdict does not discard errors, and needs no annotated types
    let app = module.layer(apm.layer().on_error(|tx, error| {
        tx.set_label("seen", error.to_string());
    }));
    for path in ["/boxed", "/plain", "/other"] {
        call(app.clone(), path).await;
    }
    for path in ["GET /boxed", "GET /plain"] {
        apm.expect_transaction(path).await.outcome("failure").label("seen", "out of gas").no_error();
    }
    apm.expect_transaction("GET /other").await.error("TimedOut", |error| error);
    apm.flush().await;
    assert_eq!((apm.events(Kind::Error).len(), apm.agent().stats().filtered), (1, 2));
}

#[tokio::test]
async fn on_error_hook_discards_or_labels_a_panic() {
    let apm = TestAgent::start().await;
    tower_apm::install_panic_hook();
    let module = Router::new()
        .route("/gas", get(async || -> StatusCode { panic!("out of gas") }))
        .route("/apes", get(async || -> StatusCode { panic!("out of apes") }))
        .layer(tower_apm::layer().module("chain").on_error(|tx, error| {
            tx.set_label("reason", error.to_string());
            discards_out_of_gas(error)
        }));
    let app = module.layer(apm.layer());
    for path in ["/gas", "/apes"] {
        tokio::spawn(app.clone().oneshot(empty(request(path)))).await.unwrap_err();
    }
    apm.expect_transaction("GET /gas").await.outcome("failure").result("panic").no_error();
    apm.expect_transaction("GET /apes").await.error("panic", |error| {
        error.message("out of apes").frame_contains("errors.rs").label("reason", "out of apes")
    });
    apm.flush().await;
    assert_eq!((apm.events(Kind::Error).len(), apm.agent().stats().filtered), (1, 1));
}

#[tokio::test]
async fn on_error_hook_discards_a_service_error() {
    let apm = TestAgent::start().await;
    let failing = tower::service_fn(async |_: axum::extract::Request| {
        Err::<Response, _>(Box::<dyn std::error::Error + Send + Sync>::from(OutOfGas))
    });
    let inner = tower_apm::layer().on_error(|_, error| discards_out_of_gas(error));
    let app = tower::ServiceBuilder::new().layer(apm.layer()).layer(inner).service(failing);
    app.oneshot(empty(request("/"))).await.unwrap_err();
    apm.expect_transaction("GET unknown route").await.outcome("failure").no_error();
    assert_eq!(apm.agent().stats().filtered, 1);
}

#[tokio::test]
async fn panic_caught_by_the_handler_is_recorded_at_once() {
    let apm = TestAgent::start().await;
    tower_apm::install_panic_hook();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let handler = move || async move {
        std::panic::catch_unwind(|| panic!("caught")).unwrap_err();
        let wait = wait.lock().unwrap().take().unwrap();
        wait.await.unwrap();
    };
    let app = Router::new().route("/", get(handler)).layer(apm.layer());
    let running = tokio::spawn(app.oneshot(empty(request("/"))));
    apm.expect_error("panic").await.message("caught").field("/transaction/name", "GET /");
    go.send(()).unwrap();
    running.await.unwrap().unwrap();
}
