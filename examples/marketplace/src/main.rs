//! `marketplace` serves the API; `marketplace demo` sends it traffic.

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use marketplace::{
    App,
    app::{StartError, app},
    config::Config,
    demo, telemetry,
};
use tokio::{net::TcpListener, signal};
use tower_apm::Transaction;

/// How long connections may take to end once the service was asked to stop.
const GRACE: Duration = Duration::from_secs(10);

const USAGE: &str = "\
marketplace               serves the API on MARKETPLACE_ADDR (127.0.0.1:3000)
marketplace demo [URL]    sends a running marketplace two minutes of traffic
    --seconds N           for about N seconds
    --quick               one round without pauses";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => serve().await,
        ["demo", rest @ ..] => run_demo(rest).await,
        ["help" | "--help" | "-h", ..] => {
            println!("{USAGE}");
            Ok(())
        }
        [other, ..] => Err(format!("{other:?} is unknown\n\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marketplace: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn config() -> Result<Config, Box<dyn Error>> {
    Ok(Config::from_variables(variable)?)
}

async fn run_demo(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let settings =
        demo::Settings::from_arguments(arguments, config()?.addr).map_err(|error| format!("{error}\n\n{USAGE}"))?;
    let report = demo::run(&settings).await?;
    println!("\n{}", telemetry::where_to_look(variable));
    match report.surprises {
        0 => Ok(()),
        surprises => Err(format!("{surprises} answers were not those that the demo expects").into()),
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let config = config()?;
    let telemetry = telemetry::install(variable)?;
    let state = Transaction::start("open the marketplace", "startup").run(start(&config)).await?;
    let listener = TcpListener::bind(config.addr)
        .await
        .map_err(|error| format!("{} is not free ({error}); set MARKETPLACE_ADDR to another address", config.addr))?;
    println!("marketplace: http://{}", listener.local_addr()?);
    println!("{}", telemetry.where_to_look());

    let stop = {
        let state = state.clone();
        async move {
            asked_to_stop().await;
            tracing::info!("stopping");
            state.stop();
        }
    };
    let stopping = state.stopped();
    let chat = state.chat.clone();
    let app = app(state).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(stop);
    // the server does not wait for upgraded connections
    let server = async {
        server.await?;
        chat.sockets_closed().await;
        std::io::Result::Ok(())
    };
    tokio::select! {
        served = server => served?,
        () = async { stopping.await; tokio::time::sleep(GRACE).await } => tracing::warn!("connections were cut"),
    }
    telemetry.shutdown().await;
    Ok(())
}

async fn start(config: &Config) -> Result<App, StartError> {
    App::start(config).await.inspect_err(|error| {
        Transaction::current().capture_error(error);
    })
}

async fn asked_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = signal::ctrl_c() => return,
            _ = terminate.recv() => return,
        }
    }
    let _ = signal::ctrl_c().await;
}
