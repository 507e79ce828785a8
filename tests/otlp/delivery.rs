//! Delivery over OTLP, and the count of events that were not delivered.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode},
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_apm::{AgentBuilder, EnvVars, Exporter, OtlpProtocol, devserver::DevServer};

use crate::{
    decoder::{DEADLINE, Decoder, agent},
    document::Kind,
};

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn grpc_batch_stays_below_the_message_size_limit() {
    let decoder = Decoder::start("");
    let agent = agent(|agent| {
        let agent = agent.exporter(Exporter::Otlp).otlp_protocol(OtlpProtocol::Grpc).otlp_endpoint(&*decoder.grpc);
        agent.max_queue_bytes(256 << 20).api_request_size(5 << 20).api_request_time(Duration::from_secs(30))
    });
    // 12 MiB in one go
    for i in 0..200 {
        let transaction = agent.start_transaction(format!("job {i}"), "scheduled");
        for label in 0..60 {
            transaction.set_label(format!("label {label}"), "x".repeat(1000));
        }
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.recorded), (200, 200), "{stats}");
    assert_eq!(decoder.documents().iter().filter(|document| document.kind() == Kind::Transaction).count(), 200);
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn wrong_token_keeps_the_events_and_the_right_token_is_a_header() {
    let decoder = Decoder::start("right");
    for (protocol, url) in [(OtlpProtocol::HttpProtobuf, &decoder.http), (OtlpProtocol::Grpc, &decoder.grpc)] {
        let wrong = agent(|agent| {
            let agent = agent.exporter(Exporter::Otlp).otlp_protocol(protocol).otlp_endpoint(url);
            agent.secret_token("wrong")
        });
        drop(wrong.start_transaction("kept", "scheduled"));
        let unsent = wrong.flush(Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(unsent.waiting, 1, "{protocol:?}");
        let right = agent(|agent| {
            let agent = agent.exporter(Exporter::Otlp).otlp_protocol(protocol).otlp_endpoint(url);
            agent.otlp_headers([("authorization", "Bearer right")])
        });
        drop(right.start_transaction("taken", "scheduled"));
        right.shutdown(DEADLINE).await.unwrap();
        assert_eq!(right.stats().accepted, 1, "{protocol:?}");
    }
}

/// A self-signed certificate for 127.0.0.1. The file is removed when the value is dropped.
struct Certificate {
    file: PathBuf,
    acceptor: TlsAcceptor,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("otlp-{}-{name}.pem", std::process::id()));
        fs::write(&file, made.cert.pem()).unwrap();
        Self { file, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Starts a TLS proxy for `url` and returns the URL of the proxy.
    async fn in_front_of(&self, url: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, behind) = (self.acceptor.clone(), url.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut behind = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        });
        format!("https://{address}")
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn custom_ca_and_disabled_tls_verification_work_over_http_and_grpc() {
    let decoder = Decoder::start("");
    let (ours, other) = (Certificate::new("ours"), Certificate::new("other"));
    for (protocol, url) in [(OtlpProtocol::HttpProtobuf, &decoder.http), (OtlpProtocol::Grpc, &decoder.grpc)] {
        let url = ours.in_front_of(url).await;
        let trusting = |configure: &dyn Fn(AgentBuilder) -> AgentBuilder| {
            let agent = agent(|agent| {
                configure(agent.exporter(Exporter::Otlp).otlp_protocol(protocol).otlp_endpoint(&*url)).gzip(true)
            });
            drop(agent.start_transaction("a job", "scheduled"));
            agent
        };
        let trusted: [&dyn Fn(AgentBuilder) -> AgentBuilder; 3] =
            [&|agent| agent.server_ca_cert_file(&ours.file), &|agent| agent.otlp_certificate(&ours.file), &|agent| {
                agent.verify_server_cert(false)
            }];
        for configure in trusted {
            let agent = trusting(configure);
            agent.shutdown(DEADLINE).await.unwrap();
            assert_eq!(agent.stats().accepted, 1, "{protocol:?}");
        }
        let distrustful = trusting(&|agent| agent.otlp_certificate(&other.file));
        assert_eq!(distrustful.flush(Duration::from_millis(300)).await.unwrap_err().waiting, 1, "{protocol:?}");
    }
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn undeliverable_copy_does_not_delay_the_original() {
    let decoder = Decoder::start("");
    // takes connections and says nothing
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let agent = agent(|agent| {
            let agent = agent.server_url(&*decoder.http).exporter(Exporter::IntakeAndOtlp).otlp_protocol(protocol);
            agent.otlp_endpoint(&*address).otlp_timeout(Duration::from_secs(30))
        });
        for _ in 0..3 {
            drop(agent.start_transaction("a job", "scheduled"));
            agent.flush(DEADLINE).await.unwrap();
        }
        agent.shutdown(DEADLINE).await.unwrap();
        let stats = agent.stats();
        assert_eq!((stats.accepted, stats.copies.accepted, stats.copies.dropped), (3, 0, 3), "{protocol:?} {stats}");
    }
}

#[tokio::test]
async fn closed_grpc_connection_keeps_the_batch_and_fails_flush() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (attempt, mut attempts) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            attempt.send(()).unwrap();
        }
    });
    let agent = agent(|agent| agent.exporter(Exporter::Otlp).otlp_protocol(OtlpProtocol::Grpc).otlp_endpoint(url));
    drop(agent.start_transaction("kept", "scheduled"));
    // a batch that the server itself fails on is given up after five attempts
    let mut seen = 0;
    while seen < 8 {
        assert_eq!(agent.flush(Duration::from_millis(200)).await.unwrap_err().waiting, 1);
        while attempts.try_recv().is_ok() {
            seen += 1;
        }
    }
    let stats = agent.stats();
    assert_eq!((stats.waiting, stats.dropped.total()), (1, 0), "{stats}");
}

