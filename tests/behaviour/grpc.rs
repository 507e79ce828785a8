//! Names, results and outcomes of gRPC services.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Response, Version},
    routing::{get, post},
};
use http_body_util::StreamBody;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_apm::testkit::TestAgent;

use crate::http::{send, serve};

/// A tonic service and an axum route in one router.
async fn health(apm: &TestAgent) -> HealthClient<tonic::transport::Channel> {
    let (_, service) = tonic_health::server::health_reporter();
    let app = tonic::service::Routes::new(service).into_axum_router().route("/", get(async || "ok"));
    let address = serve(app, apm.layer()).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    HealthClient::new(channel.connect().await.unwrap())
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

// spec: tracing-instrumentation-grpc.md
#[tokio::test]
async fn grpc_transaction_is_named_by_its_method_and_has_its_status() {
    let apm = TestAgent::start().await;
    let mut client = health(&apm).await;
    client.check(of("")).await.unwrap();
    let sent = apm.expect_transaction("/grpc.health.v1.Health/Check").await;
    sent.kind("request").result("OK").outcome("success").status(200);
}

// spec: tracing-instrumentation-grpc.md
#[tokio::test]
async fn grpc_client_errors_are_no_failures() {
    let apm = TestAgent::start().await;
    let mut client = health(&apm).await;
    assert_eq!(client.check(of("nope")).await.unwrap_err().code(), tonic::Code::NotFound);
    apm.expect_transaction("/grpc.health.v1.Health/Check").await.result("NOT_FOUND").outcome("success");
}

#[tokio::test]
async fn grpc_stream_cancelled_by_the_client_is_aborted() {
    let apm = TestAgent::start().await;
    let mut client = health(&apm).await;
    let mut changes = client.watch(of("")).await.unwrap().into_inner();
    changes.message().await.unwrap().unwrap();
    drop((changes, client));
    apm.expect_transaction("/grpc.health.v1.Health/Watch")
        .await
        .outcome("success")
        .label("aborted", true)
        .result("CANCELLED");
}

type Frames = Vec<Result<http_body::Frame<axum::body::Bytes>, std::convert::Infallible>>;

/// A response with these statuses in its headers and trailers.
fn app(apm: &TestAgent, head: Option<&'static str>, trailers: Option<&'static str>) -> Router {
    let status = |code| HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(code))]);
    let answer = move || async move {
        let mut frames: Frames = Vec::new();
        if head.is_none() {
            frames.push(Ok(http_body::Frame::data("message".into())));
        }
        frames.extend(trailers.map(|code| Ok(http_body::Frame::trailers(status(code)))));
        let body = if frames.is_empty() {
            Body::empty()
        } else {
            Body::new(StreamBody::new(futures_util::stream::iter(frames)))
        };
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response.headers_mut().extend(head.map(status).unwrap_or_default());
        response
    };
    Router::new().route("/shop.Market/{method}", post(answer)).layer(apm.layer())
}

async fn call(app: Router) {
    let mut request =
        Request::post("/shop.Market/Buy").header("content-type", "application/grpc").body(Body::empty()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    send(app, request).await;
}

// spec: tracing-instrumentation-grpc.md
#[tokio::test]
async fn grpc_status_is_read_from_headers_and_trailers() {
    for (head, trailers, result, outcome) in [
        (Some("13"), None, "INTERNAL", "failure"),
        (None, Some("0"), "OK", "success"),
        (None, Some("8"), "RESOURCE_EXHAUSTED", "failure"),
        (None, None, "UNKNOWN", "failure"),
    ] {
        let apm = TestAgent::start().await;
        call(app(&apm, head, trailers)).await;
        apm.expect_transaction("/shop.Market/Buy").await.result(result).outcome(outcome);
    }
}

#[tokio::test]
async fn unimplemented_grpc_method_is_named_by_route() {
    let apm = TestAgent::start().await;
    call(app(&apm, Some("12"), None)).await;
    apm.expect_transaction("POST /shop.Market/{method}").await.result("UNIMPLEMENTED").outcome("success");
}

fn grpc_request(path: &str) -> Request {
    let mut request = Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    request
}

/// A path that a client invents must not become a name.
#[tokio::test]
async fn request_that_only_claims_grpc_is_named_by_route() {
    let apm = TestAgent::start().await;
    let failing = async |tx: tower_apm::Transaction| {
        tx.capture_error(&std::io::Error::other("early"));
        axum::http::StatusCode::NOT_FOUND
    };
    let app = Router::new().route("/static/{*path}", post(failing)).layer(apm.layer());
    send(app.clone(), grpc_request("/made.Up/Name")).await;
    send(app, grpc_request("/static/made-up")).await;
    apm.expect_transaction("POST unknown route").await.status(404).result("HTTP 4xx").outcome("success");
    apm.expect_transaction("POST /static/{*path}").await.status(404);
    apm.expect_error("early").await.field("/transaction/name", "POST /static/{*path}");
}

#[tokio::test]
async fn grpc_call_without_a_response_is_named_by_route() {
    use tower::{Layer, ServiceExt};

    let apm = TestAgent::start().await;
    let failing =
        tower::service_fn(async |_: Request| Err::<Response<Body>, _>(std::io::Error::other("connection closed")));
    apm.layer().layer(failing).oneshot(grpc_request("/made.Up/Failed")).await.unwrap_err();
    apm.expect_transaction("POST unknown route").await.result("UNKNOWN").outcome("failure");
    let apm = TestAgent::start().await;
    let pending = tower::service_fn(async |_: Request| {
        std::future::pending::<()>().await;
        Ok::<Response<Body>, std::convert::Infallible>(Response::default())
    });
    let mut future = Box::pin(apm.layer().layer(pending).oneshot(grpc_request("/made.Up/Dropped")));
    assert!(futures_util::poll!(&mut future).is_pending());
    drop(future);
    apm.expect_transaction("POST unknown route").await.label("aborted", true).result("CANCELLED").outcome("success");
}

#[tokio::test]
async fn error_of_a_grpc_service_has_the_method_as_transaction_name() {
    let apm = TestAgent::start().await;
    let failing = async |tx: tower_apm::Transaction| {
        tx.capture_error(&std::io::Error::other("early"));
        axum::http::StatusCode::OK
    };
    let app = Router::new().route("/shop.Market/{*rest}", post(failing)).layer(apm.layer());
    send(app, grpc_request("/shop.Market/Buy")).await;
    apm.expect_error("early").await.field("/transaction/name", "/shop.Market/Buy");
}

#[tokio::test]
async fn unauthenticated_grpc_call_is_named_by_route() {
    let apm = TestAgent::start().await;
    call(app(&apm, Some("16"), None)).await;
    apm.expect_transaction("POST /shop.Market/{method}").await.result("UNAUTHENTICATED").outcome("success");
}
