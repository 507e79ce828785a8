//! What goes over the wire, and what comes of it.

use std::{io::Read, sync::Arc, time::Duration};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::server::{Request, Server, answer};
use crate::{
    apm_server::{ServerClient, ServerSettings, ServerVersion},
    config::{CodeOptions, LiveConfig, Secret, ServerUrl},
    elastic::tests::records,
    error::BuildError,
    intake::IntakeExporter,
    pipeline::{Batch, Delivery, Exporter, FailureCause},
    record::Event,
};

fn settings(url: String) -> ServerSettings {
    let variables = [("ELASTIC_APM_SERVICE_NAME", "marketplace"), ("ELASTIC_APM_SERVICE_VERSION", "1.0.0")];
    let config = LiveConfig::new(CodeOptions::default(), variables.into_iter().collect()).0.snapshot();
    let server_url = ServerUrl::parse(&url).unwrap();
    ServerSettings { server_url, server_timeout: Duration::from_secs(10), ..ServerSettings::from_config(&config, None) }
}

fn exporter(settings: &ServerSettings) -> Result<IntakeExporter, BuildError> {
    let client = ServerClient::new(settings)?;
    IntakeExporter::new(client, ServerVersion::default(), LiveConfig::default(), &records::resource())
}

async fn send(settings: ServerSettings) -> Delivery {
    let mut exporter = exporter(&settings).unwrap();
    exporter.add(Event::Transaction(Box::new(records::transaction()))).unwrap();
    exporter.add(Event::Error(Box::new(records::error()))).unwrap();
    let batch = exporter.close().unwrap();
    exporter.send(&batch).await
}

async fn sent(change: impl FnOnce(&mut ServerSettings)) -> (Request, Delivery) {
    let server = Server::answering(answer("202 Accepted", "")).await;
    let mut settings = settings(format!("http://127.0.0.1:{}", server.port));
    change(&mut settings);
    let delivery = send(settings).await;
    (server.received().remove(0), delivery)
}

fn reason(delivery: Delivery) -> String {
    match delivery {
        Delivery::Failed { reason, cause: FailureCause::NoAnswer | FailureCause::REFUSED } => reason,
        other => panic!("not a failure that is tried again: {other:?}"),
    }
}

// spec: transport.md
#[tokio::test]
async fn request_has_the_headers_and_lines_of_the_protocol() {
    let (request, delivery) = sent(|_| {}).await;
    assert_eq!(delivery, Delivery::Decided { rejected: 0, reasons: Vec::new() });
    assert!(request.head.starts_with("POST /intake/v2/events HTTP/1.1"), "{}", request.head);
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("content-encoding"), None, "not to this machine");
    assert_eq!(request.header("authorization"), None);
    let agent = format!("apm-agent-rust/{} (marketplace 1.0.0)", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.header("user-agent"), Some(&*agent));
    let kinds: Vec<_> = std::str::from_utf8(&request.body).unwrap().lines().map(|line| &line[..8]).collect();
    assert_eq!(kinds, ["{\"metada", "{\"transa", "{\"error\""]);
}

// spec: transport.md
#[tokio::test]
async fn body_is_compressed_by_option() {
    let (request, _) = sent(|settings| settings.gzip = Some(true)).await;
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*request.body).read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 3);
}

