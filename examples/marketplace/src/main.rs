//! The commands of the program: `marketplace help` lists them.

use std::{error::Error, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use marketplace::{
    App,
    app::{StartError, app},
    chain::EmbeddedChain,
    config::Config,
    demo, health,
    telemetry::{self, Telemetry},
};
#[cfg(feature = "kafka")]
use marketplace::{
    config::KafkaConfig,
    data_source::{DataSourceName, DataSources},
    health::Health,
    wallet::{consumer::HistoryConsumer, history::History},
};
#[cfg(feature = "kafka")]
use tokio::sync::{oneshot, watch};
use tokio::{net::TcpListener, signal, sync::Notify};
use tower_apm::Transaction;

/// How long connections can take to end after the service was asked to stop.
const GRACE: Duration = Duration::from_secs(10);

const USAGE: &str = "\
marketplace               serves the API on MARKETPLACE_ADDR (127.0.0.1:3000)
marketplace history       writes the history of the wallets from Kafka (KAFKA_BROKERS)
marketplace demo [URL]    sends two minutes of traffic to a marketplace; deletes the balances in Redis if REDIS_URL is
                          set, and sends unreadable records if KAFKA_BROKERS is set
    --seconds N           for about N seconds
    --quick               one round without pauses
marketplace health        succeeds if the process that listens on MARKETPLACE_ADDR can work
marketplace chain         serves the embedded chain on CHAIN_ADDR or MARKETPLACE_ADDR, for CHAIN_RPC_URL of several APIs";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => run_api().await,
        ["history"] => run_history().await,
        ["demo", rest @ ..] => run_demo(rest).await,
        ["health"] => check_health().await,
        ["chain"] => serve_chain().await,
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
    let config = config()?;
    let settings = demo::Settings::from_arguments(arguments, config.addr)
        .map_err(|error| format!("{error}\n\n{USAGE}"))?
        .with_parts_of(&config);
    let report = demo::run(&settings).await?;
    println!("\n{}", telemetry::where_to_look(variable));
    match report.surprises {
        0 => Ok(()),
        surprises => Err(format!("{surprises} results were not those that the demo expects").into()),
    }
}

/// `marketplace`: serves the API.
async fn run_api() -> Result<(), Box<dyn Error>> {
    let config = config()?;
    let telemetry = telemetry::install("marketplace", variable)?;
    let state = Transaction::start("open the marketplace", "startup").run(start(&config)).await?;
    let router = app(state.clone());
    let chat = state.chat.clone();
    let sockets_closed = async move { chat.sockets_closed().await };
    let stopped = async move {
        asked_to_stop().await;
        // ends event streams
        state.stop();
    };
    serve(&config, telemetry, router, stopped, sockets_closed).await
}

/// `marketplace history`: writes the history of the wallets from Kafka.
#[cfg(feature = "kafka")]
async fn run_history() -> Result<(), Box<dyn Error>> {
    let config = config()?;
    let kafka =
        config.kafka.clone().ok_or("KAFKA_BROKERS is not set: without Kafka, the API writes the history itself")?;
    let telemetry = telemetry::install("wallet-history", variable)?;
    let connect = async {
        let connected = connect_history(&config, &kafka).await;
        connected.inspect_err(|error| {
            Transaction::current().error(&**error).capture();
        })
    };
    let (health, consumer) = Transaction::start("open the history", "startup")
        .run(connect)
        .await
        .map_err(|error| error as Box<dyn Error>)?;
    let (stop, stopped) = watch::channel(false);
    let (ended, result) = oneshot::channel();
    let consume = async move {
        let mut consumer = tokio::spawn(consumer.run(stopped));
        let result = tokio::select! {
            result = &mut consumer => result,
            () = asked_to_stop() => {
                stop.send_replace(true);
                consumer.await
            }
        };
        let _ = ended.send(result);
    };
    serve(&config, telemetry, health::router(health), consume, std::future::ready(())).await?;
    Ok(result.await???)
}

#[cfg(feature = "kafka")]
async fn connect_history(
    config: &Config,
    kafka: &KafkaConfig,
) -> Result<(Health, HistoryConsumer), Box<dyn Error + Send + Sync>> {
    let wallet = DataSources::open(config).await?.wallet;
    let health = Health::of([(DataSourceName::Wallet, wallet.clone())]);
    let consumer = HistoryConsumer::connect(kafka, History::new(wallet), health.part("consumer")).await?;
    Ok((health, consumer))
}

#[cfg(not(feature = "kafka"))]
async fn run_history() -> Result<(), Box<dyn Error>> {
    config()?;
    Err("`marketplace history` needs a build with `--features kafka`".into())
}

async fn start(config: &Config) -> Result<App, StartError> {
    App::start(config).await.inspect_err(|error| {
        Transaction::current().capture_error(error);
    })
}

/// `marketplace health`: checks the process that listens on `MARKETPLACE_ADDR`.
async fn check_health() -> Result<(), Box<dyn Error>> {
    Ok(health::check_process(config()?.addr).await?)
}

/// Serves `router` until `stopped` resolves. Then waits for connections and for `sockets_closed`, because the server does not
/// wait for upgraded connections, and delivers the last events.
async fn serve(
    config: &Config,
    telemetry: Telemetry,
    router: Router,
    stopped: impl Future<Output = ()> + Send + 'static,
    sockets_closed: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(config.addr)
        .await
        .map_err(|error| format!("{} is not free ({error}); set MARKETPLACE_ADDR to another address", config.addr))?;
    println!("marketplace: http://{}", listener.local_addr()?);
    println!("{}", telemetry.where_to_look());

    let stopping = Arc::new(Notify::new());
    let stop = {
        let stopping = stopping.clone();
        async move {
            stopped.await;
            stopping.notify_one();
        }
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(stop);
    let server = async {
        server.await?;
        sockets_closed.await;
        std::io::Result::Ok(())
    };
    tokio::select! {
        served = server => served?,
        () = async { stopping.notified().await; tokio::time::sleep(GRACE).await } => tracing::warn!("connections were cut"),
    }
    telemetry.shutdown().await;
    Ok(())
}

async fn asked_to_stop() {
    stop_signal().await;
    tracing::info!("stopping");
}

async fn stop_signal() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = signal::ctrl_c() => return,
            _ = terminate.recv() => return,
        }
    }
    let _ = signal::ctrl_c().await;
}

/// `marketplace chain`: serves the embedded chain, which keeps its orders in memory.
async fn serve_chain() -> Result<(), Box<dyn Error>> {
    let addr = match variable("CHAIN_ADDR").filter(|addr| !addr.is_empty()) {
        Some(addr) => {
            addr.parse().map_err(|_| format!("CHAIN_ADDR is {addr:?}, not an address such as 127.0.0.1:8545"))?
        }
        None => config()?.addr,
    };
    let chain =
        EmbeddedChain::bind(addr).await.map_err(|error| format!("the chain cannot listen on {addr}: {error}"))?;
    println!("chain: {}", chain.url());
    asked_to_stop().await;
    Ok(())
}
