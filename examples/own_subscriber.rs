//! Uses the agent in a service that sets up `tracing` itself, with its own log format and filter, and with Sentry.
//!
//! ```sh
//! cargo run --example devserver        # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example own_subscriber
//! curl localhost:3000/listings/7
//! ```
//!
//! The web page shows the transaction `GET /listings/{id}` with the span `load_listing`. The log lines contain the trace
//! id of the request. `RUST_LOG=warn` hides the log lines, but not the span: the filter belongs to the layer that prints.
//! With `SENTRY_DSN` and a transport feature of the crate `sentry`, the same spans go to Sentry too.

use std::{env, error::Error, time::Duration};

use axum::{Router, extract::Path, routing::get};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{Agent, AgentGuard, WithTraceIds};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _sentry = sentry::init(sentry::ClientOptions::new().traces_sample_rate(1.0)); // does nothing without SENTRY_DSN
    let agent = telemetry()?;
    let app = Router::new().route("/listings/{id}", get(listing)).layer(tower_apm::layer());

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// Installs the agent, and sets a subscriber with three layers.
fn telemetry() -> Result<AgentGuard, tower_apm::BuildError> {
    let agent = Agent::builder()
        .service_name("own-subscriber")
        .service_version(env!("CARGO_PKG_VERSION"))
        .install_without_subscriber()?;

    // a filter on the whole subscriber would hide spans from the agent and from Sentry
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let printer = fmt::layer().with_ansi(false).map_event_format(WithTraceIds::text).with_filter(filter);

    registry()
        .with(printer)
        .with(sentry::integrations::tracing::layer())
        .with(agent.tracing_layer()) // last: see the guide `subscriber`
        .init();
    Ok(agent)
}

async fn listing(Path(id): Path<u64>) -> String {
    load_listing(id).await
}

#[tracing::instrument]
async fn load_listing(id: u64) -> String {
    tracing::info!("loading the listing");
    format!("listing {id}: a picture of an ape\n")
}
