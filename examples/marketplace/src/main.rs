//! `marketplace` serves the API; `marketplace demo` sends it traffic.

use std::{error::Error, process::ExitCode, time::Duration};

use marketplace::{App, app, config::Config, demo, telemetry};
use tokio::{net::TcpListener, signal};

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

fn config() -> Result<Config, Box<dyn Error>> {
    Ok(Config::from_variables(|name| std::env::var(name).ok())?)
}

async fn run_demo(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let settings =
        demo::Settings::from_arguments(arguments, config()?.addr).map_err(|error| format!("{error}\n\n{USAGE}"))?;
    match demo::run(&settings).await?.surprises {
        0 => Ok(()),
        surprises => Err(format!("{surprises} answers were not those that the demo expects").into()),
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    telemetry::install();
    let config = config()?;
    let state = App::start(&config).await?;
    let listener =
        TcpListener::bind(config.addr).await.map_err(|error| format!("{} is not free: {error}", config.addr))?;
    println!("marketplace: http://{}", listener.local_addr()?);

    let stop = {
        let state = state.clone();
        async move {
            asked_to_stop().await;
            tracing::info!("stopping");
            state.stop();
        }
    };
    let stopping = state.stopped();
    let server = axum::serve(listener, app(state)).with_graceful_shutdown(stop);
    tokio::select! {
        served = server => served?,
        () = async { stopping.await; tokio::time::sleep(GRACE).await } => tracing::warn!("connections were cut"),
    }
    Ok(())
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
