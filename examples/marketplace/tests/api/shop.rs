//! A marketplace in the test's process, and requests to it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use marketplace::{App, app, config::Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

pub(crate) struct Shop {
    pub(crate) state: App,
    router: Router,
}

/// A response whose body was read completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::of(App::start(&config).await.expect("the marketplace starts"))
    }

    pub(crate) fn of(state: App) -> Self {
        Self { router: app(state.clone()), state }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("a router never fails");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends").to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("the body is JSON") };
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Sends a request of the user alice.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, Some("alice"), None)).await
    }

    /// Sends a request of the user alice.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::POST, path, Some("alice"), Some(body))).await
    }

    /// Lists a token of alice. Returns the id of the listing.
    pub(crate) async fn list(&self, token: &str, price: &str) -> i64 {
        let listing = json!({ "token_id": token, "seller": "alice", "price": price });
        let answer = self.post("/market/listings", listing).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["id"].as_i64().expect("a listing has an id")
    }

    pub(crate) async fn pay_in(&self, user: &str, amount: &str) {
        let body = json!({ "amount": amount, "reason": "card payment" });
        let answer = self.post(&format!("/wallet/{user}/credits"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub(crate) async fn buy(&self, id: i64, buyer: &str) -> Answer {
        self.post(&format!("/market/listings/{id}/purchase"), json!({ "buyer": buyer })).await
    }

    pub(crate) async fn balance(&self, user: &str) -> String {
        let answer = self.get(&format!("/wallet/{user}/balance")).await;
        answer.body["balance"].as_str().expect("a balance is text").to_owned()
    }

    pub(crate) async fn history(&self, user: &str) -> Vec<Value> {
        self.get(&format!("/wallet/{user}/history")).await.body.as_array().expect("a history is a list").clone()
    }

    /// Waits until the history of a user has this number of entries.
    pub(crate) async fn await_history(&self, user: &str, entries: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.history(user).await.len() < entries {
            assert!(Instant::now() < deadline, "the history of {user} has fewer than {entries} entries");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn status_of(&self, id: i64) -> String {
        let answer = self.get(&format!("/market/listings/{id}")).await;
        answer.body["status"].as_str().expect("a listing has a status").to_owned()
    }

    /// Serves the marketplace on a free port until [`App::stop`] or the end of the test.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it has an address");
        let stopped = self.state.stopped();
        let server = axum::serve(listener, self.router.clone()).with_graceful_shutdown(stopped);
        tokio::spawn(async move { server.await.expect("the server runs") });
        addr
    }
}

pub(crate) fn request(method: Method, path: &str, user: Option<&str>, body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(user) = user {
        request = request.header("x-user-id", user);
    }
    match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    }
    .expect("the request is well-formed")
}

impl Answer {
    /// Checks an error: its status, the field that it names, and a part of its text.
    pub(crate) fn is_error(&self, status: StatusCode, field: Option<&str>, part: &str) {
        assert_eq!(self.status, status.as_u16(), "{self:?}");
        assert_eq!(self.body["field"].as_str(), field, "{self:?}");
        let text = self.body["error"].as_str().unwrap_or_else(|| panic!("no error text: {self:?}"));
        assert!(text.contains(part), "{part:?} is not in {text:?}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
    }
}
