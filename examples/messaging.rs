//! Records messages: a producer whose sent messages are exit spans, and a consumer whose received messages are transactions.
//!
//! A channel of this process is the broker, so that the program needs no server. For Kafka, use the feature `rdkafka`.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example messaging
//! curl -X POST localhost:3000/listings/7/purchase
//! curl -X POST localhost:3000/listings/0/purchase   # a message that the consumer cannot process
//! ```
//!
//! The web page shows one trace for each request: the transaction `POST /listings/{id}/purchase`, its span `Kafka SEND to
//! sales`, and the transaction `Kafka RECEIVE from sales` of the consumer. For the second request, the consumer's
//! transaction has the outcome `failure` and an error.

use std::{collections::HashMap, env, error::Error, io, time::Duration, time::SystemTime};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use tokio::{
    net::TcpListener,
    signal::ctrl_c,
    sync::mpsc::{self, error::SendError},
};
use tower_apm::{Agent, Transaction, messaging};

struct Message {
    headers: HashMap<String, Vec<u8>>,
    sent_at: SystemTime,
    payload: Vec<u8>,
}

type Producer = mpsc::Sender<Message>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("messaging").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let (producer, messages) = mpsc::channel(100);
    let consumer = tokio::spawn(consume(messages));
    let app =
        Router::new().route("/listings/{id}/purchase", post(purchase)).layer(tower_apm::layer()).with_state(producer); // dropped with the app, which ends the consumer

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    consumer.await?;
    agent.shutdown(Duration::from_secs(5)).await?; // last, because the consumer records events
    Ok(())
}

async fn purchase(State(producer): State<Producer>, Path(id): Path<u64>) -> Result<&'static str, StatusCode> {
    let mut headers = HashMap::new();
    let span = messaging::send("kafka", "sales").inject_message(&mut headers); // writes the trace into the headers
    let message = Message { headers, sent_at: SystemTime::now(), payload: id.to_string().into_bytes() };
    let sent: Result<(), SendError<Message>> = span.run(producer.send(message)).await;
    sent.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("sold\n")
}

async fn consume(mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        let received = messaging::receive("kafka", "sales")
            .headers(&message.headers) // continues the trace of the sender
            .timestamp(message.sent_at) // the age of the message
            .body(&message.payload); // recorded if `capture_body` is on
        // an error that `settle` returns is recorded, and the outcome is `failure`
        if let Err(error) = received.run(settle(&message.payload)).await {
            tracing::warn!("a message could not be processed: {error}");
        }
    }
}

async fn settle(payload: &[u8]) -> Result<(), io::Error> {
    let listing = String::from_utf8_lossy(payload).into_owned();
    Transaction::current().set_label("listing_id", listing.clone());
    if listing == "0" { Err(io::Error::other("there is no listing 0")) } else { Ok(()) }
}
