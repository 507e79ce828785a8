//! The layer around services that are not axum's.

use std::{convert::Infallible, fmt, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_apm::{Transaction, testkit::TestAgent};

async fn hello(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    tracing::info_span!("work").in_scope(|| Transaction::current().set_label("found", true).is_active());
    Ok(Response::new(Full::new("hello".into())))
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("http://shop.example/orders/7?page=2").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn tower_service_with_http_types_is_recorded() {
    let apm = TestAgent::start().await;
    let service = ServiceBuilder::new().layer(apm.layer().module("orders")).service_fn(hello);
    let body = service.oneshot(request()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "hello");
    apm.expect_transaction("GET unknown route")
        .await
        .outcome("success")
        .status(200)
        .label("module", "orders")
        .label("found", true)
        .field("/context/request/url/full", "http://shop.example/orders/7?page=2")
        .no_field("/context/service/framework")
        .span("work", |span| span);
}

#[tokio::test]
async fn on_request_hook_sets_the_transaction_name() {
    let apm = TestAgent::start().await;
    let layer = apm.layer().on_request(|tx, parts| {
        if parts.uri.path().starts_with("/orders/") {
            tx.set_name("GET /orders/{id}");
        }
    });
    ServiceBuilder::new().layer(layer).service_fn(hello).oneshot(request()).await.unwrap();
    apm.expect_transaction("GET /orders/{id}").await;
}

#[tokio::test]
async fn service_needs_no_bounds_on_body_and_error() {
    // neither `Default` nor `Clone`, and an error that is no `std::error::Error`
    #[derive(Debug)]
    struct Refused;
    impl fmt::Display for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("refused")
        }
    }
    struct Opaque;
    let apm = TestAgent::start().await;
    let service = ServiceBuilder::new()
        .layer(apm.layer())
        .service_fn(async |_: Request<Opaque>| Err::<Response<Full<Bytes>>, _>(Refused));
    service.oneshot(Request::new(Opaque)).await.unwrap_err();
    apm.expect_transaction("GET unknown route").await.outcome("failure").error("refused", |error| error.handled(false));
}

#[tokio::test]
async fn on_error_hook_receives_the_service_error() {
    let apm = TestAgent::start().await;
    let layer = apm.layer().on_error(|tx, error| {
        if error.is::<io::Error>() {
            tx.set_label("reason", "disk");
        }
    });
    let service = ServiceBuilder::new()
        .layer(layer)
        .service_fn(async |_: Request<Empty<Bytes>>| Err::<Response<Full<Bytes>>, _>(io::Error::other("disk full")));
    service.oneshot(request()).await.unwrap_err();
    apm.expect_transaction("GET unknown route").await.label("reason", "disk");
}

#[tokio::test]
async fn wrapped_service_stays_clone_send_and_sync() {
    fn is_shareable<S: Clone + Send + Sync + 'static>(service: S) -> S {
        service
    }
    let apm = TestAgent::start().await;
    let mut service = is_shareable(apm.layer().layer(tower::service_fn(hello)));
    for _ in 0..3 {
        service.ready().await.unwrap().call(request()).await.unwrap();
    }
    apm.expect_transactions("GET unknown route", 3).await;
}
