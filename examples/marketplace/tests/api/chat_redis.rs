//! Tests of the chat with two instances that share Redis and the database.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use marketplace::{
    chat::{
        entity::Model,
        event::{Event, EventType},
        fanout::{BACKLOG, Fanout as _, Listener, RedisFanout},
    },
    config::{Config, SecretUrl},
    data_source::{DataSourceConfig, DataSourceName},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    listener::{DEADLINE, Sse, Ws},
    shop::Shop,
};

const LOBBY: &str = "/chat/rooms/lobby/messages";

fn redis_url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL is set")
}

fn message(text: impl ToString) -> Value {
    json!({ "from": "alice", "text": text.to_string() })
}

/// A folder that is removed when the value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("marketplace-chat-{}", Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two instances with one database, one Redis and one prefix.
struct Pair {
    shops: [Shop; 2],
    addrs: [SocketAddr; 2],
    prefix: String,
    redis: redis::aio::MultiplexedConnection,
    _folder: Folder,
}

impl Pair {
    async fn open(redis_url: &str) -> Self {
        let (folder, prefix) = (Folder::new(), format!("test:{}:", Uuid::new_v4()));
        let database_url = format!("sqlite://{}?mode=rwc", folder.0.join("market.db").display());
        let config = Config {
            market_database: DataSourceConfig::from_url(DataSourceName::Market, &database_url).unwrap(),
            redis_url: Some(SecretUrl::from(redis_url)),
            redis_prefix: prefix.clone(),
            ..Config::default()
        };
        let shops = [Shop::with(config.clone()).await, Shop::with(config).await];
        let addrs = [shops[0].serve().await, shops[1].serve().await];
        let client = redis::Client::open(redis_url).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        Self { shops, addrs, prefix, redis, _folder: folder }
    }

    async fn say(&self, instance: usize, text: impl ToString) {
        let said = self.shops[instance].post(LOBBY, message(text)).await;
        assert_eq!(said.status, 201, "{said:?}");
    }

