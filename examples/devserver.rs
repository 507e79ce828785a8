//! A development server on its own: `cargo run --example devserver --features devserver [HOST:PORT]`.
//!
//! It takes intake v2, which Elastic's agents speak, and OTLP over HTTP and gRPC, all on one port:
//!
//! ```sh
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8200 your-service    # any SDK of OpenTelemetry
//! ```
//!
//! The address comes from the argument, else from `APM_DEVSERVER_ADDR`, else it is 127.0.0.1:8200, where every Elastic
//! agent looks by default.

use std::{env, error::Error};

use tower_apm::devserver::DevServer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args()
        .nth(1)
        .or_else(|| env::var("APM_DEVSERVER_ADDR").ok())
        .unwrap_or_else(|| "127.0.0.1:8200".to_owned());
    let server = match DevServer::bind(&address) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}\ngive another HOST:PORT as the argument or in APM_DEVSERVER_ADDR");
            std::process::exit(1);
        }
    };
    println!("agents and senders of OTLP (HTTP and gRPC) send to {0}\nlook at {0}/ui\nctrl-c stops", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
