//! A minimal service that records a transaction for each request.
//!
//! Start the development server, and in a second terminal this service:
//!
//! ```sh
//! cargo run --example devserver   # http://localhost:8200/ui shows what arrives
//! cargo run --example hello       # listens on ADDRESS, by default 127.0.0.1:3000
//! ```
//!
//! Then send a request. The web page shows the transaction `GET /hello/{name}` with the label `greeted`.
//!
//! ```sh
//! curl localhost:3000/hello/you
//! ```
//!
//! Events go to `ELASTIC_APM_SERVER_URL`. The default is the address of the development server.

use std::{env, error::Error, time::Duration};

use axum::{Router, extract::Path, routing::get};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{Agent, Transaction};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("hello").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let app = Router::new().route("/hello/{name}", get(hello)).layer(tower_apm::layer());

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?; // sends the last events
    Ok(())
}

async fn hello(tx: Transaction, Path(name): Path<String>) -> String {
    tx.set_label("greeted", &name); // indexed, so you can search for it in Kibana
    format!("hello, {name}\n")
}
