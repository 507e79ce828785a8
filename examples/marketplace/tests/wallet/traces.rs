//! Tests of the trace of a change, from the request to the history.
//!
//! The processes send their events to a development server.

use serde_json::{Value, json};
use tower_apm::devserver::{DevServer, Kind, Query, Store};

use crate::{process::Process, world::TIMEOUT};

fn events(store: &Store, kind: Kind, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
    let page = store.query(&Query::new().kind(kind));
    page.events.iter().map(|event| event.body()).filter(|body| matches(body)).collect()
}

/// Waits until there are at least `count` matching events.
async fn wait_for(apm: &DevServer, kind: Kind, count: usize, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
    let store = apm.store();
    let found =
        store.wait_for(TIMEOUT, |store| Some(events(store, kind, &matches)).filter(|found| found.len() >= count));
    found.await.unwrap_or_else(|| panic!("fewer than {count} events: {:#?}", events(store, kind, |_| true)))
}

fn client() -> reqwest::Client {
    // fails if another test has already installed the provider
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn credit(api: &str, key: &str) -> Value {
    let request =
        client().post(format!("{api}/wallet/bob/credits")).header("x-user-id", "bob").header("idempotency-key", key);
    let answer = request.json(&json!({ "amount": "5", "reason": "test" })).send().await.unwrap();
    let status = answer.status().as_u16();
    let trace_id = answer.headers()["x-trace-id"].to_str().unwrap().to_owned();
    assert_eq!(status, 200, "{}", answer.text().await.unwrap());
    json!(trace_id)
}

/// Checks that the record of a change is booked in the trace of the request.
async fn assert_booked_in_trace(
    apm: &DevServer,
    trace_id: &Value,
    send: &str,
    receive_labels: &[(&str, &str)],
) -> Value {
    let send = wait_for(apm, Kind::Span, 1, |span| span["trace_id"] == *trace_id && span["name"] == send).await;
    assert_eq!((&send[0]["type"], &send[0]["outcome"]), (&json!("messaging"), &json!("success")));
    let in_trace = |tx: &Value| tx["trace_id"] == *trace_id && tx["name"] == "book wallet change";
    let booked = wait_for(apm, Kind::Transaction, 1, in_trace).await.remove(0);
    assert_eq!(booked["parent_id"], send[0]["id"]);
    assert_eq!((&booked["type"], &booked["outcome"]), (&json!("messaging"), &json!("success")));
    let labels = [("account", "bob"), ("module", "wallet"), ("result", "booked")];
    for (label, value) in labels.iter().chain(receive_labels) {
        assert_eq!(booked["context"]["tags"][label], *value, "{booked:#}");
    }
    // The batch has a single record, so the statements are in the transaction of the record.
    for statement in ["BEGIN", "UPDATE consumed", "INSERT INTO ledger_entries", "COMMIT"] {
        let is_part = |span: &Value| span["transaction_id"] == booked["id"] && span["name"] == statement;
        wait_for(apm, Kind::Span, 1, is_part).await;
    }
    booked
}

#[tokio::test(flavor = "multi_thread")]
async fn change_is_booked_in_the_trace_of_its_request() {
    let apm = DevServer::bind("127.0.0.1:0").unwrap();
    let api = Process::start(&apm, &[], &[]);
    let trace_id = credit(&api.url(), "k1").await;
    assert_booked_in_trace(&apm, &trace_id, "direct SEND to wallet.changes", &[("idempotency_key", "k1")]).await;
    assert!(api.terminate());
}

#[tokio::test]
async fn history_without_kafka_fails_with_the_cause() {
    let apm = DevServer::bind("127.0.0.1:0").unwrap();
    assert!(!Process::start(&apm, &["history"], &[]).wait());
}

#[cfg(feature = "kafka")]
mod kafka {
    use super::*;
    use crate::{consumer, database, world::Store};

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
    async fn consumer_process_books_changes_in_their_traces_until_it_is_stopped() {
        let apm = DevServer::bind("127.0.0.1:0").unwrap();
        let config = consumer::kafka_config();
        let Store::Redis { url: redis, prefix } = Store::redis() else { unreachable!() };
        let database = database::create("POSTGRES_URL").await;
        let variables = [
            ("REDIS_URL", redis.as_str()),
            ("REDIS_PREFIX", &prefix),
            ("KAFKA_BROKERS", &config.brokers),
            ("KAFKA_TOPIC", &config.topic),
            ("DATABASE_URL", &database),
        ];
        let history = Process::start(&apm, &["history"], &variables);
        let api = Process::start(&apm, &[], &variables);
        let (history_url, api_url) = (history.url(), api.url());
        let is_healthy = || async {
            let answer = client().get(format!("{history_url}/health")).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        consumer::wait_for(is_healthy, "the consumer is healthy").await;

        let trace_id = credit(&api_url, "k1").await;
        let send = format!("Kafka SEND to {}", config.topic);
        let booked = assert_booked_in_trace(&apm, &trace_id, &send, &[("idempotency_key", "k1")]).await;
        assert!(booked["context"]["tags"]["offset"].is_string() && booked["context"]["tags"]["partition"].is_string());
        assert_eq!(booked["context"]["tags"]["batch_size"], 1);
        assert_eq!(booked["context"]["message"]["queue"]["name"], config.topic.as_str());
        let scripts = |span: &Value| span["trace_id"] == trace_id && span["name"] == "EVALSHA";
        assert!(wait_for(&apm, Kind::Span, 2, scripts).await.iter().all(|span| span["subtype"] == "redis"));

        // a batch: one transaction for each record, and one with the statements and links
        let requests = (0..20).map(|n| {
            let api_url = &api_url;
            async move { credit(api_url, &format!("batch-{n}")).await }
        });
        let traces = futures_util::future::join_all(requests).await;
        let is_booked = |tx: &Value| tx["name"] == "book wallet change" && traces.contains(&tx["trace_id"]);
        assert_eq!(wait_for(&apm, Kind::Transaction, 20, is_booked).await.len(), 20);
        let batches = wait_for(&apm, Kind::Transaction, 1, |tx| tx["name"] == "book wallet changes").await;
        let links = batches[0]["links"].as_array().unwrap();
        assert!(links.len() > 1 && links.iter().all(|link| traces.contains(&link["trace_id"])), "{links:?}");
        let is_part = |span: &Value| span["transaction_id"] == batches[0]["id"] && span["name"] == "COMMIT";
        wait_for(&apm, Kind::Span, 1, is_part).await;

        // a record that cannot be read is recorded as an error
        consumer::send(&config, 0, &[b"poison".to_vec()]).await;
        let is_poison = |error: &Value| error["context"]["tags"]["result"] == "dead letter";
        let error = wait_for(&apm, Kind::Error, 1, is_poison).await.remove(0);
        assert_eq!(error["exception"]["message"], "the record is not JSON");

        assert!(history.terminate(), "the consumer leaves the group");
        assert!(api.terminate());
    }
}