/// Starts an OTLP server with these responses. Returns its URL and the received requests: path and headers.
pub(crate) async fn answering(answers: Vec<(u16, Vec<u8>)>) -> (String, Arc<Mutex<Vec<(String, HeaderMap)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answers, received) = (Arc::new(Mutex::new(VecDeque::from(answers))), Arc::new(Mutex::new(Vec::new())));
    let log = received.clone();
    let app = Router::new().fallback(async move |request: Request| {
        log.lock().unwrap().push((request.uri().path().to_owned(), request.headers().clone()));
        let (status, body) = answers.lock().unwrap().pop_front().unwrap_or((200, Vec::new()));
        (StatusCode::from_u16(status).unwrap(), body)
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), received)
}

#[tokio::test]
async fn partial_success_over_http_is_counted() {
    // one rejected span, and why
    let partial = [&[0x0a, 11, 0x08, 1, 0x12, 7][..], b"bad ids"].concat();
    let (url, _) = answering(vec![(200, partial)]).await;
    let agent = agent(|agent| agent.exporter(Exporter::Otlp).otlp_endpoint(url).api_request_time(DEADLINE));
    drop(agent.start_transaction("one", "scheduled"));
    drop(agent.start_transaction("other", "scheduled"));
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.rejected), (1, 1), "{stats}");
}

#[tokio::test]
async fn batch_is_retried_after_503_and_rejected_after_400() {
    let (url, received) = answering(vec![(503, Vec::new()), (200, Vec::new()), (400, Vec::new())]).await;
    let agent = agent(|agent| agent.exporter(Exporter::Otlp).otlp_endpoint(url));
    drop(agent.start_transaction("first", "scheduled"));
    agent.flush(DEADLINE).await.unwrap();
    drop(agent.start_transaction("second", "scheduled"));
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.waiting), (1, 1, 0), "{stats}");
    assert_eq!(received.lock().unwrap().len(), 3, "only the worker retries");
}