// spec: transport.md
#[tokio::test]
async fn retried_request_is_complete_and_begins_with_the_metadata() {
    let server = Server::answering(answer("503 Service Unavailable", "")).await;
    let settings = settings(format!("http://127.0.0.1:{}", server.port));
    let mut exporter = exporter(&ServerSettings { gzip: Some(true), ..settings }).unwrap();
    exporter.add(Event::Transaction(Box::new(records::transaction()))).unwrap();
    exporter.add(Event::Error(Box::new(records::error()))).unwrap();
    let batch = exporter.close().unwrap();
    reason(exporter.send(&batch).await);
    reason(exporter.send(&batch).await);
    let batch = batch.without(1);
    reason(exporter.send(&batch).await);
    exporter.add(Event::Transaction(Box::new(records::transaction()))).unwrap();
    let next = exporter.close().unwrap();
    reason(exporter.send(&next).await);
    let streams = server.received().into_iter().map(|request| {
        let mut decoder = flate2::bufread::GzDecoder::new(&*request.body);
        let mut text = String::new();
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "nothing follows the end of the stream");
        text.lines().map(|line| line[2..8].to_owned()).collect::<Vec<_>>()
    });
    let whole = ["metada", "transa", "error\""];
    assert_eq!(streams.collect::<Vec<_>>(), [&whole[..], &whole, &["metada", "error\""], &["metada", "transa"]]);
}

#[tokio::test]
async fn path_of_the_server_url_is_a_prefix() {
    let prefixed = |settings: &mut ServerSettings| {
        settings.server_url = ServerUrl::parse(&settings.server_url.join("/apm/")).unwrap();
    };
    let (request, _) = sent(prefixed).await;
    assert!(request.head.starts_with("POST /apm/intake/v2/events "), "{}", request.head);
}

#[tokio::test]
async fn credentials_are_sent_to_the_server_only() {
    let secret = |text: &str| Some(Secret::new(text.to_owned()));
    for (api_key, header) in [(None, "Bearer hunter2"), (secret("hunter3=="), "ApiKey hunter3==")] {
        let with = |settings: &mut ServerSettings| {
            settings.api_key = api_key.clone();
            settings.secret_token = secret("hunter2");
            settings.server_url =
                ServerUrl::parse(&settings.server_url.join("").replace("//", "//u:hunter4@")).unwrap();
        };
        let (request, _) = sent(with).await;
        assert_eq!(request.header("authorization"), Some(header));
        let mut settings = settings("http://127.0.0.1:1".to_owned());
        with(&mut settings);
        let shown = format!("{settings:?} {:?}", exporter(&settings).unwrap());
        assert!(shown.contains("***") && !shown.contains("hunter"), "{shown}");
    }
}

#[tokio::test]
async fn user_in_the_url_authenticates_without_other_credentials() {
    let with = |settings: &mut ServerSettings| {
        settings.server_url = ServerUrl::parse(&settings.server_url.join("").replace("//", "//ada:pw@")).unwrap();
    };
    let (request, _) = sent(with).await;
    assert_eq!(request.header("authorization"), Some("Basic YWRhOnB3"));
}

