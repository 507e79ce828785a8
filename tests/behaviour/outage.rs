//! Events are kept or counted while the server is unreachable, refuses them, or limits the size of a request.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, body::Bytes, http::HeaderMap, http::StatusCode, response::Response};
use tokio::net::TcpListener;
use tower_apm::{
    Agent, AgentBuilder, EnvVars, Exporter, OtlpProtocol, Stats,
    devserver::{DevServer, Kind, Query},
};

const LONG: Duration = Duration::from_secs(30);

type Configure = fn(AgentBuilder) -> AgentBuilder;

/// Every way to send events.
const WAYS: [(&str, Configure); 5] = [
    ("intake", |agent| agent.gzip(false)),
    ("intake, compressed", |agent| agent.gzip(true)),
    ("OTLP", |agent| agent.exporter(Exporter::Otlp)),
    ("OTLP, compressed", |agent| agent.exporter(Exporter::Otlp).gzip(true)),
    ("OTLP over gRPC", |agent| agent.exporter(Exporter::Otlp).otlp_protocol(OtlpProtocol::Grpc)),
];

fn agent(url: &str, configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").server_url(url);
    let agent = agent.metrics_interval(Duration::ZERO).central_config(false);
    configure(agent.api_request_time(Duration::from_millis(20))).build().unwrap()
}

/// The address of a server that is not started yet.
fn unused_address() -> (String, SocketAddr) {
    let closed = DevServer::bind("127.0.0.1:0").unwrap();
    let (url, address) = (closed.url(), closed.addr());
    closed.shutdown();
    (url, address)
}

fn transactions(server: &DevServer) -> usize {
    server.store().query(&Query::new().kind(Kind::Transaction)).total
}

#[track_caller]
fn adds_up(agent: &Agent) -> Stats {
    let stats = agent.stats();
    let Stats { recorded, accepted, rejected, dropped, waiting, .. } = stats;
    assert_eq!(recorded, accepted + rejected + dropped.total() + waiting, "{stats}");
    assert!(stats.backlog_events <= waiting, "{stats}");
    stats
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn outage_events_are_kept_beyond_the_queue_size() {
    for (way, configure) in WAYS {
        let (url, address) = unused_address();
        let agent = agent(&url, |agent| configure(agent).max_queue_size(512).api_request_size(4096));
        for _ in 0..10 {
            // enough to wake the worker, and no more than the queue holds
            for _ in 0..300 {
                drop(agent.start_transaction("job", "scheduled"));
            }
            until("the worker has taken them", || {
                let stats = adds_up(&agent);
                stats.waiting - stats.backlog_events < 200
            })
            .await;
        }
        let stats = adds_up(&agent);
        assert_eq!((stats.recorded, stats.waiting), (3000, 3000), "{way}: {stats}");
        assert!((1..400_000).contains(&stats.backlog_bytes), "{way}: {stats}");
        let unsent = agent.flush(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(unsent.waiting, 3000, "{way}: the backlog is part of a flush");

        let server = DevServer::bind(address.to_string()).unwrap();
        agent.flush(LONG).await.unwrap();
        let stats = adds_up(&agent);
        assert_eq!((stats.accepted, stats.backlog_events, stats.backlog_bytes), (3000, 0, 0), "{way}: {stats}");
        assert_eq!(transactions(&server), 3000, "{way}");
    }
}

#[tokio::test]
async fn probe_ends_the_backoff_when_the_server_returns() {
    for (way, configure) in WAYS {
        let (url, address) = unused_address();
        let agent = agent(&url, configure);
        drop(agent.start_transaction("job", "scheduled"));
        // each flush ends a back-off; the next one takes 25 s or more
        for _ in 0..8 {
            agent.flush(Duration::from_millis(50)).await.unwrap_err();
        }
        let server = DevServer::bind(address.to_string()).unwrap();
        let back = Instant::now();
        until("it is delivered", || agent.stats().accepted == 1).await;
        assert!(back.elapsed() < Duration::from_secs(15), "{way}: {:?}", back.elapsed());
        assert_eq!(transactions(&server), 1, "{way}");
    }
}

#[tokio::test]
async fn probe_finds_the_second_server_if_it_returns_first() {
    let (first, _) = unused_address();
    let (second, address) = unused_address();
    let agent = agent(&first, |agent| agent.server_urls([first.clone(), second]));
    drop(agent.start_transaction("job", "scheduled"));
    for _ in 0..8 {
        agent.flush(Duration::from_millis(50)).await.unwrap_err();
    }
    let server = DevServer::bind(address.to_string()).unwrap();
    let back = Instant::now();
    until("it is delivered", || agent.stats().accepted == 1).await;
    assert!(back.elapsed() < Duration::from_secs(15), "{:?}", back.elapsed());
    assert_eq!(transactions(&server), 1);
}

/// A server that answers each post by a function, and the times of the posts.
async fn answering(
    answer: impl Fn(usize, HeaderMap, Bytes) -> Response<String> + Clone + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Instant>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let posts = Arc::new(Mutex::new(Vec::new()));
    let log = posts.clone();
    let post = axum::routing::post(async move |headers: HeaderMap, body: Bytes| {
        let number = {
            let mut posts = log.lock().unwrap();
            posts.push(Instant::now());
            posts.len()
        };
        answer(number, headers, body)
    });
    let app = Router::new().route("/intake/v2/events", post.clone()).route("/v1/traces", post);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), posts)
}

