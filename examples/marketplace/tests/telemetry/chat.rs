//! The chat's WebSocket, and live events through Redis.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use marketplace::{
    chat::{Chat, fanout::RedisFanout},
    config::{Config, SecretUrl},
    data_source::DataSources,
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tower_apm::devserver::Kind;
use uuid::Uuid;

use crate::observed::Observed;

const UPGRADE: &str = "GET /chat/rooms/{room}/ws";
const FRAME: &str = "WS /chat/rooms/{room}/ws message";

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(market: &Observed) -> Self {
        let url = format!("ws://{}/chat/rooms/lobby/ws", market.serve().await);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("x-user-id", "carol".parse().unwrap());
        Self(connect_async(request).await.unwrap().0)
    }

    async fn send(&mut self, frame: &Value) -> Value {
        self.0.send(frame.to_string().into()).await.unwrap();
        self.next().await
    }

    /// Returns the JSON of the next text frame.
    async fn next(&mut self) -> Value {
        let text = async {
            loop {
                if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        };
        timeout(Duration::from_secs(30), text).await.expect("a text frame arrives in time")
    }
}

#[tokio::test]
async fn upgrade_is_one_transaction_and_each_frame_another() {
    let market = Observed::open().await;
    let mut client = Client::connect(&market).await;
    let upgrade = market.transaction(UPGRADE).await;
    assert_eq!((&upgrade["result"], &upgrade["outcome"]), (&json!("HTTP 1xx"), &json!("success")));
    assert_eq!(upgrade.at("/context/response/status_code"), 101);
    assert_eq!((upgrade.user(), upgrade.label("room")), (&json!("carol"), &json!("lobby")));
    assert_eq!(upgrade.label("module"), "chat");

    assert_eq!(client.send(&json!({ "from": "carol", "text": "hello" })).await["text"], "hello");
    let frame = market.transaction(FRAME).await;
    assert_eq!(
        (&frame["type"], &frame["result"], &frame["outcome"]),
        (&json!("background"), &json!("stored"), &json!("success"))
    );
    assert_eq!(
        (frame.user(), frame.label("room"), frame.label("module")),
        (&json!("carol"), &json!("lobby"), &json!("chat"))
    );
    assert_eq!(frame.label("message_id"), "1");
    assert_ne!(frame["trace_id"], upgrade["trace_id"]);
    assert_eq!(frame["parent_id"], json!(null));
    assert_eq!(frame["links"], json!([{ "trace_id": upgrade["trace_id"], "span_id": upgrade["id"] }]));
    let spans = market.spans_of(&frame, 1).await;
    assert_eq!(spans[0]["name"], "INSERT INTO messages");
    assert!(market.sent(Kind::Error).await.is_empty());
    market.nothing_was_refused();
}

#[tokio::test]
async fn refused_frame_is_not_an_error_of_the_service() {
    let market = Observed::open().await;
    let mut client = Client::connect(&market).await;
    let refusal = client.send(&json!({ "from": "carol", "text": "" })).await;
    let frame = market.transaction(FRAME).await;
    assert_eq!(refusal["trace_id"], frame["trace_id"]);
    assert_eq!((&frame["result"], &frame["outcome"]), (&json!("refused"), &json!("success")));
    assert_eq!(frame.label("invalid_field"), "text");
    assert!(market.sent(Kind::Error).await.is_empty());
}

#[tokio::test]
async fn message_is_stored_while_redis_is_away() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("redis://:hunter2@127.0.0.1:{port}");
    let market = Observed::with(async |mut state| {
        let sources = DataSources::open(&Config::default()).await.unwrap();
        let fanout = RedisFanout::connect(&SecretUrl::from(url.as_str()), "marketplace:").unwrap();
        state.chat = Chat::new(sources.market, Arc::new(fanout));
        state
    })
    .await;
    let message = json!({ "from": "carol", "text": "hello" });
    assert_eq!(market.post("carol", "/chat/rooms/lobby/messages", message.clone()).await.status, 201);
    let said = market.transaction("POST /chat/rooms/{room}/messages").await;
    assert_eq!((&said["result"], &said["outcome"]), (&json!("HTTP 2xx"), &json!("success")));
    let error = market.error().await;
    assert_eq!(error.at("/exception/handled"), true);
    assert_eq!((error.label("step"), error.user()), (&json!("publish"), &json!("carol")));
    assert_eq!(error["transaction_id"], said["id"]);
    assert_eq!(error.causes()[0], "a chat event cannot be published to Redis");
    assert!(!format!("{error:?}").contains("hunter2"));

    let mut client = Client::connect(&market).await;
    assert_eq!(client.next().await["text"], "hello", "the message of the request is stored");
    // the first frame has no answer, because its live event is lost
    client.0.send(message.to_string().into()).await.unwrap();
    assert_eq!(client.send(&json!({})).await["type"], "error");
    let mut frames = market.sent(Kind::Transaction).await;
    frames.retain(|event| event["name"] == FRAME);
    assert_eq!((&frames[0]["result"], &frames[0]["outcome"]), (&json!("stored"), &json!("success")));
    let mut errors = market.sent(Kind::Error).await;
    errors.retain(|error| error["transaction_id"] == frames[0]["id"]);
    // the error of the span, and the error of the service that has it as its cause
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors.iter().all(|error| *error.at("/exception/handled") == true), "{errors:#?}");
    assert!(errors.iter().any(|error| error.label("step") == "publish"), "{errors:#?}");
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn publish_is_a_span() {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is set");
    let redis_prefix = format!("test:{}:", Uuid::new_v4());
    let config = Config { redis_url: Some(SecretUrl::from(url.as_str())), redis_prefix, ..Config::default() };
    let market = Observed::with_config(config, |state| async { state }).await;
    let message = json!({ "from": "carol", "text": "hello" });
    assert_eq!(market.post("carol", "/chat/rooms/lobby/messages", message).await.status, 201);
    let said = market.transaction("POST /chat/rooms/{room}/messages").await;
    let spans = market.spans_of(&said, 2).await;
    assert_eq!(spans.iter().map(|span| &span["name"]).collect::<Vec<_>>(), ["INSERT INTO messages", "PUBLISH"]);
    assert_eq!((spans[1].kind()[1], &spans[1]["outcome"]), ("redis", &json!("success")));
    assert!(spans[1].at("/context/destination/port").is_u64());
    assert!(market.sent(Kind::Error).await.is_empty());
}
