//! A development server on its own:
//! `cargo run --example devserver --features devserver -- [HOST:PORT] [--allow-remote]`.
//!
//! It takes intake v2, which Elastic's agents speak, and OTLP over HTTP and gRPC, all on one port:
//!
//! ```sh
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8200 your-service    # any SDK of OpenTelemetry
//! ```
//!
//! The address comes from the argument, else from `APM_DEVSERVER_ADDR`, else it is 127.0.0.1:8200, where every Elastic
//! agent looks by default. Another machine, or a container, reaches it at `0.0.0.0:8200 --allow-remote`; whoever does so
//! reads all that was sent.

use std::{env, error::Error};

use tower_apm::devserver::DevServer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (flags, addresses): (Vec<String>, Vec<String>) = env::args().skip(1).partition(|arg| arg.starts_with('-'));
    if let Some(flag) = flags.iter().find(|flag| *flag != "--allow-remote") {
        eprintln!("{flag}: there is one flag, --allow-remote");
        std::process::exit(1);
    }
    let address = addresses
        .into_iter()
        .next()
        .or_else(|| env::var("APM_DEVSERVER_ADDR").ok())
        .unwrap_or_else(|| "127.0.0.1:8200".to_owned());
    let server = match DevServer::builder().allow_remote(!flags.is_empty()).bind(&address) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}\ngive another HOST:PORT as the argument or in APM_DEVSERVER_ADDR, or --allow-remote");
            std::process::exit(1);
        }
    };
    println!("agents and senders of OTLP (HTTP and gRPC) send to {0}\nlook at {0}/ui\nctrl-c stops", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
