//! Records users, labels and custom context: the data by which a support engineer finds a request, and the data to read in it.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example users
//! curl localhost:3000/orders/7 -H 'authorization: Bearer ada'
//! ```
//!
//! The web page shows the transaction `GET /orders/{id}` with the user `ada`, the labels `order_id` and `total`, and the custom
//! context `order`. In Kibana, `user.id : "ada"` and `labels.order_id : "7"` find the request. The `authorization` header is
//! redacted.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, Request},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{Agent, Transaction, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("users").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let app = Router::new()
        .route("/orders/{id}", get(order))
        .layer(middleware::from_fn(authenticate))
        .layer(tower_apm::layer()); // outside of the authentication, so that refused requests are recorded too

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// Reads the user from the token. A real service verifies the token.
async fn authenticate(request: Request, next: Next) -> Result<Response, StatusCode> {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let user = token.ok_or(StatusCode::UNAUTHORIZED)?;
    Transaction::current().set_user(User::id(user).email(format!("{user}@example.com")));
    Ok(next.run(request).await)
}

#[derive(serde::Serialize)]
struct Order {
    items: Vec<&'static str>,
    total: f64,
}

async fn order(tx: Transaction, Path(id): Path<u64>) -> String {
    let order = Order { items: vec!["ape", "frame"], total: 12.5 };
    // labels are indexed: use them for values to search for, of which there are few names
    tx.set_label("order_id", id.to_string()).set_label("total", order.total);
    // custom context is stored and shown, but not indexed: use it for values to read
    tx.set_custom_context("order", &order);
    format!("order {id}: {}\n", order.items.join(", "))
}
