//! The marketplace as it runs in production: several processes on real servers.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    http::{Answer, Client, Request},
    process::Process,
    real_parts::RealParts,
};

/// How long a process can take to start, with a rebuild of the balances.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The database of both data sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Postgres,
    MariaDb,
}

impl Database {
    /// Returns the name of the server in `scripts/real-parts.sh`.
    pub(crate) fn server(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        }
    }
}

/// The servers and the processes.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) apis: Vec<Process>,
    pub(crate) histories: Vec<Process>,
    pub(crate) chain: Process,
    pub(crate) market_url: String,
    pub(crate) wallet_url: String,
    // after the processes, so that it is dropped after them
    pub(crate) parts: RealParts,
}

impl Deployment {
    /// Starts servers, the chain, two APIs and `histories` consumers, and waits until both APIs answer.
    pub(crate) async fn start(name: &str, database: Database, histories: usize) -> Self {
        let parts = RealParts::start(name, &[database.server(), "redis", "kafka"]);
        let (market_url, wallet_url) = match database {
            Database::Postgres => (parts.url("DATABASE_URL").to_owned(), parts.url("WALLET_DATABASE_URL").to_owned()),
            Database::MariaDb => {
                let server = parts.url("MARIADB_URL").strip_suffix("/shop").expect("the database is `shop`");
                (format!("{server}/market"), format!("{server}/wallet"))
            }
        };
        let logs = log_folder(name);
        let chain = Process::start("chain", &["chain"], variables(&[]), &logs);
        let service = variables(&[
            ("DATABASE_URL", &market_url),
            ("WALLET_DATABASE_URL", &wallet_url),
            ("REDIS_URL", parts.url("REDIS_URL")),
            ("KAFKA_BROKERS", parts.url("KAFKA_BROKERS")),
            ("CHAIN_RPC_URL", &format!("http://{}/", chain.addr)),
            // so that orders of killed processes are repaired soon
            ("MARKETPLACE_ORDER_LEASE_SECONDS", "2"),
        ]);
        let api = |number| Process::start(&format!("api-{number}"), &[], service.clone(), &logs);
        let history = |number| Process::start(&format!("history-{number}"), &["history"], service.clone(), &logs);
        let mut deployment = Self {
            apis: (1..=2).map(api).collect(),
            histories: (1..=histories).map(history).collect(),
            chain,
            market_url,
            wallet_url,
            parts,
        };
        let client = Client::new(deployment.addresses());
        deployment.wait_until_ready(&client).await;
        deployment
    }

    /// Returns the addresses of the APIs.
    pub(crate) fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.apis.iter().map(|api| api.addr).collect()
    }

    pub(crate) fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.apis.iter_mut().chain(&mut self.histories).chain([&mut self.chain])
    }

    /// Starts processes again that have ended on their own, because a part that they need was away during their start. Returns
    /// the last line of output of each. Panics if a process has ended for another reason.
    pub(crate) fn restart_ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        let Self { apis, histories, chain, parts, .. } = self;
        for process in apis.iter_mut().chain(histories).chain([chain]) {
            if process.has_ended() {
                let could_start = process.has_printed_address() || !parts.were_away_since(process.started);
                assert!(!could_start, "{} has ended on its own:\n{}", process.name, process.log_tail(30));
                ended.push(format!("{}: {}", process.name, process.log_tail(1).trim()));
                process.restart();
            }
        }
        ended
    }

    /// Waits until each API answers with a balance.
    pub(crate) async fn wait_until_ready(&mut self, client: &Client) {
        for api in 0..self.apis.len() {
            self.wait_until_api_is_ready(client, api).await;
        }
    }

    /// Waits until one API answers with a balance.
    pub(crate) async fn wait_until_api_is_ready(&mut self, client: &Client, api: usize) {
        let started = Instant::now();
        let request = Request { timeout: Duration::from_secs(3), ..Request::get("/wallet/nobody/balance".to_owned()) };
        while !matches!(client.send(api, &request).await, Answer::Definite(200, _)) {
            if started.elapsed() > START_TIMEOUT {
                panic!("{} does not answer; its log ends with\n{}", self.apis[api].name, self.apis[api].log_tail(30));
            }
            self.restart_ended();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the last lines of all logs.
    pub(crate) fn logs(&mut self, lines: usize) -> String {
        self.processes().map(|process| format!("{}:\n{}", process.name, process.log_tail(lines))).collect()
    }
}

/// Returns `more` and the variables of a process that sends no telemetry.
fn variables(more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let quiet = [
        ("ELASTIC_APM_ENABLED", "false"),
        // with a URL, the process starts no development server
        ("ELASTIC_APM_SERVER_URL", "http://127.0.0.1:9"),
        ("RUST_LOG", "warn,marketplace=info"),
    ];
    quiet.iter().chain(more).map(|&(name, value)| (name, value.to_owned())).collect()
}

fn log_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("the folder for logs can be created");
    folder
}
