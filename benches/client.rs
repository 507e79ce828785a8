//! `cargo bench --bench client`: the cost of the client layer in time and allocations, compared with a manual span.
//!
//! The client responds at once. Nothing is sent, because the queue is full: each span is created, offered, refused and
//! freed.

use std::{convert::Infallible, future::ready, hint::black_box, net::TcpListener, sync::Once};

use divan::{AllocProfiler, Bencher};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};
use tower_apm::{Agent, ClientService, EnvVars, client_layer, trace_context};
use tracing::{Instrument, field::Empty, info_span};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

type Body = Full<bytes::Bytes>;

fn main() {
    divan::main();
}

const URL: &str = "http://rates.example:8080/v1/rates?base=eth";

async fn respond(request: Request<()>) -> Result<Response<Body>, Infallible> {
    black_box(request);
    ready(Ok(Response::new(Body::from("[]")))).await
}

async fn read(response: Result<Response<impl http_body::Body<Error = Infallible>>, Infallible>) {
    let Ok(response) = response;
    black_box(response.into_body().collect().await.is_ok());
}

fn request() -> Request<()> {
    Request::get(URL).body(()).unwrap()
}

#[divan::bench]
fn without_span(bencher: Bencher<'_, '_>) {
    measure(bencher, Sampling::All, |request| async { read(respond(request).await).await });
}

#[divan::bench]
fn span_by_hand_and_injection(bencher: Bencher<'_, '_>) {
    measure(bencher, Sampling::All, |mut request| {
        let uri = request.uri();
        let span = info_span!(
            "GET",
            otel.kind = "client",
            http.request.method = request.method().as_str(),
            url.full = %uri,
            server.address = uri.host(),
            server.port = uri.port_u16(),
            http.response.status_code = Empty,
        );
        async move {
            trace_context::inject(request.headers_mut());
            let response = respond(request).await;
            let status = response.as_ref().map_or(0, |response| response.status().as_u16());
            tracing::Span::current().record("http.response.status_code", status);
            read(response).await;
        }
        .instrument(span)
    });
}

#[divan::bench]
fn client_layer_in_transaction(bencher: Bencher<'_, '_>) {
    measure(bencher, Sampling::All, layered());
}

#[divan::bench]
fn client_layer_unsampled(bencher: Bencher<'_, '_>) {
    measure(bencher, Sampling::None, layered());
}

#[divan::bench]
fn client_layer_outside_of_transaction(bencher: Bencher<'_, '_>) {
    let call = layered();
    bencher.with_inputs(request).bench_local_values(|request| call(request).now_or_never().unwrap());
}

fn layered() -> impl Fn(Request<()>) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    let client: ClientService<_> = client_layer().layer(service_fn(respond));
    move |request| {
        let response = client.clone().call(request);
        Box::pin(async { read(response.await).await })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Sampling {
    All,
    None,
}

/// Measures many calls in one transaction, so that the cost of the transaction is negligible.
fn measure<F: Future<Output = ()>>(bencher: Bencher<'_, '_>, sampling: Sampling, call: impl Fn(Request<()>) -> F) {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .service_name("bench")
        .server_url(format!("http://{unused}"))
        .transaction_sample_rate(if sampling == Sampling::All { 1.0 } else { 0.0 })
        .transaction_max_spans(-1)
        .max_queue_size(1)
        .api_request_size(1024)
        .build()
        .unwrap();
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(agent.tracing_layer()).init());
    let transaction = agent.start_transaction("work", "scheduled");
    transaction.in_scope(|| {
        bencher.with_inputs(request).bench_local_values(|request| call(request).now_or_never().unwrap());
    });
}
