//! 100 000 requests while the server is killed and restarted: every event is counted and received.
//!
//! This test needs its own binary, because it sets the global subscriber and keeps the machine busy:
//! `cargo test --features devserver --test soak`.

mod apm_server_process;

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead, BufReader},
    path::Path,
    sync::{
        Arc, LazyLock, Once,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract, routing::get};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_apm::{
    Agent, EnvVars, Transaction,
    devserver::{DevServer, Kind, Query, Store},
};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{Layer, layer, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt};

/// Requests wait while more events than these are not in the backlog yet: half of the default queue.
const MOST_QUEUED: u64 = 4_096;
/// The outage lasts until so many events wait: twice the default queue.
const MOST_WAITING: u64 = 32_768;
/// Every so many requests have a child span.
const SPAN_EVERY: u64 = 10;
const TASKS: usize = 8;
/// Longer than the test takes on any machine.
const DEADLINE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_when_the_server_is_killed_and_restarted() {
    const REQUESTS: u64 = 100_000;
    let first = DevServer::builder().max_events(400_000).max_bytes(1 << 30).bind("127.0.0.1:0").unwrap();
    let (address, store) = (first.addr().to_string(), first.store().clone());
    let agent = agent(&first.url(), false);
    let mut load = Load::start(&agent, REQUESTS);

    until("half of the requests are made", || load.made() >= REQUESTS / 2).await;
    let failures = FAILURES.load(Relaxed);
    tokio::task::block_in_place(|| first.shutdown());
    until("requests came and the agent failed to send", || {
        agent.stats().waiting >= MOST_WAITING && FAILURES.load(Relaxed) > failures
    })
    .await;
    assert!(load.made() < REQUESTS, "the outage was in the middle");
    assert!(agent.stats().backlog_events > MOST_WAITING / 2, "{}", agent.stats());
    let second = DevServer::builder().max_events(400_000).max_bytes(1 << 30).bind(&address).unwrap();
    load.join().await;

    expect_all_accepted(&agent, REQUESTS).await;
    assert!(store.stats().held > 0 && second.store().stats().held > 0);
    let mut found = Found::default();
    for store in [&store, second.store()] {
        assert_eq!((store.stats().evicted, store.stats().last_rejection), (0, None));
        found.look_into(store);
    }
    found.expect_all(REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs APM_SERVER_DECODER"]
async fn real_server_accepts_every_request() {
    const REQUESTS: u64 = 5_000;
    let documents = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}.ndjson", std::process::id()));
    let arguments = ["serve", "-addr", "127.0.0.1:0", "-out", documents.to_str().unwrap()];
    let mut server = apm_server_process::start(&arguments);
    let mut url = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let agent = agent(url.trim(), true);
    Load::start(&agent, REQUESTS).join().await;

    expect_all_accepted(&agent, REQUESTS).await;
    let mut found = Found::default();
    for line in fs::read_to_string(&documents).unwrap().lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        if document["span"]["name"].is_null() {
            found.add(&document["transaction"]["id"], &document["url"]["path"], &document["labels"]["order"]);
        }
    }
    found.expect_all(REQUESTS);
    fs::remove_file(&documents).unwrap();
}

fn agent(url: &str, gzip: bool) -> Agent {
    let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("soak").server_url(url).gzip(gzip);
    // only events of requests are counted
    let agent = agent.metrics_interval(Duration::ZERO);
    let agent = agent.build().unwrap();
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(agent.tracing_layer()).with(Failures).init());
    agent
}

/// How often an agent of this process has logged a failure to send.
static FAILURES: AtomicUsize = AtomicUsize::new(0);

struct Failures;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Failures {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target() == "tower_apm" && *event.metadata().level() == Level::WARN {
            FAILURES.fetch_add(1, Relaxed);
        }
    }
}

/// Tasks that make requests, each request once.
struct Load {
    next: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(agent: &Agent, requests: u64) -> Self {
        let app = Router::new().route("/orders/{id}", get(order)).layer(agent.layer());
        let next = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (app, agent, next) = (app.clone(), agent.clone(), next.clone());
            tasks.spawn(async move {
                loop {
                    let queued = || {
                        let stats = agent.stats();
                        stats.waiting.saturating_sub(stats.backlog_events)
                    };
                    until("the worker takes events", || queued() < MOST_QUEUED).await;
                    let id = next.fetch_add(1, Relaxed);
                    if id >= requests {
                        return;
                    }
                    let request = Request::get(format!("/orders/{id}")).body(Body::empty()).unwrap();
                    let response = app.clone().oneshot(request).await.unwrap();
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(body, id.to_string());
                }
            });
        }
        Self { next, tasks }
    }

    fn made(&self) -> u64 {
        self.next.load(Relaxed)
    }

    async fn join(&mut self) {
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
    }
}

async fn order(extract::Path(id): extract::Path<u64>, transaction: Transaction) -> String {
    transaction.set_label("order", id.to_string());
    if id.is_multiple_of(SPAN_EVERY) {
        tracing::info_span!("SELECT orders", "db.system" = "sqlite").in_scope(|| ());
    }
    // so that requests overlap
    tokio::task::yield_now().await;
    id.to_string()
}

/// Polls: a fixed time would be too short on a slow machine.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    while !is_so() {
        assert!(START.elapsed() < DEADLINE, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Checks that every recorded event was accepted.
async fn expect_all_accepted(agent: &Agent, requests: u64) {
    agent.flush(DEADLINE).await.unwrap();
    let stats = agent.stats();
    println!("{stats}");
    assert_eq!(stats.recorded, requests + requests / SPAN_EVERY);
    assert_eq!(stats.recorded, stats.accepted + stats.rejected + stats.dropped.total() + stats.waiting);
    assert_eq!((stats.rejected, stats.dropped.total(), stats.waiting), (0, 0, 0), "{stats}");
}

/// Transaction ids by path. A transaction that was sent again after a lost response is there twice, with the same id.
#[derive(Default)]
struct Found(HashMap<String, String>);

impl Found {
    fn look_into(&mut self, store: &Store) {
        for event in store.query(&Query::new().kind(Kind::Transaction)).events {
            let (body, url) = (event.body(), "/context/request/url/pathname");
            self.add(&body["id"], body.pointer(url).unwrap(), &body["context"]["tags"]["order"]);
        }
    }

    fn add(&mut self, id: &Value, path: &Value, order: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert_eq!(text(path), format!("/orders/{}", text(order)), "the label of another request");
        let known = self.0.entry(text(path)).or_insert_with(|| text(id));
        assert_eq!(*known, text(id), "{path}: two transactions");
    }

    fn expect_all(&self, requests: u64) {
        let missing: Vec<_> = (0..requests).filter(|id| !self.0.contains_key(&format!("/orders/{id}"))).collect();
        assert!(
            missing.is_empty(),
            "{} are missing, among them {:?}",
            missing.len(),
            &missing[..missing.len().min(10)]
        );
        let ids: HashSet<_> = self.0.values().collect();
        assert_eq!((self.0.len(), ids.len()), (requests as usize, requests as usize));
    }
}
