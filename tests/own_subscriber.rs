//! The agent in a service that has its own `tracing` subscriber.
//!
//! Each case runs in a separate process, because subscribers, propagators and panic hooks can be set only once.

use std::{
    collections::HashMap,
    env,
    io::Read,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request, routing::get};
use opentelemetry::{global, propagation::TextMapPropagator, trace::TraceContextExt, trace::Tracer};
use tower::ServiceExt;
use tower_apm::{
    Agent, AgentBuilder, BuildError, CloudProvider, EnvVars, Transaction,
    devserver::{DevServer, Kind, Query},
};
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

const CASE: &str = "TOWER_APM_TEST_OWN_SUBSCRIBER";
const LONG: Duration = Duration::from_secs(30);

fn builder() -> AgentBuilder {
    Agent::builder()
        .env_vars(EnvVars::empty())
        .service_name("shop")
        .cloud_provider(CloudProvider::None)
        .central_config(false)
        .metrics_interval(Duration::ZERO)
}

fn printer<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().with_writer(std::io::stdout).with_ansi(false)
}

/// Sets the subscriber of a case: the filter applies to all of it, or to the layer that prints.
fn set_subscriber(agent: &Agent, filter: &str) {
    let layers = registry().with(agent.tracing_layer());
    match filter.split_once(' ') {
        Some(("layer", filter)) => layers.with(printer().with_filter(EnvFilter::new(filter))).init(),
        Some(("level", level)) => layers.with(printer()).with(level.parse::<LevelFilter>().unwrap()).init(),
        _ => layers.with(printer()).with(EnvFilter::new(filter)).init(),
    }
}

