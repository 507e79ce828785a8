//! Connections through a proxy.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::*;

const LIMITS: RequestLimits =
    RequestLimits { total: Duration::from_secs(60), success_body: Duration::from_secs(60), body_bytes: 1000 };

/// A proxy on this machine, and the heads of the requests that it got, in lower case. It forwards nothing: it answers
/// plain requests itself, and connects every tunnel to `target`.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(target: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, target.clone(), log.clone()));
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// A client whose environment names this proxy for everything but `direct.invalid`.
    fn client(&self, trust: Trust) -> HttpClient {
        let matcher = Matcher::builder().all(format!("http://ada:pw@{}", self.address)).no("direct.invalid").build();
        let proxies = Proxies::matching(matcher);
        let tls = Tls::new(trust, HttpVersion::Http1);
        HttpClient::new(Connector::new(proxies.clone(), tls, HttpVersion::Http1, LIMITS.total), proxies)
    }
}

async fn serve(mut stream: TcpStream, target: Option<String>, log: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let is_tunnel = head.starts_with("connect ");
    log.lock().unwrap().push(head);
    match target.filter(|_| is_tunnel) {
        Some(target) => {
            let mut behind = TcpStream::connect(target).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
        }
        None => drop(stream.write_all(b"HTTP/1.1 407 Denied\r\nContent-Length: 0\r\n\r\n").await),
    }
}

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

/// A server with a certificate for `apm.invalid`, its address, the certificate, and the headers of its requests.
async fn https_server() -> (String, Trust, Arc<Mutex<Vec<HeaderMap>>>) {
    let made = rcgen::generate_simple_self_signed(["apm.invalid".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = received.clone();
    let app = axum::Router::new().fallback(async move |headers: HeaderMap| {
        log.lock().unwrap().push(headers);
        StatusCode::ACCEPTED
    });
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = plain.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(plain, app).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut behind = TcpStream::connect(behind).await.unwrap();
            tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut stream, &mut behind).await) });
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (address, Trust::Only(Arc::new(roots)), received)
}

#[tokio::test]
async fn plain_http_proxy_request_has_the_absolute_url_and_credentials() {
    let proxy = Proxy::start(None).await;
    let answer = proxy.client(Trust::System).send(get("http://apm.invalid:8200/intake?a=b"), LIMITS).await.unwrap();
    assert_eq!(answer.status, 407);
    let heads = proxy.heads();
    let [head] = &heads[..] else { panic!("{heads:?}") };
    assert!(head.starts_with("get http://apm.invalid:8200/intake?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic ywrhonb3\r\n"), "{head}");
}

#[tokio::test]
async fn https_uses_a_proxy_tunnel_and_sends_credentials_to_the_proxy_only() {
    let (target, trust, received) = https_server().await;
    let proxy = Proxy::start(Some(target)).await;
    let answer = proxy.client(trust).send(get("https://apm.invalid/"), LIMITS).await.unwrap();
    assert_eq!(answer.status, 202);
    let heads = proxy.heads();
    let [head] = &heads[..] else { panic!("{heads:?}") };
    assert!(head.starts_with("connect apm.invalid:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic ywrhonb3\r\n"), "{head}");
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 1);
    assert!(!received[0].contains_key("proxy-authorization"), "{received:?}");
}

#[tokio::test]
async fn connection_error_contains_the_proxy_without_credentials() {
    let proxy = Proxy::start(None).await;
    let refused = proxy.client(Trust::System).send(get("https://apm.invalid"), LIMITS).await.unwrap_err();
    let wanted = format!("through the proxy http://{}/: tunnel error: proxy authorization required", proxy.address);
    assert!(refused.starts_with("could not connect") && refused.ends_with(&wanted), "{refused}");
    assert!(!refused.contains("pw"), "{refused}");
    let matcher = Matcher::builder().all("socks5://127.0.0.1:1").build();
    let proxies = Proxies::matching(matcher);
    let tls = Tls::new(Trust::System, HttpVersion::Http1);
    let client = HttpClient::new(Connector::new(proxies.clone(), tls, HttpVersion::Http1, LIMITS.total), proxies);
    let socks = client.send(get("http://apm.invalid"), LIMITS).await.unwrap_err();
    assert!(socks.contains("https"), "{socks}");
}

#[tokio::test]
async fn no_proxy_hosts_bypass_the_proxy() {
    let proxy = Proxy::start(None).await;
    let direct = proxy.client(Trust::System).send(get("http://direct.invalid/"), LIMITS).await.unwrap_err();
    assert!(direct.starts_with("could not connect"), "{direct}");
    assert_eq!(proxy.heads(), [""; 0]);
}

#[tokio::test]
async fn http2_without_tls_uses_a_proxy_tunnel() {
    for (url, authority) in
        [("http://apm.invalid/", "apm.invalid:80"), ("http://apm.invalid:4317/", "apm.invalid:4317")]
    {
        let (target, ..) = https_server().await;
        let proxy = Proxy::start(Some(target)).await;
        let proxies = Proxies::matching(Matcher::builder().all(format!("http://{}", proxy.address)).build());
        let tls = Tls::new(Trust::System, HttpVersion::Http2);
        let mut connector = Connector::new(proxies, tls, HttpVersion::Http2, LIMITS.total);
        connector.call(Uri::from_static(url)).await.unwrap();
        assert!(proxy.heads()[0].starts_with(&format!("connect {authority} http/1.1\r\n")), "{:?}", proxy.heads());
    }
}
