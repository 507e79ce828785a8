//! The least that a service needs: `cargo run --example hello`, then `curl localhost:3000/hello/you`.
//!
//! Events go to `ELASTIC_APM_SERVER_URL`, by default to 127.0.0.1:8200, where
//! `cargo run --example devserver --features devserver` shows them.

use std::{error::Error, time::Duration};

use axum::{Router, extract::Path, routing::get};
use tower_apm::{Agent, Transaction};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("hello").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let app = Router::new().route("/hello/{name}", get(hello)).layer(tower_apm::layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

async fn hello(tx: Transaction, Path(name): Path<String>) -> String {
    tx.set_label("greeted", &name); // indexed: found in Kibana
    format!("hello, {name}\n")
}
