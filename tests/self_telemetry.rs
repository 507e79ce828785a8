//! The agent tells nothing of itself, however much its own HTTP client says, and however badly that goes.
//!
//! A binary of its own: it sets the global subscriber, without any filter. It has one agent for each way of telling, and
//! what one of them would tell of itself, being a span without a parent, would be a transaction of the first.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Full};
use opentelemetry::{Context, trace::TracerProvider};
use tokio::net::TcpListener;
use tower_apm::{Agent, AgentBuilder, EnvVars, Exporter, OtlpProtocol};
use tracing::Level;
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt};

/// Nothing takes this long, on no machine.
const DEADLINE: Duration = Duration::from_secs(60);

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC_METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// A server that fails a few times before it takes anything; the port, and the lines of events that it took. What comes by
/// OTLP it takes unread.
async fn failing() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = Mutex::new(VecDeque::from([StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR]));
    let (answers, taken) = (Arc::new(answers), Arc::new(Mutex::new(Vec::new())));
    let log = taken.clone();
    let app = Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_owned();
        if path == GRPC_METRICS {
            return taken_by_grpc();
        }
        if !["/intake/v2/events", "/v1/traces", GRPC].contains(&&*path) {
            return StatusCode::OK.into_response();
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if let Some(failure) = answers.lock().unwrap().pop_front() {
            return failure.into_response();
        }
        match &*path {
            GRPC => return taken_by_grpc(),
            "/v1/traces" => return StatusCode::OK.into_response(),
            _ => {}
        }
        let lines = String::from_utf8(body.to_vec()).unwrap();
        log.lock().unwrap().extend(lines.lines().skip(1).map(str::to_owned));
        StatusCode::ACCEPTED.into_response()
    });
    std::thread::spawn(move || {
        // a server of another process would not be in the same subscriber
        let quiet = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(quiet, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            listener_of(&runtime, listener, app);
        });
    });
    (port, taken)
}

/// An empty message, and the status that all went well.
fn taken_by_grpc() -> Response {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let message = Full::new(Bytes::from_static(&[0; 5])).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([("content-type", "application/grpc")], Body::new(message)).into_response()
}

fn listener_of(runtime: &tokio::runtime::Runtime, listener: TcpListener, app: Router) {
    let listener = listener.into_std().unwrap();
    runtime.block_on(async { axum::serve(TcpListener::from_std(listener).unwrap(), app).await.unwrap() });
}

fn agent(port: u16, configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    // by name: names are looked up on further threads, each with spans of its own
    let agent = Agent::builder().env_vars(EnvVars::empty()).server_url(format!("http://localhost:{port}"));
    let agent = agent
        .service_name("silence")
        .gzip(false)
        .metrics_interval(Duration::ZERO)
        .api_request_time(Duration::from_millis(20));
    configure(agent).build().unwrap()
}

// spec: logging.md, transport.md
#[tokio::test]
async fn agent_does_not_record_its_own_requests() {
    let (port, taken) = failing().await;
    let agent = agent(port, |agent| agent);
    // the agent's own layer takes no spans below `info`, and clients of HTTP have no others
    let tracer = agent.tracer_provider().tracer("what clients say");
    let is_below = filter_fn(|metadata| metadata.is_span() && *metadata.level() > Level::INFO);
    let clients = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(is_below);
    let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(clients);
    tracing::subscriber::set_global_default(subscriber).unwrap();

    agent.start_transaction("a job", "scheduled").in_scope(|| tracing::info_span!("work").in_scope(|| ()));
    agent.flush(DEADLINE).await.unwrap();
    let told = |taken: &Mutex<Vec<String>>| {
        let lines = taken.lock().unwrap().clone();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(r#""name":"a job""#)), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(r#""name":"work""#)), "{lines:#?}");
    };
    told(&taken);

    let failure = io::Error::other("connection reset");
    {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        tracing::error!(error = &failure as &dyn std::error::Error, "a client of the agent's own failed");
    }
    assert_eq!(agent.stats().recorded, 2);
    tracing::error!(error = &failure as &dyn std::error::Error, "a client of the service's failed");
    assert_eq!(agent.stats().recorded, 3);

    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let (port, _) = failing().await;
        let otlp = self::agent(port, |agent| agent.exporter(Exporter::Otlp).otlp_protocol(protocol));
        otlp.start_transaction("a job", "scheduled").in_scope(|| tracing::info_span!("work").in_scope(|| ()));
        otlp.flush(DEADLINE).await.unwrap();
        otlp.shutdown(DEADLINE).await.unwrap();
        let stats = otlp.stats();
        assert_eq!((stats.recorded, stats.accepted), (2, 2), "{protocol:?}: {stats}");
        assert_eq!(agent.stats().recorded, 3, "{protocol:?} told of itself");
    }
    agent.shutdown(DEADLINE).await.unwrap();
    assert_eq!(agent.stats().accepted, 3);
}
