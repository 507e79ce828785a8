//! The trace of a purchase, from the request to the history of the wallets, on embedded and on real parts.

use std::env;

use sea_orm::{ConnectionTrait as _, Database};
use serde_json::json;
use tower_apm::devserver::DevServer;
use uuid::Uuid;

use crate::{
    processes::{Client, Process, TIMEOUT},
    trace_tree::trace_tree,
};

/// The consumer of the wallet's changes. Its statements are in its transaction only if it has read one change at a time.
const CONSUMER: &str = "wallet-history: book wallet change [messaging]";

/// Buys a token and checks the tree of the purchase's trace. Each of `names` is a text of this run and its name in `expected`.
async fn assert_purchase_trace(apm: &DevServer, api: &Client, names: &[(&str, &str)], expected: &str) {
    // Redis loads each script when it is used for the first time.
    buy(api, "41").await;
    let trace_id = buy(api, "42").await;
    let tree = |store: &_| normalized(&trace_tree(store, &trace_id), names);
    let expected = expected.trim_start_matches('\n');
    // The consumer's transactions, and SQLite's last spans, can arrive after the purchase.
    let complete = apm.store().wait_for(TIMEOUT, |store| (tree(store) == expected).then_some(())).await;
    if complete.is_none() {
        let tree = tree(apm.store());
        panic!("the trace is\n{tree}\nand should be\n{expected}");
    }
}

/// Returns the trace id.
async fn buy(api: &Client, token: &str) -> String {
    let id = api.list(token).await;
    let (status, trace_id, receipt) =
        api.post(&format!("/market/listings/{id}/purchase"), &json!({ "buyer": "bob" })).await;
    assert_eq!(status, 200, "{receipt}");
    trace_id
}

/// Replaces the texts of this run, the address of the embedded chain and the statements below [`CONSUMER`].
fn normalized(tree: &str, names: &[(&str, &str)]) -> String {
    let mut result = String::new();
    let mut consumer = None;
    for line in tree.lines() {
        let depth = line.len() - line.trim_start().len();
        if consumer.is_some_and(|consumer| depth > consumer) {
            continue;
        }
        consumer = line.contains(CONSUMER).then_some(depth);
        let mut line = names.iter().fold(line.to_owned(), |line, (text, name)| line.replace(text, name));
        if let Some((before, rest)) = line.split_once("127.0.0.1:") {
            line = format!("{before}CHAIN{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        result.push_str(&line);
        result.push('\n');
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn purchase_is_one_trace_on_embedded_parts() {
    let apm = DevServer::bind("127.0.0.1:0").expect("a port is free");
    let process = Process::start(&apm, &[], &[]);
    let api = Client::new(process.line_after("marketplace: "));
    assert_purchase_trace(&apm, &api, &[], EMBEDDED).await;
}

const EMBEDDED: &str = "
POST /market/listings/{id}/purchase [request]
    SELECT FROM listings (db/sqlite)
    GET CHAIN (external/http)
    UPDATE listings (db/sqlite)
    SELECT FROM ledger_entries (db/sqlite)
    direct SEND to wallet.changes (messaging/direct)
        book wallet change [messaging]
            BEGIN (db/sqlite)
            UPDATE consumed (db/sqlite)
            SELECT FROM consumed (db/sqlite)
            INSERT INTO ledger_entries (db/sqlite)
            COMMIT (db/sqlite)
    UPDATE listings (db/sqlite)
    POST CHAIN (external/http)
    UPDATE listings (db/sqlite)
    SELECT FROM ledger_entries (db/sqlite)
    direct SEND to wallet.changes (messaging/direct)
        book wallet change [messaging]
            BEGIN (db/sqlite)
            UPDATE consumed (db/sqlite)
            SELECT FROM consumed (db/sqlite)
            INSERT INTO ledger_entries (db/sqlite)
            COMMIT (db/sqlite)
    UPDATE listings (db/sqlite)
    INSERT INTO messages (db/sqlite)
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn purchase_is_one_trace_on_real_parts() {
    let variable = |name| env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let (redis, kafka, postgres) = (variable("REDIS_URL"), variable("KAFKA_BROKERS"), variable("POSTGRES_URL"));
    let run = format!("trace_{}", Uuid::new_v4().simple());
    let server = Database::connect(&postgres).await.expect("PostgreSQL answers");
    server.execute_unprepared(&format!("CREATE DATABASE {run}")).await.expect("the database is created");
    let database = format!("{}/{run}", postgres.rsplit_once('/').expect("the URL has a database").0);

    let apm = DevServer::bind("127.0.0.1:0").expect("a port is free");
    let prefix = format!("{run}:");
    let variables = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
        ("REDIS_PREFIX", prefix.as_str()),
        ("KAFKA_BROKERS", kafka.as_str()),
        ("KAFKA_TOPIC", run.as_str()),
    ];
    {
        let chain = Process::start(&apm, &["chain"], &[]);
        let chain_url = chain.line_after("chain: ");
        let with_chain = [&variables[..], &[("CHAIN_RPC_URL", chain_url.as_str())]].concat();
        let process = Process::start(&apm, &[], &with_chain);
        let _history = Process::start(&apm, &["history"], &variables);
        let api = Client::new(process.line_after("marketplace: "));
        assert_purchase_trace(&apm, &api, &[(&run, "TOPIC")], REAL).await;
    }
    server.execute_unprepared(&format!("DROP DATABASE {run} WITH (FORCE)")).await.expect("the database is dropped");
}

const REAL: &str = "
POST /market/listings/{id}/purchase [request]
    SELECT FROM listings (db/postgresql)
    GET CHAIN (external/http)
    EVALSHA (db/redis)
    UPDATE listings (db/postgresql)
    EVALSHA (db/redis)
    SELECT FROM ledger_entries (db/postgresql)
    EVALSHA (db/redis)
    Kafka SEND to TOPIC (messaging/kafka)
        wallet-history: book wallet change [messaging]
    EVALSHA (db/redis)
    UPDATE listings (db/postgresql)
    POST CHAIN (external/http)
    UPDATE listings (db/postgresql)
    EVALSHA (db/redis)
    SELECT FROM ledger_entries (db/postgresql)
    EVALSHA (db/redis)
    Kafka SEND to TOPIC (messaging/kafka)
        wallet-history: book wallet change [messaging]
    EVALSHA (db/redis)
    UPDATE listings (db/postgresql)
    INSERT INTO messages (db/postgresql)
    PUBLISH (db/redis)
";