#[tokio::test]
async fn token_in_a_response_is_not_logged() {
    let server = Server::answering(answer("401 Unauthorized", r#"{"error":"bad token hunter2"}"#)).await;
    let secret_token = Some(Secret::new("hunter2".to_owned()));
    let delivery = send(ServerSettings { secret_token, ..settings(format!("http://127.0.0.1:{}", server.port)) }).await;
    assert_eq!(reason(delivery), "the server answered 401: bad token ***");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Server::answering(answer("202 Accepted", "")).await;
    let moved =
        format!("HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\n\r\n", target.port);
    let server = Server::answering(Some(moved.into_bytes())).await;
    let reason = reason(send(settings(format!("http://127.0.0.1:{}", server.port))).await);
    assert!(reason.contains("307") && reason.contains("server_url"), "{reason}");
    assert!(reason.contains(&format!("a redirect to http://127.0.0.1:{}/:", target.port)), "{reason}");
    assert!(target.received().is_empty());
}

#[tokio::test]
async fn request_ends_at_the_server_timeout() {
    let server = Server::answering(None).await;
    let mut settings = settings(format!("http://127.0.0.1:{}", server.port));
    settings.server_timeout = Duration::from_millis(100);
    let sent = tokio::time::timeout(Duration::from_secs(9), send(settings)).await.unwrap();
    assert!(reason(sent).starts_with("no answer within server_timeout"));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn connection_failures_are_retried() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let refused = reason(send(settings(format!("http://u:hunter2@127.0.0.1:{nobody}"))).await);
    assert!(refused.starts_with("could not connect") && !refused.contains("hunter2"), "{refused}");
    let unresolved = reason(send(settings("http://no-such-host.invalid:8200".to_owned())).await);
    assert!(unresolved.starts_with("could not connect"), "{unresolved}");
    let server = Server::answering(Some(b"HTTP/1.1 202 Acc".to_vec())).await;
    let mut settings = settings(format!("http://127.0.0.1:{}", server.port));
    settings.server_timeout = Duration::from_millis(200);
    reason(send(settings).await);
}

#[tokio::test]
async fn endless_response_is_read_up_to_a_limit() {
    // 64 MiB are promised and three sent: waiting for the rest would end in the time limit
    let document = "x".repeat(3 << 20);
    let text = format!("{{\"accepted\":1,\"errors\":[{{\"message\":\"bad\",\"document\":\"{document}");
    let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{text}", 64 << 20);
    let server = Server::answering(Some(head.into_bytes())).await;
    let started = std::time::Instant::now();
    let delivery = send(settings(format!("http://127.0.0.1:{}", server.port))).await;
    let reasons = vec![crate::pipeline::Rejection { message: "bad".to_owned() }];
    assert_eq!(delivery, Delivery::Decided { rejected: 1, reasons });
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn success_head_completes_a_batch_whose_body_never_ends() {
    for body in ["", r#"{"accepted":"#] {
        let head = format!("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{body}");
        let server = Server::answering(Some(head.into_bytes())).await;
        let mut settings = settings(format!("http://127.0.0.1:{}", server.port));
        settings.server_timeout = Duration::from_secs(600);
        // two seconds, on a slow machine
        let delivery = tokio::time::timeout(Duration::from_secs(60), send(settings)).await.unwrap();
        assert_eq!(delivery, Delivery::Decided { rejected: 0, reasons: Vec::new() });
    }
}

/// A certificate for 127.0.0.1 that signs itself, as PEM, and a listener that shows it.
fn self_signed() -> (String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn custom_ca_and_disabled_tls_verification() {
    let (pem, acceptor) = self_signed();
    let (other, _) = self_signed();
    let server = Server::start(answer("202 Accepted", ""), Some(acceptor)).await;
    let (ours, others) = (File::with(&pem), File::with(&other));
    let trusting = |verify_server_cert, file: Option<&File>| ServerSettings {
        verify_server_cert,
        server_ca_cert_file: file.map(|file| file.0.clone()),
        ..settings(format!("https://127.0.0.1:{}", server.port))
    };
    let decided = Delivery::Decided { rejected: 0, reasons: Vec::new() };
    assert_eq!(send(trusting(true, Some(&ours))).await, decided);
    assert_eq!(send(trusting(false, None)).await, decided);
    let refused = reason(send(trusting(true, Some(&others))).await);
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(server.received().len(), 2);
}

#[test]
fn unusable_tls_settings_fail_the_build() {
    let new = |path: std::path::PathBuf| {
        let server_ca_cert_file = Some(path);
        let settings = ServerSettings { server_ca_cert_file, ..settings("https://h".to_owned()) };
        exporter(&settings).map(|_| ()).unwrap_err()
    };
    assert!(matches!(new("/no/such/file.pem".into()), BuildError::CaCertUnreadable { .. }));
    for pem in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = File::with(pem);
        let error = new(file.0.clone());
        assert!(matches!(error, BuildError::CaCertInvalid { .. }), "{error}");
    }
}

/// A file that is gone when the test is over.
struct File(std::path::PathBuf);

impl File {
    fn with(text: &str) -> Self {
        let name = format!("tower-apm-{}-{:x}.pem", std::process::id(), crate::record::random_u64());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
