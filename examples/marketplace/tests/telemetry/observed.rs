//! A marketplace with its own agent, and the events that the agent sent.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use marketplace::{App, app, config::Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_apm::{
    Agent, CaptureBody, EnvVars,
    devserver::{DevServer, Kind, Query, Store},
};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::events::Event;

const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Observed {
    pub(crate) agent: Agent,
    pub(crate) server: DevServer,
    router: Router,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// One subscriber serves the agents of all tests, because each span knows its transaction.
fn subscribe(agent: &Agent) {
    static SUBSCRIBED: Mutex<bool> = Mutex::new(false);
    let mut subscribed = SUBSCRIBED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*subscribed {
        tracing_subscriber::registry().with(agent.tracing_layer()).init();
        tower_apm::install_panic_hook();
        *subscribed = true;
    }
}

impl Observed {
    pub(crate) async fn open() -> Self {
        Self::with(|state| async { state }).await
    }

    /// Starts a marketplace and changes its state.
    pub(crate) async fn with<F: Future<Output = App>>(change: impl FnOnce(App) -> F) -> Self {
        Self::with_config(Config::default(), change).await
    }

    pub(crate) async fn with_config<F: Future<Output = App>>(config: Config, change: impl FnOnce(App) -> F) -> Self {
        let server = DevServer::bind("127.0.0.1:0").expect("a port is free");
        let agent = Agent::builder()
            .env_vars(EnvVars::empty())
            .service_name("marketplace")
            .server_url(server.url())
            .capture_body(CaptureBody::All)
            .span_compression_enabled(false) // the tests look at each statement
            .api_request_time(Duration::from_millis(20))
            .build()
            .expect("the agent starts");
        subscribe(&agent);
        let opened = agent.start_transaction("open", "startup").run(App::start(&config)).await;
        let state = change(opened.expect("the marketplace starts")).await;
        let router = app(state).layer(agent.layer());
        Self { agent, server, router }
    }

    /// Serves the marketplace on a free port until the end of the test.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("the listener has an address");
        let server = axum::serve(listener, self.router.clone());
        tokio::spawn(async move { server.await.expect("the server runs") });
        addr
    }

    /// Returns the response as soon as its head arrives.
    pub(crate) async fn begin(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("a router never fails")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.begin(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn get(&self, user: &str, path: &str) -> Answer {
        self.send(request(Method::GET, user, path, None)).await
    }

    pub(crate) async fn post(&self, user: &str, path: &str, body: Value) -> Answer {
        self.send(request(Method::POST, user, path, Some(body))).await
    }

    /// Lists a token of alice for 12.5 and credits 100 to bob.
    pub(crate) async fn list(&self, token: &str) {
        let listing = json!({ "token_id": token, "seller": "alice", "price": "12.5" });
        assert_eq!(self.post("alice", "/market/listings", listing).await.status, 201);
        let movement = json!({ "amount": 100, "reason": "card payment" });
        assert_eq!(self.post("bob", "/wallet/bob/credits", movement).await.status, 200);
    }

    /// Returns the events of one kind that were sent so far, the oldest first.
    pub(crate) async fn sent(&self, kind: Kind) -> Vec<Event> {
        self.agent.flush(TIMEOUT).await.expect("the server takes it");
        let page = self.server.store().query(&Query::new().kind(kind));
        page.events.iter().rev().map(|event| Event::read(event)).collect()
    }

    /// Returns the only transaction with this name.
    pub(crate) async fn transaction(&self, name: &str) -> Event {
        let mut found = self.sent(Kind::Transaction).await;
        found.retain(|event| event["name"] == name);
        assert_eq!(found.len(), 1, "transactions {name}: {found:#?}");
        found.remove(0)
    }

    /// Returns the only error.
    pub(crate) async fn error(&self) -> Event {
        let mut found = self.sent(Kind::Error).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// Waits for `count` spans of a transaction. Returns them in the order of their start.
    ///
    /// The thread of SQLite's driver ends the span of a statement after it has returned the result, so the last span of a
    /// transaction can arrive after the transaction.
    pub(crate) async fn spans_of(&self, transaction: &Event, count: usize) -> Vec<Event> {
        let spans = |store: &Store| {
            let page = store.query(&Query::new().kind(Kind::Span));
            let mut spans: Vec<_> = page.events.iter().map(|event| Event::read(event)).collect();
            spans.retain(|span| span["transaction_id"] == transaction["id"]);
            spans.sort_by_key(|span| span["timestamp"].as_u64());
            spans
        };
        let store = self.server.store();
        let all = store.wait_for(TIMEOUT, |store| Some(spans(store)).filter(|spans| spans.len() >= count)).await;
        all.unwrap_or_else(|| panic!("fewer than {count} spans: {:#?}", spans(store)))
    }

    pub(crate) fn nothing_was_refused(&self) {
        let stats = self.server.store().stats();
        assert_eq!((stats.rejected.events(), stats.unrecognized), (0, 0), "{:?}", stats.last_rejection);
    }
}

pub(crate) fn request(method: Method, user: &str, path: &str, body: Option<Value>) -> Request<Body> {
    let request =
        Request::builder().method(method).uri(path).header(header::HOST, "shop.example").header("x-user-id", user);
    match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    }
    .expect("the request is well-formed")
}
