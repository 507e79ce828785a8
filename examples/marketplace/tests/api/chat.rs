//! Rooms: what is said there is heard there.

use std::{net::SocketAddr, time::Duration};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::shop::{Shop, request};

/// A listener on an event stream, over a real connection.
struct Listener {
    response: reqwest::Response,
    heard: String,
}

impl Listener {
    async fn at(addr: SocketAddr, room: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http.get(format!("http://{addr}/chat/rooms/{room}/events")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, heard: String::new() }
    }

    /// The next event's data, or nothing when the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        timeout(Duration::from_secs(60), async {
            loop {
                if let Some((event, rest)) = self.heard.split_once("\n\n") {
                    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
                    self.heard = rest.to_owned();
                    match data {
                        Some(data) => return Some(serde_json::from_str(&data).unwrap()),
                        None => continue,
                    }
                }
                let chunk = self.response.chunk().await.unwrap()?;
                self.heard.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("an event comes in time")
    }
}

#[tokio::test]
async fn a_seller_hears_of_the_sale() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let mut alice = Listener::at(addr, "alice").await;
    let id = shop.list("42", "12.5").await;
    shop.pay_in("bob", "100").await;
    assert_eq!(shop.buy(id, "bob").await.status, 200);
    let message = alice.next().await.unwrap();
    assert_eq!((&message["from"], &message["text"]), (&json!("market"), &json!("bob bought 42 for 12.5")));
}

#[tokio::test]
async fn who_comes_later_hears_what_was_said_and_then_what_is() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let say = async |text: &str| {
        let said = shop.post("/chat/rooms/lobby/messages", json!({ "from": "alice", "text": text })).await;
        assert_eq!((said.status, &said.body["room"], &said.body["text"]), (201, &json!("lobby"), &json!(text)));
    };
    for number in 0..25 {
        say(&number.to_string()).await;
    }
    shop.post("/chat/rooms/elsewhere/messages", json!({ "from": "alice", "text": "not here" })).await;
    let mut bob = Listener::at(addr, "lobby").await;
    say("25").await;
    for number in 5..=25 {
        assert_eq!(bob.next().await.unwrap()["text"], number.to_string());
    }
}

#[tokio::test]
async fn event_streams_end_when_the_marketplace_stops() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let mut alice = Listener::at(addr, "alice").await;
    shop.state.stop();
    assert_eq!(alice.next().await, None);
}

#[tokio::test]
async fn who_speaks_must_be_known_and_say_something() {
    let shop = Shop::open().await;
    let path = "/chat/rooms/lobby/messages";
    let unknown = request(Method::POST, path, None, Some(json!({ "from": "alice", "text": "hello" })));
    shop.send(unknown).await.is_error(StatusCode::UNAUTHORIZED, None, "x-user-id");
    let silent = shop.post(path, json!({ "from": "alice", "text": " " })).await;
    silent.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("text"), "must not be empty");
    let long = shop.post(path, json!({ "from": "alice", "text": "é".repeat(2001) })).await;
    long.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("text"), "has 2001 characters, 2000 are allowed");
}
