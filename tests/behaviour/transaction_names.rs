//! Names of transactions: by route for every position of the layer, by path, and by name groups.

use axum::{
    Router,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::{any_service, get, post},
};
use tower::service_fn;
use tower_apm::{AgentBuilder, ResponseExt, testkit::TestAgent};
use tower_http::cors::CorsLayer;

use crate::http::{around, call, empty, get as request, send};

async fn ok() -> &'static str {
    "ok"
}

async fn named(app: Router, apm: &TestAgent, path: &str, name: &str) {
    call(app.layer(apm.layer()), path).await;
    apm.expect_transaction(name).await.status(200).field("/context/request/url/pathname", path);
}

#[tokio::test]
async fn nested_routers_give_the_whole_route() {
    let apm = TestAgent::start().await;
    let inner = Router::new().route("/c/{z}", get(ok));
    let app = Router::new().nest("/a/{x}", Router::new().nest("/b/{y}", inner));
    named(app, &apm, "/a/1/b/2/c/3", "GET /a/{x}/b/{y}/c/{z}").await;
}

#[tokio::test]
async fn merged_routers_keep_their_routes() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/one/{id}", get(ok)).merge(Router::new().route("/two/{id}", get(ok)));
    named(app, &apm, "/two/7", "GET /two/{id}").await;
}

#[tokio::test]
async fn route_service_has_its_route() {
    let apm = TestAgent::start().await;
    let service = service_fn(async |_: axum::extract::Request| {
        Ok::<_, std::convert::Infallible>(axum::response::Response::new(axum::body::Body::from("ok")))
    });
    named(Router::new().route_service("/files/{name}", any_service(service)), &apm, "/files/a", "GET /files/{name}")
        .await;
}

#[tokio::test]
async fn method_not_allowed_has_the_route() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/listings/{id}", post(ok)).layer(apm.layer());
    call(app, "/listings/7").await;
    apm.expect_transaction("GET /listings/{id}").await.status(405).result("HTTP 4xx").outcome("success");
}

#[tokio::test]
async fn layer_works_on_a_route_and_a_method_router() {
    for app in [
        |apm: &TestAgent| Router::new().route("/listings/{id}", get(ok)).route_layer(apm.layer()),
        |apm: &TestAgent| Router::new().route("/listings/{id}", get(ok).layer(apm.layer())),
    ] {
        let apm = TestAgent::start().await;
        call(app(&apm), "/listings/7").await;
        apm.expect_transaction("GET /listings/{id}").await.status(200);
    }
}

#[tokio::test]
async fn inner_layer_knows_the_route_under_nest_service() {
    let apm = TestAgent::start().await;
    let inner = Router::new().route("/in/{id}", get(ok)).layer(tower_apm::layer().module("inner"));
    let app = Router::new().nest_service("/nested", inner).layer(apm.layer());
    call(app, "/nested/in/7").await;
    apm.expect_transactions("GET /nested/in/{id}", 1).await;
}

#[tokio::test]
async fn route_is_unknown_under_nest_service_without_an_inner_layer() {
    let apm = TestAgent::start().await;
    let inner = Router::new().route("/in/{id}", get(ok));
    let app = Router::new().nest_service("/nested", inner).layer(apm.layer());
    call(app, "/nested/in/7").await;
    apm.expect_transaction("GET unknown route").await.field("/context/request/url/pathname", "/nested/in/7");
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn unmatched_requests_are_named_unknown_route() {
    let apm = TestAgent::start().await;
    let nested = Router::new().route("/known", get(ok)).fallback(async || (StatusCode::NOT_FOUND, "no"));
    let app = Router::new().nest("/nested", nested).layer(apm.layer());
    for path in ["/nowhere/1", "/nested/2"] {
        call(app.clone(), path).await;
    }
    for transaction in apm.expect_transactions("GET unknown route", 2).await {
        transaction.status(404).outcome("success");
    }
}

#[tokio::test]
async fn layer_around_the_router_gets_the_route_from_an_inner_layer() {
    let apm = TestAgent::start().await;
    let module = || Router::new().route("/listings/{id}", get(ok));
    let with = Router::new().nest("/market", module().layer(tower_apm::layer().module("market")));
    send(around(apm.layer(), with), empty(request("/market/listings/7"))).await;
    apm.expect_transactions("GET /market/listings/{id}", 1).await.remove(0).label("module", "market");

    let without = Router::new().nest("/market", module());
    send(around(apm.layer(), without), empty(request("/market/listings/8"))).await;
    apm.expect_transaction("GET unknown route").await;
}

#[tokio::test]
async fn url_contains_the_prefix_that_nest_strips() {
    let apm = TestAgent::start().await;
    let module = Router::new().route("/listings/{id}", get(ok)).layer(apm.layer());
    call(Router::new().nest("/market", module), "/market/listings/7?sort=price").await;
    apm.expect_transaction("GET /market/listings/{id}")
        .await
        .field("/context/request/url/full", "http://shop.example:3000/market/listings/7?sort=price")
        .field("/context/request/url/hostname", "shop.example")
        .field("/context/request/url/search", "?sort=price");
}

#[tokio::test]
async fn head_and_options_requests_are_named_by_route() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/listings/{id}", get(ok)).layer(apm.layer());
    for (method, status) in [(Method::HEAD, 200), (Method::OPTIONS, 405)] {
        let request = empty(request("/listings/7").method(method.clone()));
        assert_eq!(send(app.clone(), request).await.status(), status);
        apm.expect_transaction(&format!("{method} /listings/{{id}}")).await.status(status).no_label("aborted");
    }
}

