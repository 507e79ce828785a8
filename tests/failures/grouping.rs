//! Groups of errors in Kibana, computed by the rule of the APM Server.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_apm::{ResponseExt, Transaction, testkit::TestAgent};

use crate::app::{call, errors, only_error};

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("listing {0} is sold")]
    Sold(u64),
    #[error("settlement of listing {id} failed")]
    Settlement {
        id: u64,
        #[source]
        cause: std::io::Error,
    },
    #[error("the database is down")]
    Database,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.to_string(), "trace_id": Transaction::current().trace_id() }));
        (StatusCode::INTERNAL_SERVER_ERROR, body).into_response().with_error(self)
    }
}

/// The documented pattern for `anyhow`.
struct Failure(anyhow::Error);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, "failed").into_response().with_error(self.0)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

fn settlement(id: u64) -> AppError {
    AppError::Settlement { id, cause: std::io::Error::other("reverted") }
}

/// A middleware of the service is part of each stack.
async fn authenticated(request: Request, next: Next) -> Response {
    next.run(request).await
}

/// The parts that the server hashes: the types of the exception and its causes, the template of the message, and the
/// module (or file) and function of each frame. Messages are used only if there is nothing else.
fn key(error: &Value) -> Vec<String> {
    fn walk<'a>(exception: &'a Value, found: &mut Vec<&'a Value>) {
        found.push(exception);
        exception["cause"].as_array().into_iter().flatten().for_each(|cause| walk(cause, found));
    }
    let mut exceptions = Vec::new();
    if let Some(exception) = error.get("exception") {
        walk(exception, &mut exceptions);
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut key: Vec<String> = exceptions.iter().filter_map(|exception| text(&exception["type"])).collect();
    key.extend(text(&error["log"]["param_message"]));
    let mut frames: Vec<&Value> =
        exceptions.iter().flat_map(|one| one["stacktrace"].as_array().into_iter().flatten()).collect();
    if frames.is_empty() {
        frames.extend(error["log"]["stacktrace"].as_array().into_iter().flatten());
    }
    for frame in frames {
        key.extend(["module", "filename", "classname"].iter().find_map(|place| text(&frame[*place])));
        key.extend(text(&frame["function"]));
    }
    if key.is_empty() {
        let messages = exceptions.iter().map(|exception| &exception["message"]);
        key.extend(messages.chain([&error["log"]["message"]]).find_map(text));
    }
    key
}