    /// Waits until a room has this number of subscribers in Redis.
    async fn wait_for_subscribers(&mut self, room: &str, expected: u64) {
        let channel = format!("{}chat:{room}", self.prefix);
        let begun = Instant::now();
        loop {
            let (_, count): (String, u64) =
                redis::cmd("PUBSUB").arg("NUMSUB").arg(&channel).query_async(&mut self.redis).await.unwrap();
            if count == expected {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{channel} has {count} subscribers");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A Redis server of this test, on a free port.
struct Redis {
    server: Child,
    port: u16,
    folder: Folder,
}

impl Redis {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Folder::new();
        let server = Self::spawn(port, &folder.0);
        let redis = Self { server, port, folder };
        redis.wait().await;
        redis
    }

    fn spawn(port: u16, folder: &Path) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed")
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn wait(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let begun = Instant::now();
        while client.get_multiplexed_async_connection().await.is_err() {
            assert!(begun.elapsed() < DEADLINE, "Redis does not start");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([format!("-{signal}"), self.server.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    async fn start_again(&mut self) {
        self.server = Self::spawn(self.port, &self.folder.0);
        self.wait().await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn messages_reach_the_listeners_of_both_instances_in_order() {
    let mut pair = Pair::open(&redis_url()).await;
    let mut sse = [Sse::open(pair.addrs[0], "lobby").await, Sse::open(pair.addrs[1], "lobby").await];
    let mut ws = [Ws::open(pair.addrs[0], "lobby", None).await, Ws::open(pair.addrs[1], "lobby", Some("bob")).await];
    pair.wait_for_subscribers("lobby", 2).await;
    pair.shops[1].post("/chat/rooms/elsewhere/messages", message("not here")).await;
    for number in 0..50 {
        pair.say(number % 2, number).await;
    }
    ws[1].send(message(50).to_string()).await;
    for number in 0..=50 {
        let first = sse[0].next().await.unwrap();
        assert_eq!((&first["type"], &first["text"]), (&json!("message"), &json!(number.to_string())));
        assert_eq!(sse[1].next().await.as_ref(), Some(&first));
        assert_eq!(ws[0].next().await, first);
        assert_eq!(ws[1].next().await, first);
    }
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn sale_reaches_the_seller_at_the_other_instance() {
    let pair = Pair::open(&redis_url()).await;
    let mut alice = Ws::open(pair.addrs[1], "alice", None).await;
    let id = pair.shops[0].list("42", "12.5").await;
    pair.shops[0].pay_in("bob", "100").await;
    assert_eq!(pair.shops[0].buy(id, "bob").await.status, 200);
    let sale = alice.next().await;
    assert_eq!((&sale["type"], &sale["text"]), (&json!("sale"), &json!("bob bought 42 for 12.5")));
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn room_is_unsubscribed_when_its_last_listener_leaves() {
    let mut pair = Pair::open(&redis_url()).await;
    pair.say(0, "without subscribers").await;
    pair.wait_for_subscribers("lobby", 0).await;
    let (first, second) = (Sse::open(pair.addrs[0], "lobby").await, Ws::open(pair.addrs[0], "lobby", None).await);
    let other = Sse::open(pair.addrs[1], "lobby").await;
    pair.wait_for_subscribers("lobby", 2).await;
    // the subscriber must react before its next ping
    let begun = Instant::now();
    drop(other);
    pair.wait_for_subscribers("lobby", 1).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(first);
    let elsewhere = Sse::open(pair.addrs[0], "elsewhere").await;
    pair.wait_for_subscribers("elsewhere", 1).await;
    pair.wait_for_subscribers("lobby", 1).await;
    drop(second);
    pair.wait_for_subscribers("lobby", 0).await;
    drop(elsewhere);
    pair.wait_for_subscribers("elsewhere", 0).await;
    // the subscriber is still running
    let mut again = Sse::open(pair.addrs[0], "lobby").await;
    assert_eq!(again.next().await.unwrap()["text"], "without subscribers");
    pair.say(1, "again").await;
    assert_eq!(again.next().await.unwrap()["text"], "again");
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn streams_end_when_the_service_stops() {
    let mut pair = Pair::open(&redis_url()).await;
    let (mut sse, mut ws) = (Sse::open(pair.addrs[0], "lobby").await, Ws::open(pair.addrs[0], "lobby", None).await);
    pair.shops[0].state.stop();
    assert_eq!(sse.next().await, None);
    assert_eq!(u16::from(ws.close_frame().await.unwrap().code), 1001);
    pair.wait_for_subscribers("lobby", 0).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn delivery_continues_after_redis_was_killed() {
    let mut redis = Redis::start().await;
    let pair = Pair::open(&redis.url()).await;
    let (mut sse, mut ws) = (Sse::open(pair.addrs[0], "lobby").await, Ws::open(pair.addrs[1], "lobby", None).await);
    for round in 0..3 {
        pair.say(0, format!("before {round}")).await;
        assert_eq!(sse.next().await.unwrap()["text"], format!("before {round}"));
        assert_eq!(ws.next().await["text"], format!("before {round}"));

        redis.kill();
        let begun = Instant::now();
        pair.say(0, format!("lost {round}")).await;
        pair.say(1, format!("lost {round}")).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let mut late = Ws::open(pair.addrs[1], "elsewhere", None).await;

        redis.start_again().await;
        let missed = json!({ "type": "missed" });
        assert_eq!(
            sse.next_event().await.map(|event| (event.name, event.data)),
            Some(("missed".to_owned(), missed.clone()))
        );
        assert_eq!(ws.next().await, missed);
        assert_eq!(late.next().await, missed);
        pair.say(0, format!("after {round}")).await;
        assert_eq!(sse.next().await.unwrap()["text"], format!("after {round}"));
        assert_eq!(ws.next().await["text"], format!("after {round}"));
    }
    // an event whose live delivery was lost is still stored
    let mut later = Sse::open(pair.addrs[1], "lobby").await;
    let texts = [later.next().await.unwrap(), later.next().await.unwrap(), later.next().await.unwrap()];
    assert_eq!(texts.map(|event| event["text"].clone()), ["before 0", "lost 0", "lost 0"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn room_without_listeners_is_not_subscribed_after_a_reconnect() {
    let mut redis = Redis::start().await;
    let mut pair = Pair::open(&redis.url()).await;
    let (left, mut stays) = (Sse::open(pair.addrs[0], "left").await, Sse::open(pair.addrs[0], "stays").await);
    pair.wait_for_subscribers("left", 1).await;
    redis.kill();
    drop(left);
    redis.start_again().await;
    assert_eq!(stays.next().await.unwrap(), json!({ "type": "missed" }));
    let client = redis::Client::open(redis.url()).unwrap();
    pair.redis = client.get_multiplexed_async_connection().await.unwrap();
    pair.wait_for_subscribers("stays", 1).await;
    pair.wait_for_subscribers("left", 0).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn publishing_to_a_server_that_does_not_answer_has_a_time_limit() {
    let redis = Redis::start().await;
    let pair = Pair::open(&redis.url()).await;
    pair.say(0, "before").await;
    redis.signal("STOP");
    let begun = Instant::now();
    pair.say(0, "unanswered").await;
    let took = begun.elapsed();
    redis.signal("CONT");
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let mut sse = Sse::open(pair.addrs[1], "lobby").await;
    pair.say(0, "after").await;
    for text in ["before", "unanswered", "after"] {
        assert_eq!(sse.next().await.unwrap()["text"], text);
    }
}

async fn next(listener: &mut Listener) -> Event {
    timeout(DEADLINE, listener.next()).await.expect("an event arrives in time").expect("the listener is open")
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn slow_listener_misses_the_oldest_events_and_receives_their_number() {
    let (url, prefix) = (SecretUrl::from(redis_url().as_str()), format!("test:{}:", Uuid::new_v4()));
    let publisher = RedisFanout::connect(&url, &prefix).unwrap();
    let subscriber = RedisFanout::connect(&url, &prefix).unwrap();
    let (mut slow, mut fast) = (subscriber.subscribe("lobby").await, subscriber.subscribe("lobby").await);
    let backlog = i64::try_from(BACKLOG).unwrap();
    for id in 0..backlog + 10 {
        let (room, sender, text) = ("lobby".to_owned(), "alice".to_owned(), "hello".to_owned());
        let event = Model { id, event_type: EventType::Message, room, sender, text, created_at_ms: 0 };
        publisher.publish(&Arc::new(event)).await.unwrap();
        assert_eq!(next(&mut fast).await.id(), Some(id));
    }
    assert_eq!(next(&mut slow).await, Event::Missed(Some(10)));
    for id in 10..backlog + 10 {
        assert_eq!(next(&mut slow).await.id(), Some(id));
    }
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn published_data_that_is_not_an_event_is_ignored() {
    let mut pair = Pair::open(&redis_url()).await;
    let mut sse = Sse::open(pair.addrs[0], "lobby").await;
    for data in ["hello", "{}", r#"{"type":"newer","id":1,"room":"lobby","from":"a","text":"b","created_at_ms":0}"#] {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(format!("{}chat:lobby", pair.prefix)).arg(data);
        assert_eq!(publish.query_async::<u64>(&mut pair.redis).await.unwrap(), 1);
    }
    pair.say(1, "hello").await;
    assert_eq!(sse.next().await.unwrap()["text"], "hello");
}
