//! `cargo bench --bench layer`: what a request costs on its own thread, in time and allocations.
//!
//! Nothing is sent: the server is away and the queue is full, so each event is made, offered, refused and freed here,
//! while the worker sleeps. What is measured is the request path alone; freeing, which the worker does otherwise, is
//! the price of that. What the process pays in all, and what other middlewares cost, is measured in `benches/peers`.

use std::{net::TcpListener, sync::Once};

use axum::{Router, body::Body, extract::Path, routing::get};
use divan::{AllocProfiler, Bencher};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use tower_apm::{Agent, AgentBuilder, EnvVars, Transaction};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench]
fn bare_router(bencher: Bencher<'_, '_>) {
    measure(bencher, &router());
}

#[divan::bench]
fn disabled(bencher: Bencher<'_, '_>) {
    with_agent(bencher, Agent::builder().enabled(false), router());
}

#[divan::bench]
fn unsampled(bencher: Bencher<'_, '_>) {
    with_agent(bencher, Agent::builder().transaction_sample_rate(0.0).capture_headers(false), router());
}

#[divan::bench]
fn sampled(bencher: Bencher<'_, '_>) {
    with_agent(bencher, Agent::builder().capture_headers(false), router());
}

#[divan::bench]
fn sampled_with_headers(bencher: Bencher<'_, '_>) {
    with_agent(bencher, Agent::builder(), router());
}

#[divan::bench]
fn sampled_with_three_spans_and_custom_context(bencher: Bencher<'_, '_>) {
    let app = Router::new().route("/orders/{id}", get(busy_order));
    with_agent(bencher, Agent::builder().capture_headers(false), app);
}

fn router() -> Router {
    Router::new().route("/orders/{id}", get(order))
}

async fn order(Path(id): Path<u64>) -> String {
    id.to_string()
}

async fn busy_order(Path(id): Path<u64>, transaction: Transaction) -> String {
    transaction.set_custom_context("order", json!({ "id": id, "state": "open", "price": 1_250 }));
    for _ in 0..3 {
        tracing::info_span!(
            "SELECT orders",
            "otel.kind" = "client",
            "db.system" = "postgresql",
            "db.name" = "market",
            "db.statement" = "SELECT id, token FROM orders WHERE id = $1",
        )
        .in_scope(|| divan::black_box(id));
    }
    id.to_string()
}

/// A printer that prints nothing, behind a filter of its own, as `install()` has one.
struct Quiet;
impl<S: tracing::Subscriber> Layer<S> for Quiet {}

fn with_agent(bencher: Bencher<'_, '_>, builder: AgentBuilder, app: Router) {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = builder.env_vars(EnvVars::empty()).service_name("bench").server_url(format!("http://{unused}"));
    // full after a handful of events
    let agent = agent.max_queue_size(1).api_request_size(1024).build().unwrap();
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let printer = Quiet.with_filter(LevelFilter::WARN);
        tracing_subscriber::registry().with(agent.tracing_layer()).with(printer).init();
    });
    measure(bencher, &app.layer(agent.layer()));
}

fn measure(bencher: Bencher<'_, '_>, app: &Router) {
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "market.example"),
        (header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        (header::ACCEPT, "application/json"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let request = || {
        let mut request = Request::get("/orders/17?unit=wei").body(Body::empty()).unwrap();
        request.headers_mut().clone_from(&headers);
        request
    };
    (0..2_000).for_each(|_| ask(&runtime, app, request()));
    bencher.with_inputs(request).bench_local_values(|request| ask(&runtime, app, request));
}

fn ask(runtime: &Runtime, app: &Router, request: Request<Body>) {
    runtime.block_on(async {
        let response = app.clone().oneshot(request).await.unwrap();
        divan::black_box(response.into_body().collect().await.unwrap().to_bytes());
    });
}
