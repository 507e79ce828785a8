//! Runs each example as a process, sends requests to it, and checks the events that a development server receives.
//!
//! `cargo test` builds the examples. With `cargo test --test examples`, call `cargo build --examples` first.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use axum::http::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use tower_apm::devserver::{DevServer, Kind, Query};

const LONG: Duration = Duration::from_secs(60);

/// A running example and the server to which it sends its events.
struct Example {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    url: String,
    server: DevServer,
}

impl Example {
    async fn start(name: &str) -> Self {
        let server = DevServer::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(program(name));
        // a variable of the machine that runs the tests must not change what an example sends
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("ELASTIC_APM_") {
                command.env_remove(variable);
            }
        }
        command.env_remove("RUST_LOG").env_remove("SENTRY_DSN");
        command.env("ADDRESS", "127.0.0.1:0").env("ELASTIC_APM_SERVER_URL", server.url());
        command.env("ELASTIC_APM_CLOUD_PROVIDER", "none").env("ELASTIC_APM_API_REQUEST_TIME", "50ms");
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = until(&mut output, "listening on http://").await;
        let url = line[line.find("http://").unwrap()..].split_whitespace().next().unwrap().to_owned();
        Self { process, output, url, server }
    }

    /// Sends a request, and returns the status and the body.
    async fn send(&self, method: Method, path: &str) -> (u16, String) {
        // the workspace builds reqwest without a TLS provider
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request =
            reqwest::Client::new().request(method, format!("{}{path}", self.url)).header("x-user-id", "0xabc");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Waits for an event with this name, and returns it.
    async fn expect(&self, kind: Kind, name: &str) -> Value {
        let query = Query::new().kind(kind).name(name);
        let found = self.server.store().wait_for(LONG, |store| store.query(&query).events.pop()).await;
        found.unwrap_or_else(|| panic!("no {kind:?} {name:?} in {:#?}", self.received())).body()
    }

    /// Returns the names of all received events.
    fn received(&self) -> Vec<String> {
        let events = self.server.store().query(&Query::new()).events;
        events
            .iter()
            .map(|event| format!("{:?} {}", event.kind(), event.names().collect::<Vec<_>>().join(", ")))
            .collect()
    }

    /// Stops the example with the signal of Ctrl-C, and checks that it ends without an error.
    async fn stop(&mut self) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
        let status = timeout(LONG, self.process.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Returns the path of an example, which is next to the directory of the test binaries.
fn program(name: &str) -> PathBuf {
    let directory = env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples");
    let program = directory.join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{} is missing: call `cargo build --examples`", program.display());
    program
}

/// Reads lines until one contains the text.
async fn until(output: &mut Lines<BufReader<ChildStdout>>, text: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let line = timeout(LONG, output.next_line()).await.ok().and_then(Result::unwrap);
        let line = line.unwrap_or_else(|| panic!("no {text:?} in {seen:#?}"));
        if line.contains(text) {
            return line;
        }
        seen.push(line);
    }
}

#[tokio::test]
async fn hello_sends_a_transaction_with_a_label() {
    let mut example = Example::start("hello").await;
    assert_eq!(example.send(Method::GET, "/hello/you").await, (200, "hello, you\n".to_owned()));
    let transaction = example.expect(Kind::Transaction, "GET /hello/{name}").await;
    assert_eq!(transaction["context"]["tags"]["greeted"], "you");
    example.stop().await;
}

#[tokio::test]
async fn own_subscriber_records_a_span_and_prints_its_trace_id() {
    let mut example = Example::start("own_subscriber").await;
    assert_eq!(example.send(Method::GET, "/listings/7").await.0, 200);
    let transaction = example.expect(Kind::Transaction, "GET /listings/{id}").await;
    let span = example.expect(Kind::Span, "load_listing").await;
    assert_eq!(span["parent_id"], transaction["id"]);
    let line = until(&mut example.output, "loading the listing").await;
    assert!(line.contains(span["trace_id"].as_str().unwrap()), "{line}");
    example.stop().await;
}

#[tokio::test]
async fn errors_sends_one_error_for_each_kind_of_failure() {
    let mut example = Example::start("errors").await;
    let error_of = async |method, path, status, transaction| {
        assert_eq!(example.send(method, path).await.0, status, "{path}");
        let transaction = example.expect(Kind::Transaction, transaction).await;
        let of_transaction = |store: &tower_apm::devserver::Store| {
            let errors = store.query(&Query::new().kind(Kind::Error)).events;
            let mut errors = errors.iter().map(|event| event.body());
            errors.find(|error| error["transaction_id"] == transaction["id"])
        };
        let error = example.server.store().wait_for(LONG, of_transaction).await;
        let error = error.unwrap_or_else(|| panic!("no error of {path} in {:#?}", example.received()));
        assert_eq!(error["context"]["user"]["id"], "0xabc", "{error}");
        error
    };

    let error = error_of(Method::POST, "/listings/7/purchase", 502, "POST /listings/{id}/purchase").await;
    assert_eq!(error["exception"]["type"], "AppError::Settlement", "{error}");
    assert!(error["exception"]["cause"][0]["message"].as_str().unwrap().contains("refused"), "{error}");

    let error = error_of(Method::POST, "/listings/7/announce", 200, "POST /listings/{id}/announce").await;
    assert_eq!((&error["exception"]["handled"], &error["context"]["tags"]["step"]), (&true.into(), &"announce".into()));

    let error = error_of(Method::GET, "/reports/daily", 500, "GET /reports/daily").await;
    assert!(error["log"]["message"].as_str().unwrap().contains("the report could not be read"), "{error}");

    let error = error_of(Method::GET, "/listings/seven", 500, "GET /listings/{id}").await;
    assert!(error["exception"]["message"].as_str().unwrap().contains("the id is a number"), "{error}");
    assert_eq!(error["exception"]["handled"], false, "{error}");
    example.stop().await;
}

#[tokio::test]
async fn outgoing_calls_records_sql_http_and_other_calls() {
    let mut example = Example::start("outgoing_calls").await;
    let (status, body) = example.send(Method::GET, "/listings/1").await;
    assert_eq!((status, body.split(',').next().unwrap()), (200, "listing 1: 12.5 ETH"));
    let transaction = example.expect(Kind::Transaction, "GET /listings/{id}").await;
    let http = format!("GET {}", &example.url["http://".len()..]);
    for (name, kind, subtype) in [
        ("SELECT FROM listings", "db", "sqlite"),
        (http.as_str(), "external", "http"),
        ("Elasticsearch: POST /listings/_search", "db", "elasticsearch"),
    ] {
        let span = example.expect(Kind::Span, name).await;
        assert_eq!(span["transaction_id"], transaction["id"], "{span}");
        assert_eq!((&span["type"], &span["subtype"]), (&kind.into(), &subtype.into()), "{span}");
    }
    let rates = example.expect(Kind::Transaction, "GET /rates").await;
    assert_eq!(rates["trace_id"], transaction["trace_id"]);
    example.stop().await;
}

#[tokio::test]
async fn grpc_records_both_sides_of_a_call_in_one_trace() {
    let mut example = Example::start("grpc").await;
    assert_eq!(example.send(Method::GET, "/status/orders").await, (200, "Serving\n".to_owned()));
    let request = example.expect(Kind::Transaction, "GET /status/{service}").await;
    let span = example.expect(Kind::Span, "/grpc.health.v1.Health/Check").await;
    let call = example.expect(Kind::Transaction, "/grpc.health.v1.Health/Check").await;
    assert_eq!((&span["parent_id"], &call["parent_id"]), (&request["id"], &span["id"]));
    assert_eq!((&span["subtype"], &span["outcome"]), (&"grpc".into(), &"success".into()));

    assert_eq!(example.send(Method::GET, "/status/unknown").await.0, 502);
    let error = example.expect(Kind::Error, "GrpcError").await;
    assert_eq!(error["exception"]["message"], "the gRPC call failed", "{error}");
    example.stop().await;
}

#[tokio::test]
async fn background_records_jobs_and_tasks() {
    let mut example = Example::start("background").await;
    let job = example.expect(Kind::Transaction, "settle auctions").await;
    assert_eq!((&job["type"], &job["outcome"]), (&"scheduled".into(), &"failure".into()));
    assert_eq!(example.send(Method::POST, "/listings/7/purchase").await, (200, "sold\n".to_owned()));
    let purchase = example.expect(Kind::Transaction, "POST /listings/{id}/purchase").await;
    let span = example.expect(Kind::Span, "refresh_cache").await;
    assert_eq!(span["transaction_id"], purchase["id"]);
    let notification = example.expect(Kind::Transaction, "notify seller").await;
    assert_eq!((&notification["type"], &notification["links"][0]["span_id"]), (&"background".into(), &purchase["id"]));
    example.stop().await;
}

#[tokio::test]
async fn background_delivers_work_that_still_runs_at_shutdown() {
    let mut example = Example::start("background").await;
    assert_eq!(example.send(Method::POST, "/listings/7/purchase").await.0, 200);
    example.stop().await;
    let receipts = Query::new().kind(Kind::Transaction).name("send receipt");
    assert_eq!(example.server.store().query(&receipts).total, 1, "{:#?}", example.received());
}
