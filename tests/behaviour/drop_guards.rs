//! Values that are dropped with a request record into its transaction.

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::Response,
    routing::get,
};
use futures_util::{FutureExt, stream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt, service_fn};
use tower_apm::{
    Transaction,
    testkit::{ExpectedTransaction, Kind, TestAgent},
};
use tower_layer::Layer;
use tracing::Instrument;

use crate::http::{empty, get as request};

/// Records a label, a span and an error when it is dropped.
struct Guard(&'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        let error = io::Error::other(format!("rolled back: {}", self.0));
        tracing::info_span!("roll back").in_scope(|| {
            Transaction::current().set_label("rolled_back", self.0).capture_error(&error);
        });
        assert!(!self.0.starts_with("panics"), "{}", self.0);
    }
}

async fn expect_rolled_back(apm: &TestAgent, name: &str, what: &str) -> ExpectedTransaction {
    let message = format!("rolled back: {what}");
    apm.expect_transaction(name)
        .await
        .label("rolled_back", what)
        .span("roll back", |span| span.child_of(name))
        .error(&message, |error| error.child_of("roll back"))
}

/// Polls a request once and drops it.
async fn abort<S>(app: S, request: Request)
where
    S: Service<Request, Error: std::fmt::Debug>,
{
    assert!(app.oneshot(request).now_or_never().is_none(), "the request waits");
}

#[tokio::test]
async fn guard_dropped_in_an_aborted_handler_records_into_the_transaction() {
    let apm = TestAgent::start().await;
    let plain = async || {
        let _guard = Guard("plain");
        pending::<()>().await;
    };
    let instrumented = async || {
        let work = async {
            let _guard = Guard("instrumented");
            pending::<()>().await;
        };
        work.instrument(tracing::info_span!("work")).await;
    };
    let inner = tower_apm::layer().module("inner");
    let app = Router::new()
        .route("/plain", get(plain))
        .route("/inner", get(plain).layer(inner))
        .route("/instrumented", get(instrumented))
        .layer(apm.layer());
    for path in ["/plain", "/inner", "/instrumented"] {
        abort(app.clone(), empty(request(path))).await;
    }
    expect_rolled_back(&apm, "GET /plain", "plain").await.aborted().outcome("unknown");
    expect_rolled_back(&apm, "GET /inner", "plain").await.aborted();
    let labels = apm.expect_transaction("GET /instrumented").await.aborted().label("rolled_back", "instrumented");
    labels.error("rolled back: instrumented", |error| error);
}

#[tokio::test]
async fn guard_dropped_in_the_request_of_an_aborted_handler_records_into_the_transaction() {
    let apm = TestAgent::start().await;
    let service = service_fn(async |request: Request| {
        let never: Result<Response<Body>, Infallible> = pending().await;
        drop(request);
        never
    });
    let app = apm.layer().layer(service);
    let guard = Guard("body");
    let body = Body::from_stream(stream::unfold(guard, async |guard| Some((Ok::<_, Infallible>(Bytes::new()), guard))));
    abort(app.clone(), request("/").body(body).unwrap()).await;
    expect_rolled_back(&apm, "GET unknown route", "body").await.aborted();
    apm.clear();
    let request = request("/").extension(Arc::new(Guard("extension"))).body(Body::empty()).unwrap();
    abort(app, request).await;
    expect_rolled_back(&apm, "GET unknown route", "extension").await.aborted();
}

/// A body that holds a guard: of known size, or not.
struct Guarded {
    chunks: Vec<&'static str>,
    is_known: bool,
    _guard: Guard,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.chunks.pop().map(|chunk| Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        let size = self.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if self.is_known { SizeHint::with_exact(size) } else { SizeHint::default() }
    }
}

#[tokio::test]
async fn guard_dropped_in_an_unread_body_records_into_the_transaction() {
    let apm = TestAgent::start().await;
    let service = |is_known: bool, name: &'static str| {
        service_fn(move |_: Request| async move {
            let body = Guarded { chunks: vec!["two", "one"], is_known, _guard: Guard(name) };
            Ok::<_, Infallible>(Response::new(body))
        })
    };
    for (is_known, read, name) in
        [(true, 0, "known, unread"), (true, 1, "known, begun"), (false, 0, "live, unread"), (false, 1, "live, begun")]
    {
        let app = apm.layer().layer(service(is_known, name));
        let mut body = app.oneshot(empty(request("/"))).await.unwrap().into_body();
        for _ in 0..read {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        expect_rolled_back(&apm, "GET unknown route", name).await;
        apm.clear();
    }
    let app = apm.layer().layer(service(false, "live, read"));
    app.oneshot(empty(request("/"))).await.unwrap().into_body().collect().await.unwrap();
    expect_rolled_back(&apm, "GET unknown route", "live, read").await.outcome("success").no_label("aborted");
}