/// The service that the other tests start; not a test of its own. It runs until its input ends.
#[test]
fn the_service() {
    let Ok(case) = env::var(CASE) else { return };
    let (case, argument) = case.split_once(':').unwrap();
    match case {
        "filter" => {
            let agent = builder().disable_send(true).install_without_subscriber().unwrap();
            set_subscriber(&agent, argument);
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        "log_level" => {
            let level = EnvVars::from_iter([("ELASTIC_APM_LOG_LEVEL", argument), ("ELASTIC_APM_LABELS", "a=b")]);
            let agent = builder().env_vars(level).disable_send(true).install_without_subscriber().unwrap();
            set_subscriber(&agent, "layer info");
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        "no agent" => {
            registry().with(printer().with_filter(LevelFilter::WARN)).init();
            use_without_an_agent();
        }
        "after shutdown" => {
            let agent = builder().disable_send(true).install_without_subscriber().unwrap();
            registry().with(printer().with_filter(LevelFilter::WARN)).init();
            drop(agent);
            use_without_an_agent();
        }
        "everything" => everything(),
        _ => panic!("{case}"),
    }
}

fn use_without_an_agent() {
    let error = std::io::Error::other("no printer");
    for _ in 0..3 {
        assert!(!Transaction::start("job", "scheduled").is_active());
        Transaction::current().capture_error(&error);
    }
    let service = Router::new().route("/", get(async || "ok")).layer(tower_apm::layer());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..3 {
        runtime.block_on(service.clone().oneshot(Request::get("/").body(Body::empty()).unwrap())).unwrap();
    }
}

/// Uses everything that `install_without_subscriber()` sets, so that the server receives it.
fn everything() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let agent = builder().server_url(server.url()).install_without_subscriber().unwrap();
    assert!(!tracing::dispatcher::has_been_set(), "the subscriber is the service's");
    for again in [builder().install_without_subscriber(), builder().install()] {
        assert!(matches!(again, Err(BuildError::AlreadyInstalled)), "{again:?}");
    }
    assert!(!tracing::dispatcher::has_been_set());
    set_subscriber(&agent, "layer info");

    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
    let extracts = |propagator: &dyn TextMapPropagator| propagator.extract(&headers).has_active_span();
    assert!(global::get_text_map_propagator(|propagator| extracts(propagator)));

    Transaction::start("job", "scheduled").in_scope(|| {
        tracing::info_span!("by tracing").in_scope(|| ());
        global::tracer("shop").in_span("by OpenTelemetry", |_| ());
    });
    Transaction::current().capture_error(&std::io::Error::other("captured outside"));
    tracing::error!(error = "logged outside", "it failed");
    thread::spawn(|| panic!("panicked outside")).join().unwrap_err();
    let service = Router::new().route("/listings", get(async || "ok")).layer(tower_apm::layer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(service.oneshot(Request::get("/listings").body(Body::empty()).unwrap())).unwrap();
    runtime.block_on(agent.shutdown(LONG)).unwrap();

    let sent = |kind: Kind, pointer: &str| {
        let events = server.store().query(&Query::new().kind(kind)).events;
        let mut found: Vec<_> = events
            .iter()
            .map(|event| event.body().pointer(pointer).and_then(|name| name.as_str()).unwrap_or("").to_owned())
            .collect();
        found.sort();
        found
    };
    println!("transactions: {:?}", sent(Kind::Transaction, "/name"));
    println!("spans: {:?}", sent(Kind::Span, "/name"));
    println!("errors: {:?}", sent(Kind::Error, "/exception/message"));
}

/// The text that a process has printed to one of its outputs so far, and the thread that reads it.
struct Output {
    text: Arc<Mutex<String>>,
    reader: thread::JoinHandle<()>,
}

impl Output {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { text, reader }
    }

    fn contains(&self, text: &str) -> bool {
        self.text.lock().unwrap().contains(text)
    }

    /// Waits for the end of the output.
    fn finish(self) -> String {
        self.reader.join().unwrap();
        self.text.lock().unwrap().clone()
    }
}

/// The process of a case.
struct Service {
    process: Child,
    outputs: [Output; 2],
}

impl Service {
    fn start(case: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["the_service", "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let outputs = [Output::read(process.stdout.take().unwrap()), Output::read(process.stderr.take().unwrap())];
        Self { process, outputs }
    }

    /// Waits until the service has printed the text, and returns everything that it prints to stdout and stderr.
    fn until(self, text: &str) -> [String; 2] {
        let began = Instant::now();
        while !self.outputs.iter().any(|output| output.contains(text)) && began.elapsed() < LONG {
            thread::sleep(Duration::from_millis(5));
        }
        let printed = self.end();
        assert!(printed.iter().any(|printed| printed.contains(text)), "no {text:?} in {printed:#?}");
        printed
    }

    /// Ends the input of the service, waits for its end, and returns everything that it prints to stdout and stderr.
    fn end(mut self) -> [String; 2] {
        drop(self.process.stdin.take());
        let status = self.process.wait().unwrap();
        let printed = self.outputs.map(Output::finish);
        assert!(status.success(), "{printed:#?}");
        printed
    }
}

const HIDES_SPANS: &str = "hides spans from the agent";
const HIDES_STATEMENTS: &str = "hides DEBUG events from the agent";

#[test]
fn install_without_subscriber_sets_everything_except_the_subscriber() {
    let [stdout, stderr] = Service::start("everything:").end();
    for line in [
        r#"transactions: ["GET /listings", "job"]"#,
        r#"spans: ["by OpenTelemetry", "by tracing"]"#,
        r#"errors: ["captured outside", "logged outside", "panicked outside"]"#,
    ] {
        assert!(stdout.contains(line), "no {line} in {stdout}\n{stderr}");
    }
}

#[test]
fn start_and_warnings_are_logged_once_the_subscriber_is_set() {
    let [stdout, _] = Service::start("log_level:info").until("service_name=");
    assert_eq!(stdout.matches("tower-apm 0.1.0 (pid").count(), 1, "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.contains("ELASTIC_APM_LABELS")).count(), 1, "{stdout}");
}

#[test]
fn log_level_applies_to_the_start_in_a_subscriber_of_the_service() {
    let [stdout, _] = Service::start("log_level:warning").until("no such option");
    assert!(!stdout.contains("tower-apm 0.1.0 (pid"), "{stdout}");
}

#[test]
fn filter_that_hides_spans_and_log_lines_is_reported_on_stderr() {
    for filter in ["shop=debug,tower_http=debug", "error", "shop=info,tower_apm=off", "level off", "level error"] {
        let [stdout, stderr] = Service::start(&format!("filter:{filter}")).until(HIDES_SPANS);
        assert_eq!(stderr.matches(HIDES_SPANS).count(), 1, "{filter}: {stderr}");
        assert!(stderr.contains("fmt::layer().with_filter(filter)"), "{stderr}");
        assert!(!stdout.contains(HIDES_SPANS), "{filter}: {stdout}");
    }
}

#[test]
fn filter_that_hides_spans_is_reported_in_the_log_if_the_log_shows_it() {
    for filter in ["warn", "shop=debug,tower_apm=info", "level warn"] {
        let [stdout, stderr] = Service::start(&format!("filter:{filter}")).until(HIDES_SPANS);
        assert_eq!(stdout.matches(HIDES_SPANS).count(), 1, "{filter}: {stdout}");
        assert!(!stderr.contains(HIDES_SPANS), "{filter}: {stderr}");
    }
}

#[test]
fn filter_that_hides_only_sql_statements_is_reported_as_information() {
    for filter in ["info", "level info", "debug,sqlx=off"] {
        let [stdout, stderr] = Service::start(&format!("filter:{filter}")).until(HIDES_STATEMENTS);
        assert_eq!(stdout.matches(HIDES_STATEMENTS).count(), 1, "{filter}: {stdout}");
        assert!(!stdout.contains(HIDES_SPANS) && !stderr.contains("tower-apm"), "{filter}: {stdout}\n{stderr}");
    }
}

#[test]
fn filter_that_hides_nothing_from_the_agent_is_not_reported() {
    for filter in ["debug,hyper=off", "level debug", "layer error,tower_apm=info", "layer shop=debug,tower_apm=info"] {
        let printed = Service::start(&format!("filter:{filter}")).until("service_name=");
        let reports = [HIDES_SPANS, HIDES_STATEMENTS];
        let is_silent = |text: &String| !reports.iter().any(|report| text.contains(report));
        assert!(printed.iter().all(is_silent), "{filter}: {printed:#?}");
    }
}

#[test]
fn use_without_an_installed_agent_is_reported_once() {
    let [stdout, _] = Service::start("no agent:").end();
    for warning in ["a request met", "a transaction was started", "an error was captured"] {
        assert_eq!(stdout.matches(warning).count(), 1, "{warning}: {stdout}");
    }
    assert_eq!(stdout.matches("`install_without_subscriber()`").count(), 3, "{stdout}");
}

#[test]
fn use_after_the_shutdown_of_the_agent_is_not_reported() {
    let [stdout, _] = Service::start("after shutdown:").end();
    assert!(!stdout.contains("no agent is installed"), "{stdout}");
}
