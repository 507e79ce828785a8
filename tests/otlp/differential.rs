//! The development server translates OTLP into the same documents as the real server's decoder.
//!
//! The development server stores events in the form of intake. The test sends these events to the decoder as intake and
//! compares the documents with those of the same OTLP message. Fields that intake does not have are under `ecs` and are
//! merged into the documents here.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing::post};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngSeed, TestRunner},
};
use prost::Message;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tower_apm::{
    Agent, Exporter,
    devserver::{DevServer, Event, Kind, Query},
};

use crate::{
    client::Connection,
    decoder::{DEADLINE, Decoder, agent},
    document::Document,
    requests, traffic,
};

/// Fields that differ intentionally, with the reason.
const APART: &[(&str, &str)] = &[
    ("event.received", "the time of arrival"),
    ("event.kind", "the server sets it on OTLP events only"),
    ("event.type", "the same"),
    ("error.id", "made up by the server"),
    ("transaction.span_count", "intake requires one, OTLP has none"),
    ("http.request.headers", "intake has the user agent as a header"),
];

struct Both {
    decoder: Decoder,
    server: DevServer,
    seen: u64,
}

impl Both {
    fn start() -> Self {
        let server = DevServer::builder().max_events(usize::MAX).max_bytes(usize::MAX).bind("127.0.0.1:0").unwrap();
        Self { decoder: Decoder::start(""), server, seen: 0 }
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let address: SocketAddr = self.decoder.http.strip_prefix("http://").unwrap().parse().unwrap();
        let answer = Connection::open(address).request(&format!("POST {path}"), headers, body).unwrap();
        (answer.status, answer.body)
    }

    fn documents(&mut self) -> Vec<Value> {
        self.decoder.documents_after(&mut self.seen).into_iter().map(|Document(json)| json).collect()
    }

    /// The differences that one message makes, each with its document's name.
    fn differences(&mut self, path: &str, message: &[u8]) -> Vec<String> {
        assert_eq!(self.post(path, &[], message), (200, String::new()));
        let theirs = self.documents();
        let headers = [("content-type", "application/x-protobuf")];
        let answer = Connection::open(self.server.addr()).request(&format!("POST {path}"), &headers, message).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut events = self.server.store().query(&Query::new()).events;
        self.server.clear();
        events.reverse();
        let (mut body, mut additions) = (String::new(), Vec::new());
        let mut metadata_additions = Value::Null;
        let mut ours = Vec::new();
        for event in &events {
            let (line, addition) = as_intake(event);
            if event.kind() == Kind::Metadata {
                ours.extend(self.through_intake(&body, &mut additions));
                body.clear();
                metadata_additions = addition;
            } else {
                let mut all = metadata_additions.clone();
                merge(&mut all, &addition);
                additions.push(all);
            }
            body += &format!("{line}\n");
        }
        ours.extend(self.through_intake(&body, &mut additions));
        if path == "/v1/logs" {
            ours.iter_mut().for_each(of_log_record);
        }
        let mut theirs: Vec<_> = theirs.iter().map(fields).collect();
        let mut ours: Vec<_> = ours.iter().map(fields).collect();
        if path == "/v1/metrics" {
            // the order of metric sets is random
            for sets in [&mut ours, &mut theirs] {
                sets.sort_by_key(|set| {
                    let key = ["@timestamp", "labels.queue_name"].map(|field| set.get(field).cloned());
                    format!("{key:?}")
                });
            }
        }
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(&theirs).flat_map(|(ours, theirs)| between(ours, theirs)).collect()
    }

    fn through_intake(&mut self, body: &str, additions: &mut Vec<Value>) -> Vec<Value> {
        if additions.is_empty() {
            return Vec::new();
        }
        let headers = [("content-type", "application/x-ndjson")];
        assert_eq!(
            self.post("/intake/v2/events", &headers, body.as_bytes()).0,
            202,
            "the decoder has printed the reason"
        );
        let mut documents = self.documents();
        assert_eq!(documents.len(), additions.len());
        for (document, addition) in documents.iter_mut().zip(additions.drain(..)) {
            merge(document, &addition);
        }
        documents
    }
}

