//! Values that the server accepts and the index loses or hides, over intake and OTLP.
//!
//! The module `metrics` tests the names of metrics.

use axum::{Router, body::Body, extract::Request, routing::get};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_apm::{Agent, Exporter, Stats, Transaction};

use crate::{
    decoder::{DEADLINE, Decoder, agent, warnings},
    document::{Document, Kind},
};

/// The documents of one protocol.
struct Received {
    documents: Vec<Document>,
    stats: Stats,
    native: bool,
    /// The prefix of every key, which distinguishes the warnings of both protocols.
    prefix: &'static str,
}

impl Received {
    fn transaction(&self, name: &str) -> &Value {
        let named =
            |document: &&Document| document.kind() == Kind::Transaction && document.text("/transaction/name") == name;
        &self.documents.iter().find(named).unwrap_or_else(|| panic!("no transaction {name}")).0
    }

    /// A value of custom context, which is a label over OTLP.
    fn custom(&self, document: &Value, path: &str) -> Value {
        let found = if self.native {
            document.pointer(&format!("/transaction/custom/{}", path.replace('.', "/")))
        } else {
            let label = format!("custom_{}", path.replace('.', "_"));
            document["labels"].get(&label).or_else(|| document["numeric_labels"].get(&label))
        };
        found.cloned().unwrap_or_default()
    }

    fn request_header(&self, document: &Value, native: &str, label: &str) -> Value {
        let found = match self.native {
            true => document.pointer(&format!("/http/request/headers/{native}/0")),
            false => document.pointer(&format!("/labels/http_request_header_{label}")),
        };
        let found = found.cloned().unwrap_or_default();
        found.get(0).cloned().unwrap_or(found)
    }

    fn expect_warning(&self, key: &str, text: &str) {
        let key = format!("key=\"{}{key}\"", self.prefix);
        assert_eq!(warnings(&[&key, text]).len(), 1, "{key} {text}: {:?}", warnings(&["key="]));
    }
}

async fn received(exporter: Exporter, prefix: &'static str, record: impl AsyncFn(&Agent, &str)) -> Received {
    let decoder = Decoder::start("");
    let global = format!("{prefix}start");
    let agent = agent(|agent| {
        agent
            .server_url(&*decoder.http)
            .exporter(exporter)
            .global_labels([(&*global, "soon"), ("data_stream.dataset", "evil")])
    });
    record(&agent, prefix).await;
    agent.shutdown(DEADLINE).await.unwrap();
    let (documents, stats, native) = (decoder.documents(), agent.stats(), exporter == Exporter::Intake);
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.total()), (stats.recorded, 0, 0), "{stats}");
    Received { documents, stats, native, prefix }
}

fn characters(value: &Value) -> usize {
    value.as_str().unwrap_or_default().chars().count()
}

struct Deep(usize);

impl serde::Serialize for Deep {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([Deep(self.0 - 1)])
    }
}

