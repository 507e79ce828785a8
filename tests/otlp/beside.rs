//! Does trouble with metrics and log lines stay with those, and is it known what became of them?

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
    delivery::answering,
    server::{DEADLINE, agent, warnings},
};

#[tokio::test]
async fn log_lines_that_an_endpoint_for_traces_will_not_get_are_warned_of() {
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

/// What a Collector says to all but traces.
#[derive(Debug, Clone, Copy)]
enum Beside {
    /// By HTTP, or as a code of gRPC.
    Says(StatusCode, &'static str),
    Nothing,
}

/// A Collector that takes traces alone, and the paths that it was asked for.
async fn collector_of_traces(beside: Beside) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, received) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let log = received.clone();
    let app = Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_lowercase();
        let is_of_traces = path.contains("trace");
        log.lock().unwrap().push(path);
        let (http, grpc) = match beside {
            _ if is_of_traces => (StatusCode::OK, "0"),
            Beside::Says(http, grpc) => (http, grpc),
            Beside::Nothing => std::future::pending().await,
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

fn sends_lines(protocol: OtlpProtocol, url: String) -> (Agent, tracing::Dispatch) {
    let agent = agent(|agent| {
        let agent = agent.exporter(Exporter::Otlp).otlp_protocol(protocol).otlp_endpoint(url);
        agent.log_sending(true).metrics_interval(DEADLINE)
    });
    let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(agent.log_layer());
    (agent, subscriber.into())
}

fn asked(received: &Mutex<Vec<String>>, of: &str) -> usize {
    received.lock().unwrap().iter().filter(|path| path.contains(of)).count()
}

#[tokio::test]
async fn what_a_server_does_not_take_beside_spans_holds_up_nothing() {
    let says = [
        Beside::Says(StatusCode::NOT_FOUND, "12"),
        Beside::Says(StatusCode::SERVICE_UNAVAILABLE, "14"),
        Beside::Says(StatusCode::FORBIDDEN, "7"),
        Beside::Nothing,
    ];
    for (beside, protocol) in
        says.into_iter().flat_map(|beside| [(beside, OtlpProtocol::HttpProtobuf), (beside, OtlpProtocol::Grpc)])
    {
        let (url, received) = collector_of_traces(beside).await;
        let (agent, subscriber) = sends_lines(protocol, url);
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
        assert_eq!((stats.accepted, stats.rejected), (3, 0), "{beside:?} {protocol:?}: {stats}");
        assert_eq!(stats.dropped.unsupported, stats.recorded - 3, "{beside:?} {protocol:?}: {stats}");
        assert_eq!((asked(&received, "log"), asked(&received, "metric")), (1, 1), "{beside:?} {protocol:?}");
    }
    for words in [["log lines:", "403", "30 s"], ["metrics:", "gRPC", "Unimplemented"]] {
        assert!(!warnings(&words).is_empty(), "{words:?}");
    }
}

#[tokio::test]
async fn copies_that_a_server_does_not_take_are_counted() {
    let server = DevServer::builder().bind("127.0.0.1:0").unwrap();
    let (url, _) = collector_of_traces(Beside::Says(StatusCode::NOT_FOUND, "12")).await;
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
async fn a_line_before_the_first_span_holds_that_up_no_more() {
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let (url, received) = collector_of_traces(Beside::Says(StatusCode::NOT_FOUND, "12")).await;
        let (agent, subscriber) = sends_lines(protocol, url);
        tracing::dispatcher::with_default(&subscriber, || tracing::info!("starting"));
        agent.flush(DEADLINE).await.unwrap();
        drop(agent.start_transaction("a job", "scheduled"));
        agent.flush(DEADLINE).await.unwrap();
        let stats = agent.stats();
        assert_eq!((stats.accepted, stats.dropped.unsupported, stats.recorded), (1, 1, 2), "{stats}");
        assert_eq!(
            (asked(&received, "log"), asked(&received, "trace")),
            (1, 2),
            "asked whether it takes spans, and a span"
        );
    }
}

#[tokio::test]
async fn lines_wait_while_the_server_takes_no_spans_either() {
    let away = || (503, Vec::new());
    let (url, received) = answering(vec![away(), away(), away(), away()]).await;
    let (agent, subscriber) = sends_lines(OtlpProtocol::HttpProtobuf, url);
    tracing::dispatcher::with_default(&subscriber, || tracing::info!("starting"));
    let deadline = Instant::now() + DEADLINE;
    while agent.stats().waiting > 0 {
        assert!(Instant::now() < deadline, "{}", agent.stats());
        // whoever waits ends the worker's back-off
        let _ = agent.flush(Duration::from_millis(100)).await;
    }
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.recorded), (1, 1), "{stats}");
    let received = received.lock().unwrap();
    let paths: Vec<_> = received.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/v1/logs", "/v1/traces", "/v1/logs", "/v1/traces", "/v1/logs"]);
}

#[tokio::test]
async fn what_hangs_beside_spans_costs_none_at_a_shutdown() {
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let (url, received) = collector_of_traces(Beside::Nothing).await;
        let (agent, subscriber) = sends_lines(protocol, url);
        tracing::dispatcher::with_default(&subscriber, || {
            agent.start_transaction("a job", "scheduled").in_scope(|| tracing::info!("a line"));
        });
        let deadline = Instant::now() + DEADLINE;
        while asked(&received, "log") == 0 {
            assert!(Instant::now() < deadline, "{}", agent.stats());
            let _ = agent.flush(Duration::from_millis(10)).await;
        }
        (0..50).for_each(|_| drop(agent.start_transaction("a job", "scheduled")));
        // where the metrics are in a batch of their own, they hang for longer
        let _ = agent.shutdown(Duration::from_secs(4)).await;
        let stats = agent.stats();
        assert_eq!((stats.accepted, asked(&received, "log")), (51, 1), "{protocol:?}: {stats}");
        assert_eq!(stats.dropped.total() + stats.accepted, stats.recorded, "{protocol:?}: {stats}");
    }
}
