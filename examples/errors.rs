//! Reports failures in several ways. The agent sends an error document for each.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example errors
//! curl -X POST localhost:3000/listings/7/purchase   # 502: the error of the response, with its cause
//! curl -X POST localhost:3000/listings/7/announce   # 200: an error that the handler captures
//! curl localhost:3000/reports/daily                 # 500: a log line of level ERROR
//! curl localhost:3000/listings/seven                # 500: a panic
//! ```
//!
//! The web page shows an error for each request. An error that the code captures has a stack. If you pass
//! `-H 'x-user-id: 0xabc'`, each error has the user too.

use std::{env, error::Error, io, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::ctrl_c,
};
use tower_apm::{Agent, CaptureLogErrors, ResponseExt, Transaction, User};
use tower_http::catch_panic::CatchPanicLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder()
        .service_name("errors")
        .capture_log_errors(CaptureLogErrors::FailedRequests) // the default; `All` includes requests that succeed
        .install()?;
    let app = Router::new()
        .route("/listings/{id}", get(listing))
        .route("/listings/{id}/purchase", post(purchase))
        .route("/listings/{id}/announce", post(announce))
        .route("/reports/daily", get(report))
        .layer(CatchPanicLayer::new()) // a panic becomes a response; the agent records it with or without this layer
        .layer(middleware::from_fn(authenticate))
        .layer(tower_apm::layer());

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("the sale could not be settled")]
    Settlement(#[source] io::Error),
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.to_string(), "trace_id": Transaction::current().trace_id() }));
        (StatusCode::BAD_GATEWAY, body).into_response().with_error(self) // covers all routes that return `AppError`
    }
}

async fn authenticate(request: Request, next: Next) -> Response {
    if let Some(id) = request.headers().get("x-user-id").and_then(|id| id.to_str().ok()) {
        Transaction::current().set_user(User::id(id));
    }
    next.run(request).await
}

async fn purchase(Path(_id): Path<u64>) -> Result<&'static str, AppError> {
    TcpStream::connect("127.0.0.1:1").await.map_err(AppError::Settlement)?; // nothing listens on port 1
    Ok("sold\n")
}

async fn announce(tx: Transaction, Path(_id): Path<u64>) -> &'static str {
    if let Err(error) = TcpStream::connect("127.0.0.1:1").await {
        tx.error(&error).handled(true).label("step", "announce").capture();
    }
    "announced later\n" // the request succeeds
}

async fn report() -> Result<String, StatusCode> {
    std::fs::read_to_string("/no/such/report").map_err(|error| {
        tracing::error!("the report could not be read: {error}"); // recorded because the request fails
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

async fn listing(Path(id): Path<String>) -> String {
    let id: u64 = id.parse().expect("the id is a number"); // a bug: this panics
    format!("listing {id}\n")
}
