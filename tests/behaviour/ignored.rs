//! Requests that match `transaction_ignore_urls`: hooks run for them, and their errors are sent without a transaction.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
    response::IntoResponse,
};
use futures_util::stream;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_apm::{
    ApmLayer, ResponseExt,
    testkit::{ExpectedError, TestAgent},
};

async fn ignoring() -> TestAgent {
    TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/*"])).start().await
}

/// The calls of the hooks of a layer.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn layer(&self, apm: &TestAgent) -> ApmLayer {
        let (errors, responses) = (self.clone(), self.clone());
        apm.layer()
            .on_error(move |_, error| errors.add(format!("error {error}")))
            .on_response(move |_, response| responses.add(format!("response {}", response.status)))
    }
}

fn request() -> Request<Body> {
    Request::get("/health").body(Body::empty()).unwrap()
}

fn without_transaction(error: ExpectedError) -> ExpectedError {
    error.no_field("/transaction_id").no_field("/transaction").no_field("/trace_id").handled(false)
}

#[tokio::test]
async fn error_of_an_ignored_response_is_sent_and_seen_by_hooks() {
    let (apm, seen) = (ignoring().await, Seen::default());
    let respond = |_: Request<Body>| async {
        Ok::<_, io::Error>(StatusCode::BAD_GATEWAY.into_response().with_error(io::Error::other("no pulse")))
    };
    seen.layer(&apm).layer(service_fn(respond)).oneshot(request()).await.unwrap();
    without_transaction(apm.expect_error("no pulse").await);
    assert_eq!(seen.take(), ["error no pulse"], "`on_response` does not run for ignored requests");
}

#[tokio::test]
async fn error_of_an_ignored_service_is_sent_and_seen_by_hooks() {
    let (apm, seen) = (ignoring().await, Seen::default());
    let fail = |_: Request<Body>| async { Err::<Response<Body>, _>(io::Error::other("no pulse")) };
    seen.layer(&apm).layer(service_fn(fail)).oneshot(request()).await.unwrap_err();
    without_transaction(apm.expect_error("no pulse").await);
    assert_eq!(seen.take(), ["error no pulse"]);
}

#[tokio::test]
async fn panic_of_an_ignored_request_is_sent_and_seen_by_hooks() {
    let (apm, seen) = (ignoring().await, Seen::default());
    let panics = async |_: Request<Body>| -> Result<Response<Body>, io::Error> { panic!("no pulse") };
    let service = seen.layer(&apm).layer(service_fn(panics));
    let result = tokio::spawn(service.oneshot(request())).await.map(|_| ());
    assert!(result.unwrap_err().is_panic());
    without_transaction(apm.expect_error("no pulse").await);
    assert_eq!(seen.take(), ["error no pulse"]);

    let panics = |_: Request<Body>| -> std::future::Ready<Result<Response<Body>, io::Error>> { panic!("no call") };
    let service = seen.layer(&apm).layer(service_fn(panics));
    tokio::spawn(async { service.oneshot(request()).await.map(drop) }).await.unwrap_err();
    without_transaction(apm.expect_error("no call").await);
    assert_eq!(seen.take(), ["error no call"]);
}

#[tokio::test]
async fn errors_and_panics_of_an_ignored_body_are_sent() {
    let (apm, seen) = (ignoring().await, Seen::default());
    let failing = |_: Request<Body>| async {
        let chunks = [Ok(Bytes::from_static(b"a")), Err(io::Error::other("no pulse"))];
        Ok::<_, io::Error>(Response::new(Body::from_stream(stream::iter(chunks))))
    };
    let response = seen.layer(&apm).layer(service_fn(failing)).oneshot(request()).await.unwrap();
    response.into_body().collect().await.unwrap_err();
    without_transaction(apm.expect_error("no pulse").await);

    let panicking = |_: Request<Body>| async {
        let chunks = stream::poll_fn(|_| -> std::task::Poll<Option<io::Result<Bytes>>> { panic!("no body") });
        Ok::<_, io::Error>(Response::new(Body::from_stream(chunks)))
    };
    let response = seen.layer(&apm).layer(service_fn(panicking)).oneshot(request()).await.unwrap();
    seen.take();
    tokio::spawn(async { response.into_body().collect().await.map(drop) }).await.unwrap_err();
    without_transaction(apm.expect_error("no body").await);
    assert_eq!(seen.take(), ["error no body"]);
}
