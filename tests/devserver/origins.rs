//! Only the server's own page and programs get an answer. Any page that the user opens can send requests to this machine.

use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message;
use tower_apm::devserver::DevServer;

use crate::{
    client::{Answer, Connection, NDJSON, PROTOBUF, lines},
    otlp::traces,
    spec::{METADATA, SPAN},
};

const CONFIG: &[u8] = br#"{"settings":{"recording":"false"}}"#;

fn server() -> DevServer {
    DevServer::bind("127.0.0.1:0").unwrap()
}

/// One request with these headers and no others.
fn ask(server: &DevServer, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut connection = Connection::open(([127, 0, 0, 1], server.addr().port()).into());
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{line} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    connection.send([head.as_bytes(), body].concat());
    connection.answer().unwrap()
}

/// Method and path, headers, and a body that is taken.
type Route = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>);

fn routes() -> Vec<Route> {
    let otlp = || (vec![PROTOBUF], traces().encode_to_vec());
    vec![
        ("POST /intake/v2/events", vec![NDJSON], lines(&[METADATA, SPAN]).into_bytes()),
        ("POST /v1/traces", otlp().0, otlp().1),
        ("POST /v1/metrics", vec![PROTOBUF], Vec::new()),
        ("POST /v1/logs", vec![PROTOBUF], Vec::new()),
        ("GET /config/v1/agents?service.name=shop", vec![], Vec::new()),
        ("POST /config/v1/agents", vec![], br#"{"service":{"name":"shop"}}"#.to_vec()),
        ("PUT /api/agent-config", vec![], CONFIG.to_vec()),
        ("GET /api/agent-config", vec![], Vec::new()),
        ("DELETE /api/agent-config?service.name=shop", vec![], Vec::new()),
        ("GET /api/events", vec![], Vec::new()),
        ("DELETE /api/events", vec![], Vec::new()),
        ("GET /api/stats", vec![], Vec::new()),
        ("GET /", vec![], Vec::new()),
        ("GET /ui", vec![], Vec::new()),
        ("GET /ui/page.js", vec![], Vec::new()),
        ("GET /ui/page.css", vec![], Vec::new()),
        ("OPTIONS /intake/v2/events", vec![], Vec::new()),
        ("GET /nowhere", vec![], Vec::new()),
    ]
}

#[test]
fn pages_of_other_origins_are_refused_on_every_route() {
    let server = server();
    let own = format!("localhost:{}", server.addr().port());
    let foreign = [
        ("Origin", "https://evil.example".to_owned()),
        ("Origin", "null".to_owned()),
        ("Origin", "http://localhost:3000".to_owned()),
        ("Sec-Fetch-Site", "cross-site".to_owned()),
        ("Sec-Fetch-Site", "same-site".to_owned()),
    ];
    for (line, headers, body) in routes() {
        for (name, value) in &foreign {
            let headers = [&[("Host", own.as_str()), (*name, value)][..], &headers].concat();
            let answer = ask(&server, line, &headers, &body);
            assert_eq!(answer.status, 403, "{line} with {name}: {value}");
            assert!(answer.json()["error"].as_str().unwrap().starts_with("Origin:"), "{answer:?}");
            assert!(answer.header("access-control-allow-origin").is_none());
        }
        let rebound = [&[("Host", "rebound.example")][..], &headers].concat();
        let answer = ask(&server, line, &rebound, &body);
        assert_eq!(answer.status, 403, "{line} by another name");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("Host:"), "{answer:?}");
    }
    let stats = server.store().stats();
    assert_eq!((stats.requests, stats.held, stats.version), (0, 0, 0), "they did nothing");
    assert!(server.requests("").is_empty());
}

#[test]
fn own_page_and_programs_are_answered_on_every_route() {
    let server = server();
    let own = format!("localhost:{}", server.addr().port());
    let origin = format!("http://{own}");
    for (line, headers, body) in routes() {
        for from in [&[][..], &[("Origin", origin.as_str())], &[("Sec-Fetch-Site", "same-origin")]] {
            let headers = [&[("Host", own.as_str())][..], from, &headers].concat();
            let status = ask(&server, line, &headers, &body).status;
            assert!(status != 403 && status != 415, "{line} from {from:?}: {status}");
        }
    }
    assert_eq!(ask(&server, "GET /api/stats", &[], b"").status, 200, "without a host");
}

#[test]
fn link_from_another_origin_opens_the_page_without_data() {
    let server = server();
    let link = [
        ("Host", "localhost"),
        ("Accept", "text/html"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    for (path, status) in [("/ui", 200), ("/", 200), ("/api/events", 403), ("/api/stats", 403)] {
        assert_eq!(ask(&server, &format!("GET {path}"), &link, b"").status, status, "{path}");
    }
}

#[test]
fn host_names_are_checked_with_allow_remote() {
    let builder = DevServer::builder().allow_remote(true).allow_host("apm.example");
    let server = builder.bind("0.0.0.0:0").unwrap();
    for (host, status) in [
        ("192.168.1.2:8200", 200),
        ("[fe80::1]:8200", 200),
        ("devserver:8200", 200),
        ("host.docker.internal:8200", 200),
        ("apm.example", 200),
        ("rebound.example:8200", 403),
        ("apm.example.evil.example", 403),
    ] {
        assert_eq!(ask(&server, "GET /api/stats", &[("Host", host)], b"").status, status, "{host}");
    }
    let foreign = [("Host", "192.168.1.2:8200"), ("Origin", "https://evil.example")];
    assert_eq!(ask(&server, "GET /api/stats", &foreign, b"").status, 403);
}

#[tokio::test]
async fn grpc_requests_of_other_origins_are_refused_with_permission_denied() {
    let server = server();
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<axum::body::Body>();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "same-site")] {
        let request = http::Request::post(format!("{}{path}", server.url()))
            .header("content-type", "application/grpc")
            .header(name, value);
        let answer = client.request(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "7", "{name}");
    }
    assert_eq!(server.store().stats().requests, 0);
}
