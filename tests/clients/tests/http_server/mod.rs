//! A server on a free port, which ends with the test's runtime.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
    routing::any,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tower_apm::{
    OtlpProtocol,
    testkit::{Kind, TestAgent},
};

/// The headers of the requests that a server has received.
type Received = Arc<Mutex<Vec<HeaderMap>>>;

pub struct Server {
    pub address: SocketAddr,
    received: Received,
}

impl Server {
    pub async fn start() -> Self {
        let received = Received::default();
        let app = Router::new()
            .route("/ok", any(async || "hello"))
            .route("/redirect", any(async || Redirect::temporary("/ok")))
            .route("/never", any(async || std::future::pending::<()>().await))
            .route("/flaky", any(flaky).with_state(received.clone()))
            .layer(from_fn_with_state(received.clone(), keep_headers));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, received }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The ids of the spans that the requests came from.
    pub fn parents(&self) -> Vec<String> {
        let parent = |headers: &HeaderMap| Some(headers.get("traceparent")?.to_str().ok()?[36..52].to_owned());
        self.received.lock().unwrap().iter().filter_map(parent).collect()
    }
}

async fn keep_headers(State(received): State<Received>, request: Request, next: Next) -> Response {
    received.lock().unwrap().push(request.headers().clone());
    next.run(request).await
}

/// Fails the first two requests and succeeds afterwards.
async fn flaky(State(received): State<Received>) -> impl IntoResponse {
    if received.lock().unwrap().len() < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Starts an agent that sends over the intake protocol, and an agent that sends over OTLP.
pub async fn agents() -> [TestAgent; 2] {
    [TestAgent::start().await, TestAgent::builder().otlp(OtlpProtocol::HttpProtobuf).start().await]
}

/// Runs the work in a transaction.
pub async fn in_transaction<T>(apm: &TestAgent, work: impl Future<Output = T>) -> T {
    apm.agent().start_transaction("work", "scheduled").run(work).await
}

pub async fn spans(apm: &TestAgent) -> Vec<Value> {
    apm.flush().await;
    apm.events(Kind::Span)
}

pub async fn only_span(apm: &TestAgent) -> Value {
    let spans = spans(apm).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans[0].clone()
}

/// Checks the document of a request for `/ok?page=2&token=hunter2`, except for ids and times.
pub fn assert_document(span: &Value, server: &Server) {
    let mut span = span.clone();
    let fields = span.as_object_mut().unwrap();
    for name in ["id", "trace_id", "parent_id", "timestamp", "duration"] {
        assert!(fields.remove(name).is_some(), "{name} in {fields:?}");
    }
    // the fields of the intake protocol that OTLP does not support
    let is_intake = fields.remove("transaction_id").is_some();
    let address = server.address.to_string();
    let mut want = serde_json::json!({
        "name": format!("GET {address}"),
        "type": "external",
        "subtype": "http",
        "outcome": "success",
        "context": {
            "http": {
                "url": format!("http://{address}/ok?page=2&token=[REDACTED]"),
                "method": "GET",
                "response": { "status_code": 200 }
            },
            "destination": {
                "address": "127.0.0.1",
                "port": server.address.port(),
                "service": { "name": "", "type": "", "resource": address }
            },
            "service": { "target": { "type": "http", "name": address } }
        }
    });
    if is_intake {
        want["action"] = "GET".into();
        want["sync"] = true.into();
        want["sample_rate"] = 1.0.into();
        want["otel"] = serde_json::json!({ "span_kind": "CLIENT" });
    } else {
        want["context"]["destination"]["service"]["name"] = address.into();
        want["context"]["destination"]["service"]["type"] = "external".into();
        want["context"]["service"]["framework"] = serde_json::json!({ "name": "axum" });
    }
    assert_eq!(span, want);
}