async fn record(agent: &Agent, prefix: &str) {
    let keys = agent.start_transaction("keys", "scheduled");
    keys.set_custom_context(format!("{prefix}order.id"), 1)
        .set_custom_context(format!("{prefix}order_id"), 2)
        .set_custom_context("", 3)
        .set_custom_context(" ", 4);
    keys.set_label("", 1)
        .set_label(" ", 2)
        .set_label(format!("{prefix}a.b"), "first")
        .set_label(format!("{prefix}a_b"), "last");
    drop(keys);

    let sizes = agent.start_transaction("n".repeat(40_000), "scheduled");
    sizes.set_custom_context("deep", Deep(100_000)).set_label("long", "x".repeat(40_000));
    sizes.set_custom_context("map", json!({ "k".repeat(60_000): 1 }));
    sizes.in_scope(|| tracing::info_span!("s", otel.name = "m".repeat(40_000)).in_scope(|| ()));

    let values = agent.start_transaction("values", "scheduled");
    values
        .set_label(format!("{prefix}wei"), 9_200_000_000_001_i64)
        .set_label(format!("{prefix}gwei"), 9_200_000_000_000_i64);
    values.set_label(format!("{prefix}listing"), "7").set_label(format!("{prefix}client_ip"), "unknown");
    values.set_label(format!("{prefix}reimports"), "a,b");
    values.set_custom_context(format!("{prefix}paid_timestamp"), "1 o'clock");
    let raw = serde_json::value::RawValue::from_string("[1e400, -1e999, 12345678901234567890123]".to_owned()).unwrap();
    values.set_custom_context("raw", &raw).set_custom_context("after", 1);
    drop(values);
    let numbers = agent.start_transaction("numbers", "scheduled");
    numbers.set_label(format!("{prefix}listing"), 7);
    numbers.error(&std::io::Error::other("no such room")).label(format!("{prefix}risk_score"), "high").capture();
    drop(numbers);

    let app = Router::new().route("/", get(async || "ok")).layer(agent.layer());
    let request = Request::get("/").header("referer", "r".repeat(40_000)).body(Body::empty()).unwrap();
    drop(app.oneshot(request).await.unwrap());
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn values_that_the_index_refuses_are_fixed_or_reported_over_both_protocols() {
    for (exporter, prefix) in [(Exporter::Intake, "native_"), (Exporter::Otlp, "otlp_")] {
        let received = received(exporter, prefix, record).await;
        let key = |key: &str| format!("{prefix}{key}");

        // custom keys that become equal; blank keys
        let keys = received.transaction("keys");
        assert_eq!(received.custom(keys, &key("order_id")), 2, "{keys:#}");
        assert_eq!(keys["labels"][key("a_b")], "last");
        received.expect_warning("order_id", "custom context");
        received.expect_warning("a_b", "labels");
        assert!(!warnings(&["label", "blank"]).is_empty());
        assert!(!warnings(&["custom context", "blank"]).is_empty());
        assert!(!keys.to_string().contains("\"\":"), "{keys:#}");
        assert_eq!(received.stats.dropped_keys, 6, "{}", received.stats);

        // names, labels, depth and keys that are too long
        let sizes = received.transaction(&("n".repeat(1023) + "…"));
        assert_eq!(characters(&sizes["labels"]["long"]), 1024);
        let span = received.documents.iter().find(|document| document.kind() == Kind::Span).unwrap();
        assert_eq!(span.text("/span/name").chars().count(), 1024);
        if received.native {
            let deep = received.custom(sizes, "deep").to_string();
            assert_eq!((deep.matches('[').count(), deep.contains('…')), (32, true), "{deep}");
            assert_eq!(received.custom(sizes, "map"), json!({ "k".repeat(1023) + "…": 1 }));
        } else {
            assert!(characters(&received.custom(sizes, "deep")) <= 1024);
        }
        let keys = sizes["labels"].as_object().unwrap().keys();
        assert!(
            keys.chain(sizes["numeric_labels"].as_object().into_iter().flat_map(|map| map.keys()))
                .all(|key| key.chars().count() <= 1024)
        );

        // numbers, and a key with two types
        let values = received.transaction("values");
        assert_eq!(values["labels"][key("wei")], "9200000000001");
        assert_eq!(values["numeric_labels"][key("gwei")], json!(9_200_000_000_000_f64));
        received.expect_warning("wei", "9.2e12");
        received.expect_warning("listing", "number");

        assert_eq!(
            received.custom(values, "after"),
            1,
            "a number that does not fit into a float does not lose the others"
        );

        // names with a fixed type in the index
        received.expect_warning("client_ip", "found");
        received.expect_warning("reimports", "found");
        received.expect_warning("risk_score", "found");
        if !received.native {
            assert_eq!(warnings(&["custom_otlp_paid_timestamp", "found"]).len(), 1);
        }

        // global labels
        assert_eq!(values["labels"][key("start")], "soon");
        assert_eq!(values["labels"]["data_stream_dataset"], "evil");
        assert_ne!(values["data_stream"]["dataset"], "evil");

        // headers, and the CGI environment
        let request = received.transaction("GET /");
        assert_eq!(characters(&received.request_header(request, "Referer", "referer")), 1024, "{request:#}");
        assert_eq!(request.pointer("/http/request/env"), None);
    }
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn too_many_label_keys_are_reported_over_both_protocols() {
    for (exporter, prefix) in [(Exporter::Intake, "many_native_"), (Exporter::Otlp, "many_otlp_")] {
        let before = warnings(&["100 keys"]).len();
        let record = async |agent: &Agent, prefix: &str| {
            for part in 0..2 {
                let transaction = agent.start_transaction("many", "scheduled");
                (0..60)
                    .for_each(|n| drop::<Transaction>(transaction.set_label(format!("{prefix}{part}_{n}"), n).clone()));
            }
        };
        received(exporter, prefix, record).await;
        assert_eq!(warnings(&["100 keys"]).len(), before + 1, "{prefix}");
    }
}
