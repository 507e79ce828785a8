//! Failures of metrics and log records do not affect spans, and are counted.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower_apm::{Agent, EnvVars, Exporter, OtlpProtocol, devserver::DevServer};
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    decoder::{DEADLINE, agent, warnings},
    delivery::answering,
};

#[tokio::test]
async fn traces_endpoint_alone_disables_log_sending_with_a_warning() {
    for (exporter, warned) in [(Exporter::Otlp, 1), (Exporter::IntakeAndOtlp, 0)] {
        let environment = EnvVars::from_iter([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")]);
        let agent = agent(|agent| agent.env_vars(environment).exporter(exporter).log_sending(true));
        let warnings: Vec<_> = agent.warnings().filter(|warning| warning.contains("log_sending")).collect();
        assert_eq!(warnings.len(), warned, "{warnings:?}");
        let subscriber = tracing_subscriber::registry().with(agent.log_layer());
        tracing::subscriber::with_default(subscriber, || tracing::info!("a line"));
        assert_eq!(agent.stats().recorded, 1 - warned as u64);
    }
}

/// The response of a Collector to metrics and log records.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// The status of HTTP and the code of gRPC.
    Status(StatusCode, &'static str),
    NoResponse,
}

/// Starts a Collector that accepts only traces. Returns its URL and the paths of its requests.
async fn traces_only_collector(refusal: Refusal) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, received) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let log = received.clone();
    let app = Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_lowercase();
        let is_of_traces = path.contains("trace");
        log.lock().unwrap().push(path);
        let (http, grpc) = match refusal {
            _ if is_of_traces => (StatusCode::OK, "0"),
            Refusal::Status(http, grpc) => (http, grpc),
            Refusal::NoResponse => std::future::pending().await,
        };
        if request.headers().get("content-type").is_none_or(|kind| kind != "application/grpc") {
            return http.into_response();
        }
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), grpc.parse().unwrap())]);
        let message = http_body_util::Full::new(Bytes::from_static(&[0; 5]));
        let body = Body::new(message.with_trailers(std::future::ready(Some(Ok(trailers)))));
        ([("content-type", "application/grpc")], body).into_response()
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), received)
}

fn log_sending_agent(protocol: OtlpProtocol, url: String) -> (Agent, tracing::Dispatch) {
    let agent = agent(|agent| {
        let agent = agent.exporter(Exporter::Otlp).otlp_protocol(protocol).otlp_endpoint(url);
        agent.log_sending(true).metrics_interval(DEADLINE)
    });
    let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(agent.log_layer());
    (agent, subscriber.into())
}

fn requests(received: &Mutex<Vec<String>>, of: &str) -> usize {
    received.lock().unwrap().iter().filter(|path| path.contains(of)).count()
}

#[tokio::test]
async fn refused_metrics_and_logs_do_not_delay_spans() {
    let refusals = [
        Refusal::Status(StatusCode::NOT_FOUND, "12"),
        Refusal::Status(StatusCode::SERVICE_UNAVAILABLE, "14"),
        Refusal::Status(StatusCode::FORBIDDEN, "7"),
        Refusal::NoResponse,
    ];
    for (refusal, protocol) in
        refusals.into_iter().flat_map(|refusal| [(refusal, OtlpProtocol::HttpProtobuf), (refusal, OtlpProtocol::Grpc)])
    {
        let (url, received) = traces_only_collector(refusal).await;
        let (agent, subscriber) = log_sending_agent(protocol, url);
        drop(agent.start_transaction("a job", "scheduled"));
        agent.flush(DEADLINE).await.unwrap();
        for line in ["first", "second"] {
            tracing::dispatcher::with_default(&subscriber, || {
                agent.start_transaction("a job", "scheduled").in_scope(|| tracing::info!("{line}"));
            });
            agent.flush(DEADLINE).await.unwrap();
        }
        agent.shutdown(DEADLINE).await.unwrap();
        let stats = agent.stats();
        assert_eq!((stats.accepted, stats.rejected), (3, 0), "{refusal:?} {protocol:?}: {stats}");
        assert_eq!(stats.dropped.unsupported, stats.recorded - 3, "{refusal:?} {protocol:?}: {stats}");
        assert_eq!((requests(&received, "log"), requests(&received, "metric")), (1, 1), "{refusal:?} {protocol:?}");
    }
    for words in [["log lines:", "403", "30 s"], ["metrics:", "gRPC", "Unimplemented"]] {
        assert!(!warnings(&words).is_empty(), "{words:?}");
    }
}

