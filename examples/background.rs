//! Records background work: a scheduled job, tasks with their own outcome, a task of the request, and a shutdown that waits.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example background
//! curl -X POST localhost:3000/listings/7/purchase
//! ```
//!
//! The web page shows
//!
//! - `settle auctions`, a transaction of the type `scheduled`, every 10 seconds,
//! - `POST /listings/{id}/purchase`, which has the span `refresh_cache` of a task that outlives the response,
//! - `notify seller` and `send receipt`, transactions of the type `background` with links to the purchase.
//!
//! Ctrl-C waits for the receipts, and then sends the last events.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use tokio::{
    net::TcpListener,
    signal::ctrl_c,
    time::{interval, sleep},
};
use tokio_util::task::TaskTracker;
use tower_apm::{Agent, ApmFutureExt, Transaction};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("background").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let scheduler = tokio::spawn(settle_auctions_regularly());
    let receipts = TaskTracker::new();
    let app = Router::new()
        .route("/listings/{id}/purchase", post(purchase))
        .layer(tower_apm::layer())
        .with_state(receipts.clone());

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    scheduler.abort();
    receipts.close();
    receipts.wait().await;
    agent.shutdown(Duration::from_secs(5)).await?; // last, because the receipts record events
    Ok(())
}

async fn purchase(tx: Transaction, State(receipts): State<TaskTracker>, Path(id): Path<u64>) -> &'static str {
    tokio::spawn(refresh_cache(id).in_current_transaction()); // work of this request
    tx.spawn("notify seller", notify_seller(id)); // a transaction with its own outcome
    receipts.spawn(tx.start_background("send receipt").run(send_receipt(id))); // the same, and the shutdown waits for it
    "sold\n"
}

#[tracing::instrument]
async fn refresh_cache(id: u64) {
    sleep(Duration::from_millis(20)).await;
}

async fn notify_seller(id: u64) {
    Transaction::current().set_label("listing_id", id);
}

async fn send_receipt(id: u64) {
    Transaction::current().set_label("listing_id", id);
    sleep(Duration::from_millis(50)).await;
}

async fn settle_auctions_regularly() {
    let mut ticks = interval(Duration::from_secs(10));
    loop {
        ticks.tick().await;
        // in the loop, so that each run is a transaction
        Transaction::start("settle auctions", "scheduled").run(settle_auctions()).await;
    }
}

async fn settle_auctions() {
    if let Err(error) = tokio::fs::read_to_string("/no/such/auctions").await {
        Transaction::current().capture_error(&error); // the outcome is `failure`
    }
}
