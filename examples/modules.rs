//! Adds the name and the data of each module to the transactions of its routes.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example modules
//! curl localhost:3000/market/listings/7 -H 'x-currency: ETH'
//! curl localhost:3000/wallet/balance
//! ```
//!
//! The web page shows `GET /market/listings/{id}` with the labels `module: market` and `currency: ETH`, and `GET /wallet/balance`
//! with the label `module: wallet`. The wallet responds with 404, and its hook sets the result `no wallet`.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, request, response},
    routing::get,
};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{Agent, Transaction};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("modules").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let app =
        Router::new().nest("/market", market::router()).nest("/wallet", wallet::router()).layer(tower_apm::layer()); // the outermost layer starts and ends the transaction

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

mod market {
    use super::*;

    pub(super) fn router() -> Router {
        Router::new()
            .route("/listings/{id}", get(listing))
            .layer(tower_apm::layer().module("market").on_request(record_currency))
    }

    fn record_currency(tx: &Transaction, request: &request::Parts) {
        if let Some(currency) = request.headers.get("x-currency").and_then(|value| value.to_str().ok()) {
            tx.set_label("currency", currency);
        }
    }

    async fn listing(Path(id): Path<u64>) -> String {
        format!("listing {id}\n")
    }
}

mod wallet {
    use super::*;

    pub(super) fn router() -> Router {
        Router::new()
            .route("/balance", get(async || StatusCode::NOT_FOUND))
            .layer(tower_apm::layer().module("wallet").on_response(record_missing))
    }

    fn record_missing(tx: &Transaction, response: &response::Parts) {
        if response.status == StatusCode::NOT_FOUND {
            tx.set_result("no wallet");
        }
    }
}