#[tokio::test]
async fn refused_copies_of_log_records_are_counted() {
    let server = DevServer::builder().bind("127.0.0.1:0").unwrap();
    let (url, _) = traces_only_collector(Refusal::Status(StatusCode::NOT_FOUND, "12")).await;
    let agent = agent(|agent| {
        agent.server_url(server.url()).exporter(Exporter::IntakeAndOtlp).otlp_endpoint(url).log_sending(true)
    });
    let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(agent.log_layer());
    let subscriber = tracing::Dispatch::new(subscriber);
    for line in ["given up", "not sent in the first place"] {
        tracing::dispatcher::with_default(&subscriber, || {
            agent.start_transaction("a job", "scheduled").in_scope(|| tracing::info!("{line}"));
        });
        agent.flush(DEADLINE).await.unwrap();
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let (stats, copies) = (agent.stats(), agent.stats().copies);
    assert_eq!((stats.accepted, stats.dropped.total()), (4, 0), "{stats}");
    assert_eq!((copies.accepted, copies.rejected, copies.dropped), (2, 0, 2), "{stats}");
}

#[tokio::test]
async fn refused_log_record_before_the_first_span_does_not_delay_it() {
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let (url, received) = traces_only_collector(Refusal::Status(StatusCode::NOT_FOUND, "12")).await;
        let (agent, subscriber) = log_sending_agent(protocol, url);
        tracing::dispatcher::with_default(&subscriber, || tracing::info!("starting"));
        agent.flush(DEADLINE).await.unwrap();
        drop(agent.start_transaction("a job", "scheduled"));
        agent.flush(DEADLINE).await.unwrap();
        let stats = agent.stats();
        assert_eq!((stats.accepted, stats.dropped.unsupported, stats.recorded), (1, 1, 2), "{stats}");
        assert_eq!((requests(&received, "log"), requests(&received, "trace")), (1, 2), "a probe and a span");
    }
}

#[tokio::test]
async fn log_records_are_retried_while_spans_are_refused_too() {
    let refused = || (503, Vec::new());
    let (url, received) = answering(vec![refused(), refused(), refused(), refused()]).await;
    let (agent, subscriber) = log_sending_agent(OtlpProtocol::HttpProtobuf, url);
    tracing::dispatcher::with_default(&subscriber, || tracing::info!("starting"));
    let deadline = Instant::now() + DEADLINE;
    while agent.stats().waiting > 0 {
        assert!(Instant::now() < deadline, "{}", agent.stats());
        // a flush ends the worker's back-off
        let _ = agent.flush(Duration::from_millis(100)).await;
    }
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.recorded), (1, 1), "{stats}");
    let received = received.lock().unwrap();
    let paths: Vec<_> = received.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/v1/logs", "/v1/traces", "/v1/logs", "/v1/traces", "/v1/logs"]);
}

#[tokio::test]
async fn hanging_metrics_and_logs_lose_no_spans_at_shutdown() {
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let (url, received) = traces_only_collector(Refusal::NoResponse).await;
        let (agent, subscriber) = log_sending_agent(protocol, url);
        tracing::dispatcher::with_default(&subscriber, || {
            agent.start_transaction("a job", "scheduled").in_scope(|| tracing::info!("a line"));
        });
        let deadline = Instant::now() + DEADLINE;
        while requests(&received, "log") == 0 {
            assert!(Instant::now() < deadline, "{}", agent.stats());
            let _ = agent.flush(Duration::from_millis(10)).await;
        }
        (0..50).for_each(|_| drop(agent.start_transaction("a job", "scheduled")));
        // metrics in their own batch wait longer
        let _ = agent.shutdown(Duration::from_secs(4)).await;
        let stats = agent.stats();
        assert_eq!((stats.accepted, requests(&received, "log")), (51, 1), "{protocol:?}: {stats}");
        assert_eq!(stats.dropped.total() + stats.accepted, stats.recorded, "{protocol:?}: {stats}");
    }
}
