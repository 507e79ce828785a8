//! Does everything arrive, and is it known what did not?

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_apm::{AgentBuilder, Exporter, OtlpProtocol};

use crate::{
    document::Kind,
    server::{DEADLINE, Decoder, agent},
};

#[tokio::test]
async fn a_batch_stays_below_the_limit_of_grpc() {
    let Some(decoder) = Decoder::start("") else { return };
    let agent = agent(|agent| {
        let agent = agent.exporter(Exporter::Otlp).otlp_protocol(OtlpProtocol::Grpc).otlp_endpoint(&*decoder.grpc);
        agent.max_queue_bytes(256 << 20).api_request_size(5 << 20).api_request_time(Duration::from_secs(30))
    });
    // 12 MiB in one go
    for i in 0..200 {
        let transaction = agent.start_transaction(format!("job {i}"), "scheduled");
        for label in 0..60 {
            transaction.label(format!("label {label}"), "x".repeat(1000));
        }
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.recorded), (200, 200), "{stats}");
    assert_eq!(decoder.documents().iter().filter(|document| document.kind() == Kind::Transaction).count(), 200);
}

#[tokio::test]
async fn a_wrong_token_keeps_the_events_and_the_right_one_goes_as_a_header() {
    let Some(decoder) = Decoder::start("right") else { return };
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

/// A certificate for 127.0.0.1 that signs itself, in a file that goes with it.
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

    /// Speaks TLS and passes on what comes; the URL to call in place of `url`.
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
async fn whom_to_trust_is_the_user_s_choice_over_grpc_too() {
    let Some(decoder) = Decoder::start("") else { return };
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
        let trusted: [&dyn Fn(AgentBuilder) -> AgentBuilder; 3] = [
            &|agent| agent.server_ca_cert_file(&ours.file),
            &|agent| agent.otlp_certificate(&ours.file),
            &|agent| agent.verify_server_cert(false),
        ];
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
async fn a_copy_that_cannot_be_delivered_never_holds_up_the_original() {
    let Some(decoder) = Decoder::start("") else { return };
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
async fn every_row_of_the_index_s_traps_is_met_by_otlp_too() {
    let Some(decoder) = Decoder::start("") else { return };
    let agent = agent(|agent| agent.server_url(&*decoder.http).exporter(Exporter::Otlp));
    let transaction = agent.start_transaction("n".repeat(40_000), "scheduled");
    transaction.label(" ", "blank").label("wei", 9_200_000_000_001_i64).label("long", "x".repeat(40_000));
    transaction.custom("", "blank").custom("order.id", 1).custom("order_id", 2);
    transaction.in_scope(|| tracing::info_span!("s", otel.name = "m".repeat(40_000)).in_scope(|| ()));
    agent.shutdown(DEADLINE).await.unwrap();
    let documents = decoder.documents();
    let of = |kind| documents.iter().find(|document| document.kind() == kind).unwrap();
    let transaction = of(Kind::Transaction);
    assert_eq!(transaction.text("/transaction/name").chars().count(), 1024);
    assert_eq!(of(Kind::Span).text("/span/name").chars().count(), 1024);
    assert_eq!(transaction.text("/labels/wei"), "9200000000001");
    assert_eq!(transaction.text("/labels/long").chars().count(), 1024);
    let names: Vec<_> = transaction.0["labels"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["long", "wei"], "no blank key");
    assert_eq!(transaction.0["numeric_labels"], serde_json::json!({ "custom_order_id": 2 }));
}
