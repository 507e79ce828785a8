//! Tests the events that a service sends.
//!
//! ```sh
//! cargo test --example testing --features testkit   # runs the tests at the end of this file
//! cargo run --example testing --features testkit    # runs the service
//! ```
//!
//! The tests need no server. Each test has its own agent and its own development server on a free port, so tests can run in
//! parallel.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{Agent, ResponseExt, Transaction, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("testing").service_version(env!("CARGO_PKG_VERSION")).install()?;
    let app = app().layer(tower_apm::layer());
    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// Returns the service without the agent's outermost layer, so that a test can add the layer of its own agent.
fn app() -> Router {
    Router::new().route("/listings/{id}/purchase", post(purchase))
}

#[derive(Debug, thiserror::Error)]
#[error("listing {0} is sold")]
struct Sold(u64);

impl IntoResponse for Sold {
    fn into_response(self) -> Response {
        StatusCode::SERVICE_UNAVAILABLE.into_response().with_error(self)
    }
}

async fn purchase(tx: Transaction, Path(id): Path<u64>) -> Result<&'static str, Sold> {
    tx.set_user(User::id("0xdef")).set_label("listing_id", id.to_string());
    charge().await;
    if id == 0 { Err(Sold(id)) } else { Ok("sold\n") }
}

#[tracing::instrument]
async fn charge() {}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;
    use tower_apm::testkit::TestAgent;

    use super::*;

    async fn send(apm: &TestAgent, path: &str) -> StatusCode {
        let request = Request::post(path).header("authorization", "Bearer hunter2").body(Body::empty()).unwrap();
        app().layer(apm.layer()).oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn purchase_records_user_and_label() {
        let apm = TestAgent::start().await;
        assert_eq!(send(&apm, "/listings/7/purchase").await, StatusCode::OK);
        apm.expect_transaction("POST /listings/{id}/purchase")
            .span("charge", |span| span) // before `await`, which waits for the span too
            .await
            .outcome("success")
            .user_id("0xdef")
            .label("listing_id", "7");
        apm.expect_no_errors().await;
        apm.assert_no_secret("hunter2"); // in no event
    }

    #[tokio::test]
    async fn sold_listing_is_recorded_as_error() {
        let apm = TestAgent::start().await;
        assert_eq!(send(&apm, "/listings/0/purchase").await, StatusCode::SERVICE_UNAVAILABLE);
        apm.expect_transaction("POST /listings/{id}/purchase")
            .error("Sold", |error| error.message("listing 0 is sold").handled(false))
            .await
            .outcome("failure");
    }
}
