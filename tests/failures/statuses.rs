//! Failed requests without an error and without a log line.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, Version, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tower::ServiceExt;
use tower_apm::{Outcome, Transaction, testkit::TestAgent};

use crate::app::{call, errors, only_error};

#[tokio::test]
async fn status_alone_is_one_error_with_the_route_as_culprit() {
    let app = Router::new()
        .route("/alone/{id}", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/text/{id}", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "order 7 is broken")));
    for path in ["/alone", "/text"] {
        let apm = TestAgent::start().await;
        let error = only_error(&apm, app.clone(), &format!("{path}/7")).await;
        let route = format!("GET {path}/{{id}}");
        assert_eq!(error["culprit"], route);
        assert_eq!(
            error["log"],
            json!({
                "message": format!("{route} returned 500 Internal Server Error"), "level": "error", "param_message": route,
            })
        );
        assert_eq!(error.get("exception"), None);
        assert_eq!(error["transaction"]["name"], route);
        assert_eq!(error["context"]["response"]["status_code"], 500);
        apm.expect_transaction(&route).await.outcome("failure").error(error["log"]["message"].as_str().unwrap(), |e| e);
    }
}

#[tokio::test]
async fn client_errors_and_successes_have_no_error() {
    let apm = TestAgent::start().await;
    let app = Router::new().route(
        "/{status}",
        get(async |axum::extract::Path(status): axum::extract::Path<u16>| StatusCode::from_u16(status).unwrap()),
    );
    for status in [200, 301, 404, 499] {
        call(app.clone().layer(apm.layer()), &format!("/{status}")).await;
    }
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn request_that_the_code_calls_a_success_has_no_error() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        tx.set_outcome(Outcome::Success);
        StatusCode::SERVICE_UNAVAILABLE
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.outcome("success");
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn ignored_request_has_no_error_of_its_status() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/health"])).start().await;
    let app = Router::new().route("/health", get(async || StatusCode::SERVICE_UNAVAILABLE));
    call(app.layer(apm.layer()), "/health").await;
    apm.expect_no_errors().await;
}

#[tokio::test]
async fn failed_grpc_call_has_an_error_of_its_status() {
    let apm = TestAgent::start().await;
    let answer = |status: &'static str| {
        move || async move {
            let head = [(CONTENT_TYPE.as_str(), "application/grpc"), ("grpc-status", status)];
            (head, Body::empty()).into_response() as Response
        }
    };
    let app =
        Router::new().route("/shop.Orders/Fail", post(answer("13"))).route("/shop.Orders/Find", post(answer("5")));
    for path in ["/shop.Orders/Fail", "/shop.Orders/Find"] {
        let request = Request::post(path).version(Version::HTTP_2).header(CONTENT_TYPE, "application/grpc");
        app.clone().layer(apm.layer()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    }
    let errors = errors(&apm).await;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["log"]["message"], "/shop.Orders/Fail returned INTERNAL");
    assert_eq!(errors[0]["culprit"], "/shop.Orders/Fail");
}