#[tokio::test]
async fn preflight_is_recorded_if_the_cors_layer_is_inside() {
    let preflight = || {
        let request = request("/listings/7").method(Method::OPTIONS).header(header::ORIGIN, "https://web.example");
        empty(request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET"))
    };
    let apm = TestAgent::start().await;
    let routes = || Router::new().route("/listings/{id}", get(ok));
    let inside = routes().layer(CorsLayer::permissive()).layer(apm.layer());
    assert_eq!(send(inside, preflight()).await.status(), 200);
    apm.expect_transaction("OPTIONS /listings/{id}").await.status(200).outcome("success");
    apm.clear();

    let outside = routes().layer(apm.layer()).layer(CorsLayer::permissive());
    assert_eq!(send(outside, preflight()).await.status(), 200);
    apm.expect_nothing().await;
}

#[tokio::test]
async fn unregistered_method_is_not_part_of_the_name() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/listings/{id}", axum::routing::any(ok)).layer(apm.layer());
    send(app, empty(request("/listings/7").method("X-7F3A"))).await;
    apm.flush().await;
    let transactions = apm.events(tower_apm::testkit::Kind::Transaction);
    let name = transactions[0]["name"].as_str().unwrap();
    assert!(name.ends_with(" /listings/{id}") && !name.contains("7F3A"), "{name}");
}

pub(crate) async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

pub(crate) fn app(apm: &TestAgent) -> Router {
    let failing = || async {
        StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(std::io::Error::other("no such room"))
    };
    let app = Router::new().route("/listings/{id}", get(async || "ok")).route("/fails", get(failing));
    Router::new().merge(app).fallback(async || StatusCode::NOT_FOUND).layer(apm.layer())
}

// spec: tracing-instrumentation-http.md
#[tokio::test]
async fn use_path_as_transaction_name_names_unmatched_requests() {
    let apm = apm(|agent| agent.use_path_as_transaction_name(true)).await;
    call(app(&apm), "/nowhere/7?token=hunter2").await;
    call(app(&apm), "/listings/7").await;
    apm.expect_transaction("GET /nowhere/7").await;
    apm.expect_transaction("GET /listings/{id}").await;
}

// spec: tracing-transaction-grouping.md
#[tokio::test]
async fn name_group_replaces_the_name_of_transactions_and_errors() {
    let apm = apm(|agent| agent.transaction_name_groups(["GET /listings/*", "* /fail*", "settle*"])).await;
    call(app(&apm), "/listings/7").await;
    call(app(&apm), "/fails").await;
    drop(apm.agent().start_transaction("settle auction 7", "scheduled"));
    apm.expect_transaction("GET /listings/*").await;
    apm.expect_transaction("* /fail*").await;
    apm.expect_transaction("settle*").await;
    apm.expect_error("no such room").await.field("/transaction/name", "* /fail*");
}

// spec: tracing-transaction-grouping.md
#[tokio::test]
async fn name_groups_apply_to_paths() {
    let apm = apm(|agent| agent.use_path_as_transaction_name(true).transaction_name_groups(["GET /nowhere/*"])).await;
    call(app(&apm), "/nowhere/7").await;
    apm.expect_transaction("GET /nowhere/*").await;
}
