//! Tests of the chat in one process: stored messages, event streams and WebSockets.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::{
    listener::{DEADLINE, Sse, Ws},
    shop::{Shop, request},
};

const LOBBY: &str = "/chat/rooms/lobby/messages";

fn message(text: &str) -> Value {
    json!({ "from": "alice", "text": text })
}

#[tokio::test]
async fn seller_receives_the_sale() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let mut alice = Sse::open(addr, "alice").await;
    let id = shop.list("42", "12.5").await;
    shop.pay_in("bob", "100").await;
    assert_eq!(shop.buy(id, "bob").await.status, 200);
    let sale = alice.next_event().await.unwrap();
    assert_eq!((sale.name.as_str(), &sale.data["type"]), ("sale", &json!("sale")));
    assert_eq!((&sale.data["from"], &sale.data["text"]), (&json!("market"), &json!("bob bought 42 for 12.5")));
    assert_eq!(sale.id, Some(sale.data["id"].to_string()));
}

#[tokio::test]
async fn new_listener_receives_the_last_messages_and_then_each_further_message() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let say = async |text: &str| {
        let said = shop.post(LOBBY, message(text)).await;
        assert_eq!((said.status, &said.body["room"], &said.body["text"]), (201, &json!("lobby"), &json!(text)));
    };
    for number in 0..25 {
        say(&number.to_string()).await;
    }
    shop.post("/chat/rooms/elsewhere/messages", message("not here")).await;
    let (mut sse, mut ws) = (Sse::open(addr, "lobby").await, Ws::open(addr, "lobby", None).await);
    say("25").await;
    for number in 5..=25 {
        let event = sse.next_event().await.unwrap();
        assert_eq!((event.name.as_str(), &event.data["text"]), ("message", &json!(number.to_string())));
        assert_eq!(ws.next().await, event.data);
    }
}

#[tokio::test]
async fn event_streams_and_websockets_end_when_the_service_stops() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let (mut sse, mut ws) = (Sse::open(addr, "alice").await, Ws::open(addr, "alice", None).await);
    // the WebSocket must end before it sends its next ping
    let begun = Instant::now();
    shop.state.stop();
    assert_eq!(sse.next().await, None);
    let close = ws.close_frame().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "the service stops"));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(ws.next_frame().await, None);
    timeout(DEADLINE, shop.state.chat.sockets_closed()).await.expect("the socket is closed");
}

#[tokio::test]
async fn shutdown_waits_for_an_open_websocket() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let ws = Ws::open(addr, "alice", None).await;
    let closed = shop.state.chat.sockets_closed();
    assert!(timeout(Duration::from_millis(50), closed).await.is_err());
    drop(ws);
    timeout(DEADLINE, shop.state.chat.sockets_closed()).await.expect("the socket is closed");
}

#[tokio::test]
async fn invalid_message_is_refused() {
    let shop = Shop::open().await;
    let unknown = request(Method::POST, LOBBY, None, Some(message("hello")));
    shop.send(unknown).await.is_error(StatusCode::UNAUTHORIZED, None, "x-user-id");
    let silent = shop.post(LOBBY, message(" ")).await;
    silent.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("text"), "must not be empty");
    let long = shop.post(LOBBY, message(&"é".repeat(2001))).await;
    long.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("text"), "has 2001 characters, 2000 are allowed");
}

#[tokio::test]
async fn long_room_name_is_refused() {
    let shop = Shop::open().await;
    let room = format!("/chat/rooms/{}", "r".repeat(129));
    for answer in
        [shop.post(&format!("{room}/messages"), message("hello")).await, shop.get(&format!("{room}/events")).await]
    {
        answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("room"), "has 129 characters");
    }
    shop.get(&format!("{room}/ws")).await.is_error(
        StatusCode::UNPROCESSABLE_ENTITY,
        Some("room"),
        "has 129 characters",
    );
}

#[tokio::test]
async fn request_that_is_not_an_upgrade_is_refused() {
    let shop = Shop::open().await;
    shop.get("/chat/rooms/lobby/ws").await.is_error(StatusCode::BAD_REQUEST, None, "Connection");
}

#[tokio::test]
async fn text_frame_is_a_message() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let mut sse = Sse::open(addr, "lobby").await;
    let mut ws = Ws::open(addr, "lobby", Some("alice")).await;
    let longest = "\u{1F600}".repeat(2000);
    for text in ["first", "second", &longest] {
        ws.send(message(text).to_string()).await;
        let event = sse.next().await.unwrap();
        assert_eq!((&event["type"], &event["room"]), (&json!("message"), &json!("lobby")));
        assert_eq!((&event["from"], &event["text"]), (&json!("alice"), &json!(text)));
        assert_eq!(ws.next().await, event);
    }
    let mut later = Ws::open(addr, "lobby", None).await;
    assert_eq!(later.next().await["text"], "first");
}

