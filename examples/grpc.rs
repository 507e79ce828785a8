//! Records gRPC calls with tonic: a server whose calls are transactions, and a client whose calls are spans.
//!
//! ```sh
//! cargo run --example devserver   # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example grpc
//! curl localhost:3000/status/orders    # Serving
//! curl localhost:3000/status/unknown   # an error of the gRPC call
//! ```
//!
//! The web page shows one trace for each request: the transaction `GET /status/{service}`, its span
//! `/grpc.health.v1.Health/Check`, and the transaction of the gRPC server with the same name.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, signal::ctrl_c};
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tower::ServiceBuilder;
use tower_apm::{Agent, ClientService, ResponseExt};

type Client = HealthClient<ClientService<Channel>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder().service_name("grpc").service_version(env!("CARGO_PKG_VERSION")).install()?;

    // the server: the layer goes around all services
    let (health, service) = tonic_health::server::health_reporter();
    health.set_service_status("orders", ServingStatus::Serving).await;
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let grpc = incoming.local_addr()?;
    tokio::spawn(Server::builder().layer(tower_apm::layer()).add_service(service).serve_with_incoming(incoming));

    // the client: the layer goes around the channel, which does not pass its address to the layer
    let channel = ServiceBuilder::new()
        .layer(tower_apm::client_layer().server_address(&grpc.ip().to_string(), grpc.port()))
        .service(Endpoint::from_shared(format!("http://{grpc}"))?.connect_lazy());
    let app = Router::new()
        .route("/status/{service}", get(status))
        .layer(tower_apm::layer())
        .with_state(Client::new(channel));

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

async fn status(State(mut client): State<Client>, Path(service): Path<String>) -> Result<String, GrpcError> {
    let reply = client.check(HealthCheckRequest { service }).await?;
    Ok(format!("{:?}\n", reply.into_inner().status()))
}

#[derive(Debug, thiserror::Error)]
#[error("the gRPC call failed")]
struct GrpcError(#[from] tonic::Status);

impl IntoResponse for GrpcError {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, format!("{}\n", self.0.message())).into_response().with_error(self)
    }
}