/// Moves the fields of an error that is a log record to their places in OTLP.
fn of_log_record(document: &mut Value) {
    let Some(error) = document.get_mut("error").and_then(Value::as_object_mut) else { return };
    if let Some(log) = error.remove("log")
        // the default of intake
        && log["level"] != "error"
    {
        document["log"]["level"] = log["level"].clone();
    }
    if let Some(parent) = document.as_object_mut().unwrap().remove("parent") {
        document["span"] = parent;
    }
}

/// A line of intake, and additional fields of its document.
fn as_intake(event: &Event) -> (String, Value) {
    let mut body = event.body();
    let members = body.as_object_mut().unwrap();
    let mut addition = members.remove("ecs").unwrap_or_default();
    members.remove("dropped");
    if event.kind() == Kind::Transaction {
        members.insert("span_count".into(), json!({ "started": 0 }));
    }
    if let Some(request) = body.pointer_mut("/context/request").and_then(Value::as_object_mut) {
        request.entry("method").or_insert_with(|| "".into());
    }
    for pointer in ["/context/tags", "/labels", "/tags"] {
        if let Some(labels) = body.pointer_mut(pointer).and_then(Value::as_object_mut) {
            lists(labels, &mut addition);
        }
    }
    if let Some(samples) = body.get_mut("samples").and_then(Value::as_object_mut) {
        summaries(samples, &mut addition);
    }
    if event.kind() == Kind::Error && body.get("exception").is_none() && body.get("log").is_none() {
        body["log"] = json!({ "message": "" });
    }
    (json!({ (event.kind().as_str()): body }).to_string(), addition)
}

/// Moves labels that are lists to the additional fields, because intake has no lists.
fn lists(labels: &mut Map<String, Value>, addition: &mut Value) {
    let lists: Vec<_> = labels.iter().filter(|(_, value)| value.is_array()).map(|(key, _)| key.clone()).collect();
    for key in lists {
        let Some(Value::Array(list)) = labels.remove(&key) else { unreachable!() };
        let field = if list[0].is_number() { "numeric_labels" } else { "labels" };
        merge(addition, &json!({ field: { key: list } }));
    }
}

