//! Records streams: a streamed body, an event stream, and a WebSocket.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example streams
//! curl localhost:3000/report           # a body that takes half a second
//! curl -N localhost:3000/prices        # three events
//! websocat ws://localhost:3000/chat    # or another WebSocket client; each line is answered
//! ```
//!
//! The web page shows
//!
//! - `GET /report`, a transaction that ends with the last byte of the body,
//! - `GET /prices`, a transaction that ends with the response head; the spans `next_price` belong to it,
//! - `GET /chat`, which ends with the upgrade, and a transaction `chat message` for each message, linked to it.

use std::{convert::Infallible, env, error::Error, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ws::{WebSocket, WebSocketUpgrade},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::get,
};
use futures_util::{Stream, stream};
use tokio::{net::TcpListener, signal::ctrl_c, time::sleep};
use tower_apm::{Agent, Transaction};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("streams").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let app = Router::new()
        .route("/report", get(report))
        .route("/prices", get(prices))
        .route("/chat", get(chat))
        .layer(tower_apm::layer());

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

async fn report() -> impl IntoResponse {
    Body::from_stream(stream::unfold(1, async |line| {
        sleep(Duration::from_millis(100)).await;
        (line <= 5).then(|| (Ok::<_, Infallible>(format!("line {line}\n")), line + 1))
    }))
}

async fn prices() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(0, async |sent| {
        if sent == 3 {
            return None;
        }
        Some((Ok(Event::default().data(next_price().await.to_string())), sent + 1))
    }))
}

#[tracing::instrument]
async fn next_price() -> f64 {
    sleep(Duration::from_millis(100)).await;
    12.5
}

async fn chat(tx: Transaction, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| serve(tx, socket)) // a new task, which does not inherit the transaction
}

async fn serve(tx: Transaction, mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        // `answer(..).in_transaction(tx)` would record spans of `GET /chat` instead
        let answer = tx.start_background("chat message").run(socket.send(message)).await;
        if answer.is_err() {
            return;
        }
    }
}
