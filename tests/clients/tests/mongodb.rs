//! Commands of the MongoDB driver.
//!
//! This file contains the server, because Debian has no MongoDB package.

use std::io;

use clients::{by_otlp, spans_of, timeless};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
    options::ClientOptions,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_apm::testkit::{Kind, TestAgent};

const SECRET: &str = "hunter2";

/// Replies to commands on one connection like a server of version 7.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    const OP_MSG: i32 = 2013;
    loop {
        let mut header = [0; 16];
        stream.read_exact(&mut header).await?;
        let number = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (length, id, operation) = (number(0) as usize, number(4), number(12));
        let mut body = vec![0; length - 16];
        stream.read_exact(&mut body).await?;
        let at = match operation {
            OP_MSG => 5,
            // flags, name of the collection, two numbers
            _ => 4 + body[4..].iter().position(|byte| *byte == 0).unwrap() + 1 + 8,
        };
        let command = Document::from_reader(&body[at..]).unwrap();
        let mut answer = match operation {
            OP_MSG => vec![0; 5],
            _ => [8_i32, 0, 0, 0, 1].into_iter().flat_map(i32::to_le_bytes).collect(),
        };
        answer_to(&command).to_writer(&mut answer).unwrap();
        let operation = if operation == OP_MSG { OP_MSG } else { 1 };
        let header = [answer.len() as i32 + 16, 1, id, operation].into_iter().flat_map(i32::to_le_bytes);
        stream.write_all(&header.chain(answer).collect::<Vec<_>>()).await?;
    }
}

fn answer_to(command: &Document) -> Document {
    let duplicate =
        format!("E11000 duplicate key error collection: shop.orders index: _id_ dup key: {{ _id: \"{SECRET}\" }}");
    let cursor = |id: i64, batch: &str| doc! { "id": id, "ns": "shop.orders", batch: [{ "buyer": SECRET }] };
    match command.keys().next().unwrap().to_lowercase().as_str() {
        "hello" | "ismaster" => doc! {
            "ok": 1.0, "helloOk": true, "isWritablePrimary": true, "ismaster": true, "maxBsonObjectSize": 16_777_216,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "minWireVersion": 0, "maxWireVersion": 21,
        },
        "find" => doc! { "ok": 1.0, "cursor": cursor(7, "firstBatch") },
        "getmore" => doc! { "ok": 1.0, "cursor": cursor(0, "nextBatch") },
        "insert" => doc! { "ok": 1.0, "n": 0, "writeErrors": [{ "index": 0, "code": 11000, "errmsg": duplicate }] },
        "findandmodify" => {
            let duplicate = duplicate.replace("_id_", "buyer_1");
            doc! { "ok": 0.0, "code": 11000, "codeName": "DuplicateKey", "errmsg": duplicate }
        }
        "count" => doc! { "ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "not allowed" },
        _ => doc! { "ok": 1.0 },
    }
}

async fn orders() -> (Collection<Document>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let mut options = ClientOptions::parse(url).await.unwrap();
    options.command_event_handler = Some(tower_apm::mongodb::command_events());
    let orders = Client::with_options(options).unwrap().database("shop").collection("orders");
    (orders, port)
}

fn names(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

fn outcomes(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn command_is_recorded_as_an_exit_span_without_values() {
    let (orders, port) = orders().await;
    let find = async || {
        let mut cursor = orders.find(doc! { "buyer": SECRET, "age": { "$gt": 30 } }).await.unwrap();
        while cursor.advance().await.unwrap() {}
    };
    let statement = r#"{"find":"orders","filter":{"buyer":"?","age":{"$gt":"?"}}}"#;
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, find()).await;
    assert_eq!(names(&spans), ["orders.find", "orders.getMore"]);
    let expected = json!({
        "name": "orders.find",
        "type": "db",
        "subtype": "mongodb",
        "action": "command",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "db": { "type": "mongodb", "instance": "shop", "statement": statement },
            "destination": {
                "address": "127.0.0.1",
                "port": port,
                "service": { "name": "", "type": "", "resource": "mongodb/shop" },
            },
            "service": { "target": { "type": "mongodb", "name": "shop" } },
        },
    });
    assert_eq!(timeless(&spans[0]), expected);
    assert!(spans[1]["context"]["db"].get("statement").is_none(), "getMore is not in the option: {}", spans[1]);
    apm.assert_no_secret(SECRET);

    let apm = by_otlp().await;
    let spans = spans_of(&apm, find()).await;
    let expected = json!({
        "name": "orders.find",
        "type": "db",
        "subtype": "mongodb",
        "outcome": "success",
        "context": {
            "db": { "type": "mongodb", "instance": "shop", "statement": statement },
            "destination": {
                "address": "127.0.0.1",
                "port": port,
                "service": { "name": "mongodb/shop", "type": "db", "resource": "mongodb/shop" },
            },
            "service": { "framework": { "name": "axum" }, "target": { "type": "mongodb", "name": "shop" } },
        },
    });
    assert_eq!(timeless(&spans[0]), expected);
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
async fn failed_command_and_write_error_are_recorded_without_the_key() {
    let (orders, _) = orders().await;
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        assert!(orders.insert_one(doc! { "_id": SECRET }).await.is_err());
        assert!(orders.find_one_and_update(doc! { "_id": 1 }, doc! { "$set": { "a": SECRET } }).await.is_err());
        assert!(orders.estimated_document_count().await.is_err());
    })
    .await;
    assert_eq!(names(&spans), ["orders.insert", "orders.findAndModify", "orders.count"]);
    assert_eq!(outcomes(&spans), ["failure"; 3]);
    for (span, message) in [
        ("orders.insert", "E11000 duplicate key error collection: shop.orders index: _id_"),
        ("orders.findAndModify", "E11000 duplicate key error collection: shop.orders index: buyer_1 (DuplicateKey)"),
        ("orders.count", "not allowed (Unauthorized)"),
    ] {
        apm.expect_error("CommandError").await.child_of(span).message(message);
    }
    assert_eq!(apm.events(Kind::Error).len(), 3);
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
async fn statements_are_recorded_by_option() {
    let (orders, _) = orders().await;
    let apm = TestAgent::builder().configure(|agent| agent.mongodb_capture_statement_commands(["getM*"])).start().await;
    let spans = spans_of(&apm, async {
        let mut cursor = orders.find(doc! { "buyer": SECRET }).await.unwrap();
        while cursor.advance().await.unwrap() {}
    })
    .await;
    assert!(spans[0]["context"]["db"].get("statement").is_none());
    assert_eq!(spans[1]["context"]["db"]["statement"], r#"{"getMore":"?","collection":"?"}"#);
}