#[tokio::test]
async fn guard_dropped_in_an_ignored_request_records_an_error_without_transaction() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_ignore_urls(["/*"])).start().await;
    let handler = async || {
        let _guard = Guard("handler");
        pending::<()>().await;
    };
    let streaming = async || {
        let chunks = stream::unfold(Guard("body"), async |guard| Some((Ok::<_, Infallible>(Bytes::new()), guard)));
        Body::from_stream(chunks)
    };
    let app = Router::new().route("/", get(handler)).route("/body", get(streaming)).layer(apm.layer());
    abort(app.clone(), empty(request("/"))).await;
    drop(app.oneshot(empty(request("/body"))).await.unwrap());
    for message in ["rolled back: handler", "rolled back: body"] {
        apm.expect_error(message).await.no_field("/transaction_id");
    }
    assert_eq!((apm.events(Kind::Transaction).len(), apm.events(Kind::Span).len()), (0, 0));
}

#[tokio::test]
async fn guard_dropped_in_aborted_background_work_records_into_the_transaction() {
    let apm = TestAgent::start().await;
    let work = apm.agent().start_transaction("settle", "scheduled").run(async {
        let _guard = Guard("work");
        pending::<()>().await;
    });
    assert!(work.now_or_never().is_none());
    expect_rolled_back(&apm, "settle", "work").await.outcome("unknown");
}

/// A future that holds a guard and an inner future, as the futures of middlewares do.
struct Held<F> {
    inner: Pin<Box<F>>,
    _guard: Guard,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.inner.as_mut().poll(cx)
    }
}

fn held<F: Future>(name: &'static str, inner: F) -> Held<F> {
    Held { inner: Box::pin(inner), _guard: Guard(name) }
}

#[tokio::test]
async fn guard_dropped_in_a_completed_future_records_into_the_transaction() {
    let apm = TestAgent::start().await;
    let answer = || held("complete", async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let app = apm.layer().layer(service_fn(move |_: Request| answer()));
    let mut future = Box::pin(app.oneshot(empty(request("/"))));
    assert!(future.as_mut().now_or_never().is_some());
    drop(future);
    expect_rolled_back(&apm, "GET unknown route", "complete").await.outcome("success").no_label("aborted");
    let work = apm.agent().start_transaction("settle", "scheduled").run(held("done", async { 7 }));
    assert_eq!(work.now_or_never(), Some(7));
    expect_rolled_back(&apm, "settle", "done").await;
}

#[tokio::test]
async fn guard_dropped_in_a_panicking_future_records_into_the_transaction() {
    let apm = TestAgent::start().await;
    let answer = || held("panicked", async { panic!("no answer") });
    let app = apm.layer().layer(service_fn(move |_: Request| {
        let answer: Held<_> = answer();
        answer.map(|()| Ok::<_, Infallible>(Response::new(Body::empty())))
    }));
    let mut future = Box::pin(app.oneshot(empty(request("/"))));
    catch_unwind(AssertUnwindSafe(|| future.as_mut().now_or_never())).unwrap_err();
    drop(future);
    let transaction = apm.expect_transaction("GET unknown route").await.outcome("failure");
    apm.expect_error("rolled back: panicked").await.field("/transaction_id", transaction.id());
}

#[tokio::test]
async fn panic_in_a_dropped_request_is_recorded_and_resumed() {
    let apm = TestAgent::start().await;
    let service = service_fn(async |request: Request| {
        let _guard = Guard("panics in the future");
        if request.uri() == "/pending" {
            pending::<()>().await;
        }
        let body = Guarded { chunks: vec!["one"], is_known: false, _guard: Guard("panics in the body") };
        std::mem::forget(_guard);
        Ok::<_, Infallible>(Response::new(body))
    });
    let app = apm.layer().layer(service);
    let mut future = Box::pin(app.clone().oneshot(empty(request("/pending"))));
    assert!(future.as_mut().now_or_never().is_none());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(future))).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "panics in the future");
    let transaction = expect_rolled_back(&apm, "GET unknown route", "panics in the future").await;
    transaction.outcome("failure").error("panics in the future", |error| error.handled(false));
    apm.clear();
    let body = app.oneshot(empty(request("/"))).await.unwrap().into_body();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(body))).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "panics in the body");
    expect_rolled_back(&apm, "GET unknown route", "panics in the body")
        .await
        .outcome("failure")
        .error("panics in the body", |error| error.handled(false));
    apm.clear();
    let work = apm.agent().start_transaction("settle", "scheduled").run(held("panics in work", pending::<()>()));
    let mut work = Box::pin(work);
    assert!(work.as_mut().now_or_never().is_none());
    catch_unwind(AssertUnwindSafe(|| drop(work))).unwrap_err();
    expect_rolled_back(&apm, "settle", "panics in work").await.error("panics in work", |error| error.handled(false));
}
