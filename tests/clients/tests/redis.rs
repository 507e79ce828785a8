//! Commands of the crate `redis` on a Redis server.

use std::time::Duration;

use clients::{by_otlp, spans_of, timeless, url};
use redis::{
    AsyncCommands, Client, RedisResult, Script,
    aio::{ConnectionManager, MultiplexedConnection},
    pipe,
};
use serde_json::{Value, json};
use tower_apm::{
    redis::{InstrumentedConnection, instrument},
    testkit::{Kind, TestAgent},
};

type Connection = InstrumentedConnection<MultiplexedConnection>;

const SECRET: &str = "hunter2";

fn client() -> Client {
    Client::open(url("REDIS_URL")).unwrap()
}

async fn connect() -> Connection {
    let client = client();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    instrument(connection).connection_info(client.get_connection_info())
}

/// The document with a fixed address.
fn document(span: &Value) -> Value {
    let mut span = timeless(span);
    let destination = &mut span["context"]["destination"];
    assert_eq!(destination["address"], "127.0.0.1");
    assert_eq!(Some(destination["port"].as_u64().unwrap()), url("REDIS_URL").rsplit(':').next().unwrap().parse().ok());
    destination["port"] = 6379.into();
    span
}

fn names(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

fn outcomes(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn command_is_recorded_as_an_exit_span() {
    let mut redis = connect().await;
    let intake = TestAgent::start().await;
    let spans = spans_of(&intake, async { redis.get::<_, Option<String>>(SECRET).await.unwrap() }).await;
    let expected = json!({
        "name": "GET",
        "type": "db",
        "subtype": "redis",
        "action": "query",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "db": { "type": "redis" },
            "destination": {
                "address": "127.0.0.1",
                "port": 6379,
                "service": { "name": "", "type": "", "resource": "redis" },
            },
            "service": { "target": { "type": "redis" } },
        },
    });
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(document(&spans[0]), expected);
    intake.assert_no_secret(SECRET);

    let otlp = by_otlp().await;
    let spans = spans_of(&otlp, async { redis.get::<_, Option<String>>(SECRET).await.unwrap() }).await;
    let expected = json!({
        "name": "GET",
        "type": "db",
        "subtype": "redis",
        "outcome": "success",
        "context": {
            "db": { "type": "redis" },
            "destination": {
                "address": "127.0.0.1",
                "port": 6379,
                "service": { "name": "redis", "type": "db", "resource": "redis" },
            },
            "service": { "framework": { "name": "axum" }, "target": { "type": "redis" } },
        },
    });
    assert_eq!(document(&spans[0]), expected);
    otlp.assert_no_secret(SECRET);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn pipeline_and_transaction_are_one_span() {
    let mut redis = connect().await;
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let () = pipe().set("pipe:a", SECRET).ignore().get("pipe:a").ignore().query_async(&mut redis).await.unwrap();
        let (one, two): (i64, i64) =
            pipe().atomic().incr("pipe:n", 1).incr("pipe:n", 1).query_async(&mut redis).await.unwrap();
        assert_eq!(one + 1, two);
        let _: (String,) = pipe().get("pipe:a").query_async(&mut redis).await.unwrap();
    })
    .await;
    assert_eq!(names(&spans), ["PIPELINE", "MULTI INCRBY", "GET"]);
    assert_eq!(outcomes(&spans), ["success"; 3]);
    let sizes: Vec<_> = spans.iter().map(|span| &span["context"]["tags"]["db_operation_batch_size"]).collect();
    assert_eq!(sizes, [&json!(2), &json!(2), &Value::Null], "{spans:?}");
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn error_of_the_server_fails_the_span_and_is_recorded() {
    for otlp in [false, true] {
        let apm = if otlp { by_otlp().await } else { TestAgent::start().await };
        let mut redis = connect().await;
        let () = redis.set("text", SECRET).await.unwrap();
        let spans = spans_of(&apm, async {
            let result: RedisResult<i64> = redis.incr("text", 1).await;
            assert!(result.is_err());
            let result: RedisResult<()> = pipe().get("text").ignore().lpush("text", 1).query_async(&mut redis).await;
            assert!(result.is_err());
            let result: RedisResult<()> = pipe().atomic().get("text").llen("text").query_async(&mut redis).await;
            assert!(result.is_err());
            let result: RedisResult<()> = redis::cmd("HGETT").arg("text").arg(SECRET).query_async(&mut redis).await;
            assert!(result.unwrap_err().to_string().contains(SECRET), "the caller gets the whole error");
        })
        .await;
        assert_eq!(names(&spans), ["INCRBY", "PIPELINE", "MULTI", "HGETT"]);
        assert_eq!(outcomes(&spans), ["failure"; 4]);
        for name in ["INCRBY", "PIPELINE", "HGETT"] {
            let error = apm.expect_error("RedisError").await.child_of(name);
            assert!(error.json().to_string().contains("ResponseError") || name == "PIPELINE", "{}", error.json());
        }
        apm.assert_no_secret(SECRET);
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn conversion_error_of_the_caller_is_not_an_error_of_the_command() {
    let mut redis = connect().await;
    let () = redis.set("word", "text").await.unwrap();
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let result: RedisResult<i64> = redis.get("word").await;
        assert!(result.is_err());
    })
    .await;
    assert_eq!(outcomes(&spans), ["success"]);
    assert!(apm.events(Kind::Error).is_empty());
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn script_that_is_not_loaded_fails_its_span_without_an_error() {
    let mut redis = connect().await;
    let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut redis).await.unwrap();
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let one: i64 = Script::new("return 1").invoke_async(&mut redis).await.unwrap();
        assert_eq!(one, 1);
    })
    .await;
    assert_eq!(names(&spans), ["EVALSHA", "SCRIPT", "EVALSHA"]);
    assert_eq!(outcomes(&spans), ["failure", "success", "success"]);
    assert!(apm.events(Kind::Error).is_empty());
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn command_that_is_cancelled_has_an_unknown_outcome() {
    let mut redis = connect().await;
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let blocked = redis.blpop::<_, Option<(String, String)>>("no list", 30.0);
        assert!(tokio::time::timeout(Duration::from_millis(20), blocked).await.is_err());
    })
    .await;
    assert_eq!((names(&spans), outcomes(&spans)), (vec!["BLPOP"], vec!["unknown"]));
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn lost_connection_fails_the_span_and_is_recorded() {
    let mut redis = connect().await;
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut redis).await.unwrap();
    let mut other = connect().await;
    let killed: i64 = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(&mut other).await.unwrap();
    assert_eq!(killed, 1);
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let result: RedisResult<Option<String>> = redis.get("key").await;
        assert!(result.is_err());
    })
    .await;
    assert_eq!(outcomes(&spans), ["failure"]);
    apm.expect_error("RedisError").await.child_of("GET");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn connection_manager_and_clones_are_recorded() {
    let manager = ConnectionManager::new(client()).await.unwrap();
    let redis = instrument(manager).address("cache.example", 6380);
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let (mut one, mut two) = (redis.clone(), redis);
        let get = async { one.get::<_, Option<String>>("a").await.unwrap() };
        let exists = async { two.exists::<_, bool>("a").await.unwrap() };
        tokio::join!(get, exists);
    })
    .await;
    assert_eq!(names(&spans), ["GET", "EXISTS"]);
    assert_eq!(spans[1]["context"]["destination"]["address"], "cache.example");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn unsampled_transaction_records_errors_and_no_spans() {
    let mut redis = connect().await;
    let () = redis.set("text", "text").await.unwrap();
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    let spans = spans_of(&apm, async {
        let result: RedisResult<i64> = redis.incr("text", 1).await;
        assert!(result.is_err());
    })
    .await;
    assert!(spans.is_empty(), "{spans:?}");
    apm.expect_error("RedisError").await;
}