#[tokio::test]
async fn invalid_frame_is_refused_and_the_connection_stays_open() {
    let shop = Shop::open().await;
    let mut ws = Ws::open(shop.serve().await, "lobby", Some("alice")).await;
    let long = message(&"é".repeat(2001)).to_string();
    for (frame, field, part) in [
        (r#"{"from":"alice""#, None, "not JSON"),
        (r#"{"from":"alice"}"#, Some("text"), "is missing"),
        (r#"{"from":7,"text":"hello"}"#, Some("from"), "invalid type"),
        (r#"{"from":"alice","text":" "}"#, Some("text"), "must not be empty"),
        (&long, Some("text"), "has 2001 characters, 2000 are allowed"),
    ] {
        ws.send(frame).await;
        assert_refusal(&ws.next().await, field, part);
    }
    ws.send(Bytes::from_static(b"hello")).await;
    assert_refusal(&ws.next().await, None, "text frame");
    ws.send(message("hello").to_string()).await;
    assert_eq!(ws.next().await["text"], "hello");
}

#[tokio::test]
async fn frame_without_a_user_is_refused() {
    let shop = Shop::open().await;
    let mut ws = Ws::open(shop.serve().await, "lobby", None).await;
    ws.send(message("hello").to_string()).await;
    assert_refusal(&ws.next().await, None, "x-user-id");
    shop.post(LOBBY, message("of alice")).await;
    assert_eq!(ws.next().await["text"], "of alice");
}

fn assert_refusal(frame: &Value, field: Option<&str>, part: &str) {
    assert_eq!((&frame["type"], frame["field"].as_str()), (&json!("error"), field), "{frame}");
    assert!(frame["error"].as_str().is_some_and(|error| error.contains(part)), "{part:?} is not in {frame}");
}

#[tokio::test]
async fn large_frame_closes_the_connection() {
    let shop = Shop::open().await;
    let mut ws = Ws::open(shop.serve().await, "lobby", Some("alice")).await;
    ws.send(" ".repeat(32 * 1024 + 1)).await;
    assert_eq!(u16::from(ws.close_frame().await.unwrap().code), 1009);
}

#[tokio::test]
async fn server_sends_and_answers_pings() {
    let shop = Shop::open().await;
    let mut ws = Ws::open(shop.serve().await, "lobby", None).await;
    assert!(matches!(ws.next_frame().await, Some(Message::Ping(_))));
    ws.send(Message::Ping(Bytes::from_static(b"hello"))).await;
    assert_eq!(ws.next_frame().await, Some(Message::Pong(Bytes::from_static(b"hello"))));
}

/// Checks that a client received each of `sent` events in order or as missed, and that it missed some.
async fn check_missed(sent: u64, mut next_event: impl AsyncFnMut() -> Value) {
    let (mut next, mut missed) = (0, 0);
    while next < sent {
        let event = next_event().await;
        if event["type"] == "missed" {
            let count = event["count"].as_u64().unwrap();
            assert!(count > 0);
            (next, missed) = (next + count, missed + count);
        } else {
            let text = event["text"].as_str().unwrap();
            assert_eq!(text.split_once(' ').unwrap().0, next.to_string());
            next += 1;
        }
    }
    assert_eq!(next, sent);
    assert!(missed > 0, "the client was not slow enough");
}

#[tokio::test]
async fn slow_client_receives_the_number_of_missed_events() {
    let shop = Shop::open().await;
    let addr = shop.serve().await;
    let (mut sse, mut ws) = (Sse::open_slow(addr, "lobby").await, Ws::open_slow(addr, "lobby").await);
    // more data than the buffers of a connection can hold
    let sent = 2500;
    for number in 0..sent {
        let text = format!("{number} {}", "\u{1F600}".repeat(1900));
        shop.state.chat.say("lobby".to_owned(), "alice".to_owned(), text).await.unwrap();
    }
    check_missed(sent, async || ws.next().await).await;
    check_missed(sent, async || {
        let event = sse.next_event().await.unwrap();
        assert_eq!(event.data["type"], event.name);
        event.data
    })
    .await;
    shop.post(LOBBY, message("after")).await;
    assert_eq!(ws.next().await["text"], "after");
    assert_eq!(sse.next().await.unwrap()["text"], "after");
}
