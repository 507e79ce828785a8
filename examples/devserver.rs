//! Runs the development server on its own:
//! `cargo run --example devserver -- [HOST:PORT] [--allow-remote] [--allow-host NAME]`.
//!
//! The server accepts intake v2, the protocol of Elastic's agents, and OTLP over HTTP and gRPC, all on one port:
//!
//! ```sh
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8200 your-service    # any SDK of OpenTelemetry
//! ```
//!
//! The address is the argument, or the variable `APM_DEVSERVER_ADDR`. The default is 127.0.0.1:8200, which is also the
//! default of Elastic's agents. To accept connections from other machines and containers, pass
//! `0.0.0.0:8200 --allow-remote` and set `APM_DEVSERVER_SECRET_TOKEN`: without a token, every client that reaches the
//! address can read all events.
//! `--help` lists the options and limits.

use std::{env, error::Error, process::exit};

use tower_apm::devserver::DevServer;

const HELP: &str = "\
A small APM Server for development.

devserver [HOST:PORT] [--allow-remote] [--allow-host NAME]...

  HOST:PORT          where to listen (default: APM_DEVSERVER_ADDR, else 127.0.0.1:8200)
  --allow-remote     allow an address that other machines can reach
  --allow-host NAME  answer requests for this host name, in addition to localhost, loopback addresses, names
                     without a dot, *.localhost and *.internal (with --allow-remote also every IP address)

  APM_DEVSERVER_SECRET_TOKEN  the token that every client must send, the web page included (default: none)

Limits: 10 000 events and 64 MiB of them, the oldest make room. 256 connections, idle ones make room. 10 s for the
head of a request (64 KiB), 30 s for its body plus a second for every 64 KiB. 128 MiB for all unfinished requests, 503
beyond. 64 MiB and 100 000 lines of intake per request, 300 KiB per line; 32 MiB per OTLP body, 4 MiB per gRPC message.
10 000 events and 8 MiB per answer of /api/events, `next` in the answer leads on. Web pages of other origins are
refused (403).";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = DevServer::builder();
    let mut address = None;
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            "--allow-remote" => builder = builder.allow_remote(true),
            "--allow-host" => match args.next() {
                Some(name) => builder = builder.allow_host(name),
                None => fail("--allow-host: give a host name"),
            },
            flag if flag.starts_with('-') => fail(&format!("{flag}: unknown option, see --help")),
            _ if address.is_some() => fail(&format!("{arg}: give one HOST:PORT, see --help")),
            _ => address = Some(arg),
        }
    }
    if let Some(token) = set("APM_DEVSERVER_SECRET_TOKEN") {
        builder = builder.secret_token(token);
    }
    let address = address.or_else(|| set("APM_DEVSERVER_ADDR")).unwrap_or_else(|| "127.0.0.1:8200".to_owned());
    let server = match builder.bind(&address) {
        Ok(server) => server,
        Err(error) => fail(&format!(
            "{error}\ngive another HOST:PORT as the argument or in APM_DEVSERVER_ADDR, or --allow-remote"
        )),
    };
    println!("agents and OTLP exporters (HTTP and gRPC) send to {0}\nweb page: {0}/ui\nctrl-c stops", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// A variable that is empty counts as not set.
fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(1)
}
