//! What the server takes and the index then loses or hides: each row of the table of traps, on both ways.
//!
//! Of metrics, whose names have traps of their own, see `metrics`.

use axum::{Router, body::Body, extract::Request, routing::get};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_apm::{Agent, Exporter, Stats, Transaction};

use crate::{
    document::{Document, Kind},
    server::{DEADLINE, Decoder, agent, warnings},
};

/// What one way made of what a service told.
struct Told {
    documents: Vec<Document>,
    stats: Stats,
    native: bool,
    /// In front of every key, so that the warnings of both ways can be told apart.
    way: &'static str,
}

impl Told {
    fn transaction(&self, name: &str) -> &Value {
        let named =
            |document: &&Document| document.kind() == Kind::Transaction && document.text("/transaction/name") == name;
        &self.documents.iter().find(named).unwrap_or_else(|| panic!("no transaction {name}")).0
    }

    /// One value of custom context, wherever it is.
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

    fn warns(&self, key: &str, words: &str) {
        let key = format!("key=\"{}{key}\"", self.way);
        assert_eq!(warnings(&[&key, words]).len(), 1, "{key} {words}: {:?}", warnings(&["key="]));
    }
}

async fn told(exporter: Exporter, way: &'static str, tell: impl AsyncFn(&Agent, &str)) -> Told {
    let decoder = Decoder::start("");
    let global = format!("{way}start");
    let agent = agent(|agent| {
        agent
            .server_url(&*decoder.http)
            .exporter(exporter)
            .global_labels([(&*global, "soon"), ("data_stream.dataset", "evil")])
    });
    tell(&agent, way).await;
    agent.shutdown(DEADLINE).await.unwrap();
    let (documents, stats, native) = (decoder.documents(), agent.stats(), exporter == Exporter::Intake);
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.total()), (stats.recorded, 0, 0), "{stats}");
    Told { documents, stats, native, way }
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

async fn tell(agent: &Agent, way: &str) {
    let keys = agent.start_transaction("keys", "scheduled");
    keys.set_custom_context(format!("{way}order.id"), 1)
        .set_custom_context(format!("{way}order_id"), 2)
        .set_custom_context("", 3)
        .set_custom_context(" ", 4);
    keys.set_label("", 1)
        .set_label(" ", 2)
        .set_label(format!("{way}a.b"), "first")
        .set_label(format!("{way}a_b"), "last");
    drop(keys);

    let sizes = agent.start_transaction("n".repeat(40_000), "scheduled");
    sizes.set_custom_context("deep", Deep(100_000)).set_label("long", "x".repeat(40_000));
    sizes.set_custom_context("map", json!({ "k".repeat(60_000): 1 }));
    sizes.in_scope(|| tracing::info_span!("s", otel.name = "m".repeat(40_000)).in_scope(|| ()));

    let values = agent.start_transaction("values", "scheduled");
    values.set_label(format!("{way}wei"), 9_200_000_000_001_i64).set_label(format!("{way}gwei"), 9_200_000_000_000_i64);
    values.set_label(format!("{way}listing"), "7").set_label(format!("{way}client_ip"), "unknown");
    values.set_label(format!("{way}reimports"), "a,b");
    values.set_custom_context(format!("{way}paid_timestamp"), "1 o'clock");
    let raw = serde_json::value::RawValue::from_string("[1e400, -1e999, 12345678901234567890123]".to_owned()).unwrap();
    values.set_custom_context("raw", &raw).set_custom_context("after", 1);
    drop(values);
    let numbers = agent.start_transaction("numbers", "scheduled");
    numbers.set_label(format!("{way}listing"), 7);
    numbers.error(&std::io::Error::other("no such room")).label(format!("{way}risk_score"), "high").capture();
    drop(numbers);

    let app = Router::new().route("/", get(async || "ok")).layer(agent.layer());
    let request = Request::get("/").header("referer", "r".repeat(40_000)).body(Body::empty()).unwrap();
    drop(app.oneshot(request).await.unwrap());
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn every_row_of_the_index_s_traps_has_its_guard_on_both_ways() {
    for (exporter, way) in [(Exporter::Intake, "native_"), (Exporter::Otlp, "otlp_")] {
        let told = told(exporter, way, tell).await;
        let key = |key: &str| format!("{way}{key}");

        // custom keys that are one; blank keys
        let keys = told.transaction("keys");
        assert_eq!(told.custom(keys, &key("order_id")), 2, "{keys:#}");
        assert_eq!(keys["labels"][key("a_b")], "last");
        told.warns("order_id", "custom context");
        told.warns("a_b", "labels");
        assert!(!warnings(&["label", "blank"]).is_empty());
        assert!(!warnings(&["custom context", "blank"]).is_empty());
        assert!(!keys.to_string().contains("\"\":"), "{keys:#}");
        assert_eq!(told.stats.dropped_keys, 6, "{}", told.stats);

        // names, labels, depth and keys that are too long
        let sizes = told.transaction(&("n".repeat(1023) + "…"));
        assert_eq!(characters(&sizes["labels"]["long"]), 1024);
        let span = told.documents.iter().find(|document| document.kind() == Kind::Span).unwrap();
        assert_eq!(span.text("/span/name").chars().count(), 1024);
        if told.native {
            let deep = told.custom(sizes, "deep").to_string();
            assert_eq!((deep.matches('[').count(), deep.contains('…')), (32, true), "{deep}");
            assert_eq!(told.custom(sizes, "map"), json!({ "k".repeat(1023) + "…": 1 }));
        } else {
            assert!(characters(&told.custom(sizes, "deep")) <= 1024);
        }
        let keys = sizes["labels"].as_object().unwrap().keys();
        assert!(
            keys.chain(sizes["numeric_labels"].as_object().into_iter().flat_map(|map| map.keys()))
                .all(|key| key.chars().count() <= 1024)
        );

        // numbers, and a key that is two fields
        let values = told.transaction("values");
        assert_eq!(values["labels"][key("wei")], "9200000000001");
        assert_eq!(values["numeric_labels"][key("gwei")], json!(9_200_000_000_000_f64));
        told.warns("wei", "9.2e12");
        told.warns("listing", "number");

        assert_eq!(told.custom(values, "after"), 1, "a number that no float holds costs nothing");

        // names with a type
        told.warns("client_ip", "found");
        told.warns("reimports", "found");
        told.warns("risk_score", "found");
        if !told.native {
            assert_eq!(warnings(&["custom_otlp_paid_timestamp", "found"]).len(), 1);
        }

        // what is in front of all of them
        assert_eq!(values["labels"][key("start")], "soon");
        assert_eq!(values["labels"]["data_stream_dataset"], "evil");
        assert_ne!(values["data_stream"]["dataset"], "evil");

        // headers, and the environment of CGI
        let request = told.transaction("GET /");
        assert_eq!(characters(&told.request_header(request, "Referer", "referer")), 1024, "{request:#}");
        assert_eq!(request.pointer("/http/request/env"), None);
    }
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn too_many_keys_of_labels_are_told_on_both_ways() {
    for (exporter, way) in [(Exporter::Intake, "many_native_"), (Exporter::Otlp, "many_otlp_")] {
        let before = warnings(&["100 keys"]).len();
        let tell = async |agent: &Agent, way: &str| {
            for part in 0..2 {
                let transaction = agent.start_transaction("many", "scheduled");
                (0..60).for_each(|n| drop::<Transaction>(transaction.set_label(format!("{way}{part}_{n}"), n).clone()));
            }
        };
        told(exporter, way, tell).await;
        assert_eq!(warnings(&["100 keys"]).len(), before + 1, "{way}");
    }
}