/// Starts an OTLP server that refuses requests of more than `limit` bytes.
async fn narrow(limit: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(async move |body: axum::body::Bytes| match body.len() > limit {
        true => StatusCode::PAYLOAD_TOO_LARGE,
        false => StatusCode::OK,
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[tokio::test]
async fn too_large_span_is_rejected_without_its_neighbours() {
    let url = narrow(20_000).await;
    let agent = agent(|agent| agent.exporter(Exporter::Otlp).otlp_endpoint(url).api_request_time(DEADLINE));
    for i in 0..20 {
        let transaction = agent.start_transaction(format!("job {i}"), "scheduled");
        let labels = if i == 13 { 100 } else { 1 };
        (0..labels).for_each(|label| drop(transaction.set_label(format!("l{label}"), "x".repeat(1000)).clone()));
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.rejected), (19, 1), "{stats}");
}

// spec: otel-distribution.md
#[tokio::test]
async fn otel_variables_set_endpoint_headers_compression_and_timeout() {
    let (url, received) = answering(Vec::new()).await;
    let environment = EnvVars::from_iter([
        ("ELASTIC_APM_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{url}/ingest/here")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi,x-tenant=7"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
    ]);
    // the endpoint for traces is not used for metrics
    let agent = agent(|agent| agent.env_vars(environment).metrics_interval(DEADLINE));
    assert_eq!(agent.warnings().collect::<Vec<_>>(), Vec::<String>::new());
    drop(agent.start_transaction("a job", "scheduled"));
    agent.shutdown(DEADLINE).await.unwrap();
    let received = received.lock().unwrap();
    let [(path, headers)] = &received[..] else { panic!("{received:?}") };
    assert_eq!(path, "/ingest/here", "the path is used unchanged, and no APM Server is detected");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("authorization"), "Basic YTpi");
    assert_eq!(header("x-tenant"), "7");
    assert_eq!(header("content-type"), "application/x-protobuf");
    assert_eq!(header("content-encoding"), "gzip");
    assert!(header("user-agent").starts_with("elastic-otel-rust/"), "{headers:?}");
    assert!(header("user-agent").contains(" OTel-OTLP-Exporter-Rust/"), "{headers:?}");
}

// spec: otel-distribution.md
#[tokio::test]
async fn grpc_request_has_user_agent_and_authorization() {
    let (url, received) = answering(Vec::new()).await;
    let agent = agent(|agent| {
        agent.exporter(Exporter::Otlp).otlp_protocol(OtlpProtocol::Grpc).otlp_endpoint(url).secret_token("right")
    });
    drop(agent.start_transaction("a job", "scheduled"));
    // the response is not gRPC
    let deadline = Instant::now() + Duration::from_secs(30);
    while received.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nothing is sent");
        agent.flush(Duration::from_millis(200)).await.unwrap_err();
    }
    let received = received.lock().unwrap();
    let (path, headers) = &received[0];
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agents: Vec<_> =
        header("user-agent").split_whitespace().map(|agent| agent.split('/').next().unwrap()).collect();
    assert_eq!(agents, ["elastic-otel-rust", "tonic"], "{headers:?}");
    assert_eq!(header("authorization"), "Bearer right");
}

/// Runs in another process, because environment variables apply to the whole process.
#[test]
fn unsupported_otel_compression_variable_loses_no_events() {
    for name in
        ["delivery::partial_success_over_http_is_counted", "delivery::grpc_request_has_user_agent_and_authorization"]
    {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name]).env("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{name}: {printed}");
    }
}

#[tokio::test]
async fn invalid_exporter_option_falls_back_to_intake_with_a_warning() {
    let environment = EnvVars::from_iter([("ELASTIC_APM_EXPORTER", "jaeger")]);
    let agent = agent(|agent| agent.env_vars(environment).disable_send(true));
    let warnings: Vec<_> = agent.warnings().collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains(r#"ELASTIC_APM_EXPORTER="jaeger" is not allowed"#), "{warnings:?}");
    assert!(warnings[0].contains("`otlp`") && warnings[0].contains("using \"intake\""), "{warnings:?}");
}

#[tokio::test]
async fn values_without_an_otlp_field_are_counted() {
    let server = DevServer::builder().bind("127.0.0.1:0").unwrap();
    for (exporter, lost) in [(Exporter::Otlp, 7), (Exporter::Intake, 0), (Exporter::IntakeAndOtlp, 0)] {
        let agent = agent(|agent| agent.server_url(server.url()).exporter(exporter));
        let many: BTreeMap<_, _> = (0..70).map(|n| (format!("k{n}"), n)).collect();
        drop(agent.start_transaction("many", "scheduled").set_custom_context("map", &many).clone());
        let app = Router::new().layer(agent.layer());
        let request = Request::get("/").header("x-invented", "1").header("accept", "*/*").body(Body::empty()).unwrap();
        drop(app.oneshot(request).await.unwrap());
        agent.shutdown(DEADLINE).await.unwrap();
        let stats = agent.stats();
        assert_eq!((stats.dropped_values, stats.accepted), (lost, 2), "{exporter:?}: {stats}");
    }
}
