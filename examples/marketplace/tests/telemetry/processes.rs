//! The service's processes, which send to one development server.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tower_apm::devserver::DevServer;

/// The time limit of each step of a test.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// A running `marketplace` process. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts `marketplace ARGUMENTS` with only the given variables.
    pub(crate) fn start(apm: &DevServer, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marketplace"));
        command.env_clear().envs(env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        command
            .args(arguments)
            .env("MARKETPLACE_ADDR", "127.0.0.1:0")
            .env("ELASTIC_APM_SERVER_URL", apm.url())
            .env("ELASTIC_APM_API_REQUEST_TIME", "50ms")
            .env("ELASTIC_APM_CLOUD_PROVIDER", "none")
            .env("ELASTIC_APM_METRICS_INTERVAL", "0s")
            .env("ELASTIC_APM_SPAN_COMPRESSION_ENABLED", "false") // the tests look at each statement
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the process starts");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (send, lines) = mpsc::channel();
        // Reads to the end of the output: a full pipe would block the process.
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
        Self { child, lines }
    }

    /// Returns what follows `start` in the next line that begins with it.
    pub(crate) fn line_after(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(TIMEOUT).expect("the process prints the line");
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the API.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(crate) fn new(url: String) -> Self {
        // reqwest needs a TLS provider also for plain HTTP. Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("a client"), url }
    }

    /// Sends a request by bob. Returns the status, the trace id and the body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, String, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).header("x-user-id", "bob").json(body);
        let answer = request.send().await.expect("an answer");
        let trace_id = answer.headers()["x-trace-id"].to_str().expect("a trace id").to_owned();
        (answer.status().as_u16(), trace_id, answer.json().await.expect("JSON"))
    }

    /// Lists a token of alice for 12.5, for which bob can pay. Returns the listing's id.
    pub(crate) async fn list(&self, token: &str) -> i64 {
        let listing = json!({ "token_id": token, "seller": "alice", "price": "12.5" });
        let (status, _, listing) = self.post("/market/listings", &listing).await;
        assert_eq!(status, 201, "{listing}");
        let credit = json!({ "amount": 100, "reason": "card payment" });
        let (status, _, balance) = self.post("/wallet/bob/credits", &credit).await;
        assert_eq!(status, 200, "{balance}");
        listing["id"].as_i64().expect("a listing has an id")
    }
}
