//! The Node service and the marketplace as processes of their own, sending to one development server.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tower_apm::devserver::{DevServer, DevServerBuilder};

/// The time limit of each step.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// The sample rates of the two services. A rate applies if the service begins the trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) node: &'static str,
    pub(crate) marketplace: &'static str,
}

/// Both services and the server that they send to.
pub(crate) struct Fleet {
    pub(crate) apm: DevServer,
    pub(crate) node: String,
    pub(crate) marketplace: String,
    http: reqwest::Client,
    _processes: [Process; 2],
}

/// The response of a purchase.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) trace_id: String,
}

impl Fleet {
    /// Starts both services.
    pub(crate) async fn start(apm: DevServerBuilder, rates: Rates) -> Self {
        let program = env::var_os("INTEROP_NODE").expect("INTEROP_NODE is the program of Node");
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop"));
        assert!(folder.join("node_modules").exists(), "run `npm ci` in {}", folder.display());
        let apm = apm.bind("127.0.0.1:0").expect("a port is free");

        let mut service = observed(program, &apm, rates.node);
        service.current_dir(folder).args(["--require", "elastic-apm-node/start.js", "service.js"]);
        service.env("ELASTIC_APM_SERVICE_NAME", "office").env("ELASTIC_APM_CAPTURE_BODY", "all");
        // express does not print the expected errors
        service.env("NODE_ENV", "test");
        let mut service = Process::start(service);
        let node = service.line();

        let mut shop = observed(env!("CARGO_BIN_EXE_marketplace").into(), &apm, rates.marketplace);
        shop.env("MARKETPLACE_ADDR", "127.0.0.1:0").env("CHAIN_RPC_URL", &node);
        let shop = Process::start(shop);
        let marketplace = shop.line_after("marketplace: ");
        service.say(&marketplace);

        // reqwest needs a TLS provider also for plain HTTP. Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("a client");
        Self { apm, node, marketplace, http, _processes: [service, shop] }
    }

    /// Lists a token of alice for which bob can pay. Returns the id of the listing.
    pub(crate) async fn list(&self, token: &str) -> i64 {
        let listing = json!({ "token_id": token, "seller": "alice", "price": "12.5" });
        let listing: Value = self.set_up("/market/listings", "alice", &listing).await;
        self.set_up("/wallet/bob/credits", "bob", &json!({ "amount": 100, "reason": "card payment" })).await;
        listing["id"].as_i64().expect("a listing has an id")
    }

    /// Buys a listing through the Node service, as bob.
    pub(crate) async fn order_by_way_of_node(&self, listing: i64) -> Answer {
        self.buy(format!("{}/orders/{listing}", self.node)).await
    }

    /// Buys a listing in the marketplace, as bob.
    pub(crate) async fn order_in_the_marketplace(&self, listing: i64) -> Answer {
        self.buy(format!("{}/market/listings/{listing}/purchase", self.marketplace)).await
    }

    /// Returns the trace headers and methods of the marketplace's calls to the Node service.
    pub(crate) async fn calls_of_the_chain(&self, trace_id: &str) -> Vec<Value> {
        let url = format!("{}/calls/{trace_id}", self.node);
        self.http.get(url).send().await.expect("an answer").json().await.expect("JSON")
    }

    async fn buy(&self, url: String) -> Answer {
        let request = self.http.post(url).header("x-user-id", "bob").json(&json!({ "buyer": "bob" }));
        let answer = request.send().await.expect("an answer");
        let trace_id = answer.headers()["x-trace-id"].to_str().expect("a trace id").to_owned();
        Answer { status: answer.status().as_u16(), trace_id }
    }

    async fn set_up(&self, path: &str, user: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.marketplace)).header("x-user-id", user).json(body);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).expect("an answer");
        answer.json().await.expect("JSON")
    }
}

/// Returns the command of a program that sends its events to the development server, with only the given variables.
fn observed(program: OsString, apm: &DevServer, sample_rate: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
    command
        .env("ELASTIC_APM_SERVER_URL", apm.url())
        .env("ELASTIC_APM_TRANSACTION_SAMPLE_RATE", sample_rate)
        .env("ELASTIC_APM_API_REQUEST_TIME", "50ms")
        .env("ELASTIC_APM_CLOUD_PROVIDER", "none")
        .env("ELASTIC_APM_METRICS_INTERVAL", "0s")
        .env("ELASTIC_APM_LOG_LEVEL", "warn");
    command
}

/// A process that is killed when it is dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, lines) = mpsc::channel();
        // reads to the end of the output: a full pipe would block the process
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
        Self { child, input, lines }
    }

    /// Returns the next line that the process prints.
    fn line(&self) -> String {
        self.lines.recv_timeout(TIMEOUT).expect("it prints a line")
    }

    /// Returns the text after `start` in the next line that begins with `start`.
    fn line_after(&self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Writes a line to the process and waits for its reply.
    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
        self.line_after("ready");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // the process may have ended on its own
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