/// Moves summaries to the additional fields, because intake has no summaries.
fn summaries(samples: &mut Map<String, Value>, addition: &mut Value) {
    let is_summary = |sample: &Value| sample["type"] == "summary";
    let names: Vec<_> = samples.iter().filter(|(_, sample)| is_summary(sample)).map(|(name, _)| name.clone()).collect();
    for name in names {
        let sample = samples.remove(&name).unwrap();
        merge(addition, &json!({ "summaries": { name: [sample["count"], sample["sum"]] } }));
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}

fn fields(document: &Value) -> BTreeMap<String, Value> {
    let mut fields = Document::new(document.clone()).fields();
    // the order of samples is random
    for sample in fields.remove("metricset.samples").unwrap_or_default().as_array().into_iter().flatten() {
        let name = sample["name"].as_str().unwrap();
        if sample["type"] == "summary" {
            fields.insert(format!("summaries.{name}"), json!([sample["value_count"], sample["sum"]]));
        } else {
            fields.insert(format!("metricset.{name}"), sample["type"].clone());
        }
    }
    fields.retain(|field, _| {
        !APART
            .iter()
            .any(|(apart, _)| field.strip_prefix(apart).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    });
    fields
}

fn between(ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>) -> Vec<String> {
    let name = ["span.name", "transaction.name", "error.exception", "message", "span.id", "transaction.id"];
    let name = name.iter().find_map(|field| theirs.get(*field)).map(Value::to_string).unwrap_or_default();
    let mut keys: Vec<_> = ours.keys().chain(theirs.keys()).collect();
    keys.sort();
    keys.dedup();
    let value = |fields: &BTreeMap<String, Value>, key: &String| fields.get(key).cloned().unwrap_or_default();
    keys.into_iter()
        .map(|key| (key, value(ours, key), value(theirs, key)))
        .filter(|(key, ours, theirs)| !same(key, ours, theirs))
        .map(|(key, ours, theirs)| format!("{name} {key}: {ours} here, {theirs} there"))
        .collect()
}

/// Whether two values are equal. Durations may differ by a nanosecond, an absent target type is empty in intake, and the scheme
/// of intake has no colon.
fn same(key: &str, ours: &Value, theirs: &Value) -> bool {
    if let (Value::Array(ours), Value::Array(theirs)) = (ours, theirs) {
        return ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(key, ours, theirs));
    }
    match key {
        "service.target.type" | "service.version" if ours == "" => return theirs.is_null() || theirs == "",
        // the server sets it for an empty attribute too
        "session.id" if theirs == "" => return ours.is_null(),
        "url.scheme" if ours != theirs => {
            return ours.as_str().unwrap_or_default() == theirs.as_str().unwrap().trim_end_matches(':');
        }
        _ => {}
    }
    let is_near =
        || matches!((ours.as_f64(), theirs.as_f64()), (Some(ours), Some(theirs)) if (ours - theirs).abs() <= 1.0);
    let as_numbers = || ours.as_f64().is_some() && ours.as_f64() == theirs.as_f64();
    ours == theirs || as_numbers() || (key == "event.duration" || key.ends_with("duration.us")) && is_near()
}

/// Returns the OTLP messages that an agent sends for this traffic.
async fn sent_by(traffic: impl AsyncFnOnce(&Agent)) -> Vec<Bytes> {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let (keep, listener) = (bodies.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/traces", post(async move |body: Bytes| keep.lock().unwrap().push(body)));
    tokio::spawn(async { axum::serve(listener, app).await });
    let agent = agent(|agent| {
        let agent = agent.exporter(Exporter::Otlp).otlp_endpoint(format!("http://{address}"));
        agent.server_url(format!("http://{address}")).global_labels([("team", "market")]).service_version("1.2")
    });
    traffic(&agent).await;
    agent.shutdown(DEADLINE).await.unwrap();
    bodies.lock().unwrap().clone()
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn traffic_of_this_agent_matches_the_real_server() {
    let mut both = Both::start();
    let bodies = sent_by(traffic::run).await;
    assert!(!bodies.is_empty());
    for body in bodies {
        assert_none(both.differences("/v1/traces", &body));
    }
}

fn assert_none(differences: Vec<String>) {
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn span_rules_match_the_real_server() {
    let mut both = Both::start();
    for spans in [requests::rows(), requests::long_texts()] {
        let message = requests::traces(requests::resource(), spans).encode_to_vec();
        assert_none(both.differences("/v1/traces", &message));
    }
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn resources_match_the_real_server() {
    let mut both = Both::start();
    for resource in requests::resources() {
        let spans = vec![requests::span(1, 2, false, Vec::new())];
        assert_none(both.differences("/v1/traces", &requests::traces(resource, spans).encode_to_vec()));
    }
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn metrics_match_the_real_server() {
    let mut both = Both::start();
    assert_none(both.differences("/v1/metrics", &requests::metrics().encode_to_vec()));
}

/// `PROPTEST_CASES` sets the number of cases, `PROPTEST_RNG_SEED` selects others.
fn runner(cases: u32) -> TestRunner {
    let set = |variable| std::env::var_os(variable).is_some();
    let default = Config::default();
    let cases = if set("PROPTEST_CASES") { default.cases } else { cases };
    let rng_seed = if set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(1) };
    TestRunner::new(Config { cases, rng_seed, ..default })
}

fn draw<T>(runner: &mut TestRunner, one: impl Fn(u64) -> proptest::strategy::BoxedStrategy<T>) -> Vec<T>
where
    T: std::fmt::Debug,
{
    let count = u64::from(runner.config().cases);
    (1..=count).map(|number| one(number).new_tree(runner).unwrap().current()).collect()
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn random_attributes_match_the_real_server() {
    let mut both = Both::start();
    let spans = draw(&mut runner(2_000), |number| requests::any_span(number).boxed());
    for spans in spans.chunks(1_000) {
        let message = requests::traces(requests::resource(), spans.to_vec()).encode_to_vec();
        assert_none(both.differences("/v1/traces", &message));
    }
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn log_records_match_the_real_server() {
    let mut both = Both::start();
    let mut records = draw(&mut runner(1_000), |number| requests::any_record(number).boxed());
    records.push(requests::record());
    for records in records.chunks(1_000) {
        let message = requests::logs(requests::resource(), records.to_vec()).encode_to_vec();
        assert_none(both.differences("/v1/logs", &message));
    }
}
