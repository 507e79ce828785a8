//! Records metrics: a counter and a histogram of the service, through OpenTelemetry's API, next to the metrics of the agent.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal
//! ELASTIC_APM_METRICS_INTERVAL=5s cargo run --example metrics --features sdk
//! curl -X POST localhost:3000/orders
//! curl 'localhost:8200/api/events?type=metricset&limit=3'   # after 5 seconds
//! ```
//!
//! The development server lists metric sets with `shop.orders` and `shop.order.value`, with the memory and CPU time of the
//! process, and with the time spent by span type.

use std::{env, error::Error, time::Duration};

use axum::{Router, extract::State, routing::post};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{
    Agent,
    otel::opentelemetry::{
        KeyValue,
        metrics::{Counter, Histogram, MeterProvider},
    },
};

#[derive(Clone)]
struct Metrics {
    orders: Counter<u64>,
    value: Histogram<f64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("metrics").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let provider = agent.meter_provider();
    let meter = provider.meter("shop");
    let metrics = Metrics {
        orders: meter.u64_counter("shop.orders").build(),
        value: meter.f64_histogram("shop.order.value").build(),
    };
    let app = Router::new().route("/orders", post(order)).layer(tower_apm::layer()).with_state(metrics);

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    provider.shutdown()?; // hands the last metrics to the agent
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

async fn order(State(metrics): State<Metrics>) -> &'static str {
    let currency = [KeyValue::new("currency", "ETH")]; // becomes a label; use few different values
    metrics.orders.add(1, &currency);
    metrics.value.record(12.5, &currency);
    "ordered\n"
}
