//! The agent does not record the spans and failures of its own HTTP clients.
//!
//! This test needs its own binary: it sets the global subscriber, without any filter. It has one agent for each protocol.
//! A span that an exporter records about itself has no parent, so it would be a transaction of the first agent.

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

/// Longer than the test takes on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC_METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Starts a server that fails twice before it accepts events. Returns its port and the accepted lines of the intake protocol.
async fn failing() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = Mutex::new(VecDeque::from([StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR]));
    let (answers, accepted) = (Arc::new(answers), Arc::new(Mutex::new(Vec::new())));
    let log = accepted.clone();
    let app = Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_owned();
        if path == GRPC_METRICS {
            return grpc_success();
        }
        if !["/intake/v2/events", "/v1/traces", GRPC].contains(&&*path) {
            return StatusCode::OK.into_response();
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if let Some(failure) = answers.lock().unwrap().pop_front() {
            return failure.into_response();
        }
        match &*path {
            GRPC => return grpc_success(),
            "/v1/traces" => return StatusCode::OK.into_response(),
            _ => {}
        }
        let lines = String::from_utf8(body.to_vec()).unwrap();
        log.lock().unwrap().extend(lines.lines().skip(1).map(str::to_owned));
        StatusCode::ACCEPTED.into_response()
    });
    std::thread::spawn(move || {
        // a server in another process would have its own subscriber
        let quiet = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(quiet, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            listener_of(&runtime, listener, app);
        });
    });
    (port, accepted)
}

/// An empty message with the status OK.
fn grpc_success() -> Response {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let message = Full::new(Bytes::from_static(&[0; 5])).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([("content-type", "application/grpc")], Body::new(message)).into_response()
}

fn listener_of(runtime: &tokio::runtime::Runtime, listener: TcpListener, app: Router) {
    let listener = listener.into_std().unwrap();
    runtime.block_on(async { axum::serve(TcpListener::from_std(listener).unwrap(), app).await.unwrap() });
}

fn agent(port: u16, configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    // a host name is resolved on other threads, with spans of their own
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
    let (port, accepted) = failing().await;
    let agent = agent(port, |agent| agent);
    // the layer of the agent records no spans below `info`, but HTTP clients have only those
    let tracer = agent.tracer_provider().tracer("client spans");
    let is_below = filter_fn(|metadata| metadata.is_span() && *metadata.level() > Level::INFO);
    let clients = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(is_below);
    let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(clients);
    tracing::subscriber::set_global_default(subscriber).unwrap();

    agent.start_transaction("a job", "scheduled").in_scope(|| tracing::info_span!("work").in_scope(|| ()));
    agent.flush(DEADLINE).await.unwrap();
    let expect_job_and_work = |accepted: &Mutex<Vec<String>>| {
        let lines = accepted.lock().unwrap().clone();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(r#""name":"a job""#)), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(r#""name":"work""#)), "{lines:#?}");
    };
    expect_job_and_work(&accepted);

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
        assert_eq!(agent.stats().recorded, 3, "{protocol:?} recorded its own requests");
    }
    agent.shutdown(DEADLINE).await.unwrap();
    assert_eq!(agent.stats().accepted, 3);
}