/// The number of errors in each group, the smallest first.
async fn groups(app: Router, paths: &[&str]) -> Vec<usize> {
    let apm = TestAgent::start().await;
    let app = app.layer(middleware::from_fn(authenticated)).layer(apm.layer());
    for path in paths {
        call(app.clone(), path).await;
    }
    let errors = errors(&apm).await;
    assert_eq!(errors.len(), paths.len(), "{errors:#?}");
    let mut groups = BTreeMap::<_, usize>::new();
    for error in &errors {
        *groups.entry(key(error)).or_default() += 1;
    }
    let mut sizes: Vec<_> = groups.into_values().collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
async fn three_variants_on_three_routes_are_three_groups() {
    let app = Router::new()
        .route("/a", get(async || AppError::Sold(1)))
        .route("/b", get(async || settlement(1)))
        .route("/c", get(async || AppError::Database));
    assert_eq!(groups(app, &["/a", "/b", "/c"]).await, [1, 1, 1]);
    let app = Router::new()
        .route("/a", get(async || Failure::from(AppError::Sold(1))))
        .route("/b", get(async || Failure::from(settlement(1))))
        .route("/c", get(async || Failure::from(AppError::Database)));
    assert_eq!(groups(app, &["/a", "/b", "/c"]).await, [1, 1, 1], "through anyhow");
}

#[tokio::test]
async fn variants_on_one_route_are_groups() {
    let fail = async |Path(id): Path<u64>| match id {
        0 => AppError::Database,
        1 => settlement(1),
        id => AppError::Sold(id),
    };
    assert_eq!(groups(Router::new().route("/{id}", get(fail)), &["/0", "/1", "/2", "/3"]).await, [1, 1, 2]);
    let fail = async move |id: Path<u64>| Failure::from(fail(id).await);
    assert_eq!(groups(Router::new().route("/{id}", get(fail)), &["/0", "/1", "/2", "/3"]).await, [1, 1, 2]);
}

#[tokio::test]
async fn one_variant_on_two_routes_is_two_groups() {
    let app = Router::new().route("/a", get(async || AppError::Sold(1))).route("/b", get(async || AppError::Sold(1)));
    assert_eq!(groups(app, &["/a", "/b", "/a"]).await, [1, 2]);
}

#[tokio::test]
async fn ids_in_messages_make_no_groups() {
    let paths = ["/1", "/2", "/3"];
    let app = |fail: fn(u64) -> Response| Router::new().route("/{id}", get(async move |Path(id): Path<u64>| fail(id)));
    let fails: [fn(u64) -> Response; 6] = [
        |id| settlement(id).into_response(),
        |id| Failure::from(settlement(id)).into_response(),
        |id| Failure(anyhow::Error::from(settlement(id)).context(format!("purchase of {id} failed"))).into_response(),
        |id| Failure(anyhow::anyhow!("listing {id} was removed")).into_response(),
        |id| {
            tracing::error!("database error: no row {id}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        },
        |id| (StatusCode::INTERNAL_SERVER_ERROR, format!("no row {id}")).into_response(),
    ];
    for (number, fail) in fails.into_iter().enumerate() {
        assert_eq!(groups(app(fail), &paths).await, [3], "{number}");
    }
}

#[tokio::test]
async fn statuses_are_grouped_by_route() {
    let app = Router::new()
        .route("/a/{id}", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/b/{id}", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "broken")));
    assert_eq!(groups(app, &["/a/1", "/a/2", "/b/1"]).await, [1, 2]);
}

#[inline(never)]
fn announce(tx: &Transaction) {
    tx.capture_error(&AppError::Database);
}

#[inline(never)]
fn settle(tx: &Transaction) {
    tx.capture_error(&AppError::Database);
}

#[tokio::test]
async fn error_captured_in_two_functions_is_two_groups() {
    let app = Router::new()
        .route("/a", get(async |tx: Transaction| announce(&tx)))
        .route("/b", get(async |tx: Transaction| settle(&tx)));
    assert_eq!(groups(app, &["/a", "/b", "/a"]).await, [1, 2]);
}

#[tokio::test]
async fn lines_of_two_functions_are_two_groups() {
    #[inline(never)]
    fn first() {
        tracing::error!("a line");
    }
    #[inline(never)]
    fn second() {
        tracing::error!("a line");
    }
    let fail = async |Path(id): Path<u64>| {
        if id == 0 {
            first()
        } else {
            second()
        }
        StatusCode::INTERNAL_SERVER_ERROR
    };
    assert_eq!(groups(Router::new().route("/{id}", get(fail)), &["/0", "/1", "/2"]).await, [1, 2]);
}

#[tokio::test]
async fn attached_error_has_variant_and_route_and_no_frames_of_the_framework() {
    let apm = TestAgent::start().await;
    let purchase = async |Path(id): Path<u64>| settlement(id);
    let market = Router::new().route("/listings/{id}/purchase", get(purchase).merge(post(async || ())));
    let app = Router::new().nest("/market", market).layer(middleware::from_fn(authenticated));
    let error = only_error(&apm, app, "/market/listings/7/purchase").await;
    let route = "GET /market/listings/{id}/purchase";
    assert_eq!(error["culprit"], route);
    assert_eq!(
        error["exception"],
        json!({
            "type": "AppError::Settlement", "module": "failures::grouping", "message": "settlement of listing 7 failed",
            "handled": false,
            "cause": [{ "type": "Error", "module": "std::io", "message": "reverted" }],
        })
    );
    assert_eq!(
        error["log"],
        json!({ "message": "settlement of listing 7 failed", "level": "error", "param_message": route })
    );
    assert_eq!(key(&error), ["AppError::Settlement", "Error", route]);
}

#[tokio::test]
async fn enum_is_ignored_by_type_and_by_variant() {
    for (pattern, is_ignored) in [
        ("AppError", true),
        ("AppError::Sold", true),
        ("*::Sold", true),
        ("failures::grouping::AppError", true),
        ("failures::grouping::AppError::Sold", true),
        ("AppError::Database", false),
    ] {
        let apm = TestAgent::builder().configure(move |agent| agent.ignore_exceptions([pattern])).start().await;
        let job = apm.agent().start_transaction("job", "scheduled");
        job.capture_error(&AppError::Sold(1));
        drop(job);
        assert_eq!(errors(&apm).await.is_empty(), is_ignored, "{pattern}");
    }
}

#[tokio::test]
async fn filter_sees_type_and_variant() {
    let filter = |error: &tower_apm::ReportedError<'_>| {
        assert_eq!(
            (error.error_type(), error.types().next().as_deref()),
            (Some("AppError"), Some("failures::grouping::AppError"))
        );
        error.variant() != Some("Sold")
    };
    let apm = TestAgent::builder().configure(move |agent| agent.error_filter(filter)).start().await;
    let job = apm.agent().start_transaction("job", "scheduled");
    job.capture_error(&AppError::Sold(1)).capture_error(&AppError::Database);
    drop(job);
    let errors = errors(&apm).await;
    assert_eq!((errors.len(), apm.agent().stats().contained_panics), (1, 0));
    assert_eq!(errors[0]["exception"]["type"], "AppError::Database");
}