fn status(status: StatusCode) -> Response<String> {
    Response::builder().status(status).body(String::new()).unwrap()
}

#[tokio::test]
async fn retry_after_is_respected_in_both_forms() {
    let second = Duration::from_secs(1);
    let in_seconds: fn() -> String = || "1".to_owned();
    // dates have whole seconds: this one is at least one second ahead
    let as_a_date: fn() -> String = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    for (_, configure) in [WAYS[0], WAYS[2]] {
        for (refusal, wait) in [(429, in_seconds), (503, in_seconds), (503, as_a_date)] {
            let (url, posts) = answering(move |number, _, _| match number {
                1 => Response::builder().status(refusal).header("retry-after", wait()).body(String::new()).unwrap(),
                _ => status(StatusCode::OK),
            })
            .await;
            let agent = agent(&url, configure);
            drop(agent.start_transaction("job", "scheduled"));
            until("it is refused", || !posts.lock().unwrap().is_empty()).await;
            // a flush does not end the wait
            agent.flush(Duration::from_millis(20)).await.unwrap_err();
            agent.flush(LONG).await.unwrap();
            let posts = posts.lock().unwrap();
            assert_eq!((posts.len(), adds_up(&agent).accepted), (2, 1));
            assert!(posts[1] - posts[0] >= second, "{refusal}: {:?}", posts[1] - posts[0]);
        }
    }
}

/// Text that cannot be compressed to less than half.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        format!("{:08x}", state >> 32)
    };
    (0..100).map(|_| next()).collect()
}

#[tokio::test]
async fn too_large_event_is_dropped_without_its_neighbours() {
    const LIMIT: usize = 3_000;
    let takes = |_: usize, _: HeaderMap, body: Bytes| match body.len() > LIMIT {
        true => status(StatusCode::PAYLOAD_TOO_LARGE),
        false => status(StatusCode::ACCEPTED),
    };
    for (way, configure) in [WAYS[0], WAYS[1]] {
        let (url, _) = answering(takes).await;
        let agent = agent(&url, |agent| configure(agent).api_request_time(LONG));
        for job in 0..60 {
            let transaction = agent.start_transaction(format!("job {job}"), "scheduled");
            let labels = if [0, 33, 34, 59].contains(&job) { 20 } else { 0 };
            for label in 0..labels {
                transaction.set_label(format!("l{label}"), noise(label));
            }
        }
        agent.shutdown(LONG).await.unwrap();
        let stats = adds_up(&agent);
        assert_eq!((stats.accepted, stats.dropped.too_large, stats.rejected), (56, 4, 0), "{way}: {stats}");
    }
}

#[tokio::test]
async fn too_large_otlp_batch_is_halved_repeatedly() {
    let takes = |_: usize, _: HeaderMap, body: Bytes| match body.len() > 2_000 {
        true => status(StatusCode::PAYLOAD_TOO_LARGE),
        false => status(StatusCode::OK),
    };
    let (url, _) = answering(takes).await;
    let agent = agent(&url, |agent| agent.exporter(Exporter::Otlp).api_request_time(LONG));
    for job in 0..300 {
        drop(agent.start_transaction(format!("job {job}"), "scheduled"));
    }
    agent.shutdown(LONG).await.unwrap();
    assert_eq!(adds_up(&agent).accepted, 300, "{}", agent.stats());
}

#[tokio::test]
async fn spans_of_one_request_do_not_push_out_transactions_and_errors() {
    let (url, _) = unused_address();
    let configure = |agent: AgentBuilder| agent.max_queue_size(1000).max_backlog_bytes(0).api_request_size(1024);
    let agent = agent(&url, |agent| configure(agent).transaction_max_spans(-1));
    let subscriber = {
        use tracing_subscriber::layer::SubscriberExt;
        tracing_subscriber::registry().with(agent.tracing_layer())
    };
    let _default = tracing::subscriber::set_default(subscriber);
    let large = agent.start_transaction("large", "scheduled");
    large.in_scope(|| (0..5000).for_each(|_| tracing::info_span!("step").in_scope(|| ())));
    for _ in 0..100 {
        agent.start_transaction("small", "scheduled").capture_error(&std::io::Error::other("disk full"));
    }
    let stats = adds_up(&agent);
    assert_eq!(stats.recorded, 5201, "{stats}");
    assert!(stats.dropped.queue_full > 3000, "{stats}");
    let server = DevServer::bind(url.trim_start_matches("http://")).unwrap();
    agent.flush(LONG).await.unwrap();
    assert_eq!(transactions(&server), 101, "{}", agent.stats());
    assert_eq!(server.store().query(&Query::new().kind(Kind::Error)).total, 100, "{}", agent.stats());
}
