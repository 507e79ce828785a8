//! What stands in transactions and errors.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::SpanKind};
use serde_json::json;

use super::{
    records,
    schemas::{error, transaction},
};
use crate::{
    elastic::map::metadata,
    record::{
        Cloud, CloudPart, HttpResponse, Kubernetes, Name, OtelPart, Outcome, Resource, SourceLocation, Stack,
        TransactionRecord, User,
    },
};

#[test]
fn transaction_document_has_the_expected_fields() {
    let mut event = transaction(&records::transaction());
    let context = event.as_object_mut().unwrap().remove("context").unwrap();
    let want = json!({
        "id": "802c383f395c506d", "trace_id": "0af7651916cd43dd8448eb211c80319c", "parent_id": "b7ad6b7169203331",
        "name": "POST /market/listings/{id}/purchase", "type": "request", "result": "HTTP 2xx", "outcome": "success",
        "timestamp": 1_795_376_332_088_009_u64, "duration": 31.958, "sampled": true, "sample_rate": 0.5,
        "span_count": { "started": 2, "dropped": 1 }, "marks": { "agent": { "timeToFirstByte": 20.5 } },
        "links": [{ "trace_id": "00000000000000000000000000000001", "span_id": "0000000000000002" }],
        "otel": { "span_kind": "SERVER" },
    });
    assert_eq!(event, want);
    let redacted = r#"{"buyer":"0xdef","amount":3,"password":"[REDACTED]"}"#;
    let want = json!({
        "user": { "id": "0xdef", "email": "ada@example.com", "username": "Ada", "domain": "shop" },
        "tags": { "module": "market", "listing_id": 7, "vip": true, "ratio": 0.5, "cart_size": 3 },
        "custom": { "order": serde_json::from_str::<serde_json::Value>(redacted).unwrap() },
        "request": {
            "method": "POST", "http_version": "1.1",
            "url": {
                "raw": "/market/listings/1/purchase?dry=1&token=[REDACTED]",
                "full": "http://127.0.0.1:18300/market/listings/1/purchase?dry=1&token=[REDACTED]",
                "protocol": "http", "hostname": "127.0.0.1", "port": 18300,
                "pathname": "/market/listings/1/purchase", "search": "?dry=1&token=[REDACTED]",
            },
            "headers": {
                "host": "127.0.0.1:18300", "user-agent": "curl/8", "authorization": "[REDACTED]",
                "cookie": "[REDACTED]", "accept": ["text/html", "*/*"],
            },
            "cookies": { "session": "[REDACTED]", "theme": "dark" },
            "body": context["request"]["body"],
            "socket": { "remote_address": "127.0.0.1" },
        },
        "response": {
            "status_code": 201, "finished": true, "headers_sent": true,
            "headers": { "content-type": "application/json", "set-cookie": "[REDACTED]" },
        },
        "service": { "framework": { "name": "axum" } },
    });
    assert_eq!(context, want);
    assert!(context["request"]["body"].as_str().unwrap().contains(r#""password":"[REDACTED]""#));
}

#[test]
fn absent_fields_are_not_written() {
    let bare = TransactionRecord {
        parent_id: None,
        sample_rate: None,
        time_to_head: None,
        name: Name::Text("nightly settlement".into()),
        kind: "scheduled".into(),
        links: Vec::new(),
        otel: None,
        spans: Default::default(),
        context: Default::default(),
        duration: Duration::from_secs(2),
        ..records::transaction()
    };
    let mut event = transaction(&bare);
    event.as_object_mut().unwrap().retain(|key, _| !["id", "trace_id", "timestamp"].contains(&key.as_str()));
    let want = json!({
        "name": "nightly settlement", "type": "scheduled", "outcome": "success", "sampled": true, "duration": 2000.0,
        "span_count": { "started": 0 }, "context": {},
    });
    assert_eq!(event, want);
}

#[test]
fn result_follows_the_status_unless_set() {
    let of = |status: Option<u16>, result: Option<&'static str>| {
        let mut record = records::transaction();
        record.result = result.map(Into::into);
        record.context.response = status.map(|status| HttpResponse { status, headers: None, finished: true });
        transaction(&record)["result"].clone()
    };
    assert_eq!(of(Some(404), None), "HTTP 4xx");
    assert_eq!(of(Some(101), None), "HTTP 1xx");
    assert_eq!(of(Some(500), Some("settled")), "settled");
    assert_eq!(of(None, None), json!(null));
}

#[test]
fn name_without_a_route_contains_no_client_data() {
    let mut record = records::transaction();
    let request = record.context.request.as_mut().unwrap();
    request.text = crate::record::RequestText::new("/nowhere/at/all", None, b"h", None);
    assert_eq!(transaction(&record)["name"], "POST unknown route");
    record.context.request.as_mut().unwrap().method = "MINT".parse().unwrap();
    assert_eq!(transaction(&record)["name"], "OTHER unknown route");
    record.name = Name::Text("".into());
    assert_eq!(transaction(&record)["name"], "unnamed");
}

#[test]
fn unknown_outcome_is_sent_as_unknown() {
    let event = transaction(&TransactionRecord { outcome: Outcome::Unknown, ..records::transaction() });
    assert_eq!(event["outcome"], "unknown");
    assert!(event.get("otel").is_none(), "with it the server would make a success of it");
}

#[test]
fn unsampled_transaction_has_no_context() {
    let event = transaction(&TransactionRecord { sampled: false, sample_rate: Some(0.0), ..records::transaction() });
    assert_eq!((&event["sampled"], &event["sample_rate"]), (&json!(false), &json!(0.0)));
    assert!(event.get("context").is_none());
}

#[test]
fn attributes_of_the_current_span_fill_unset_fields() {
    let attributes = vec![
        KeyValue::new("user.id", "other"),
        KeyValue::new("enduser.id", "older"),
        KeyValue::new("user.email", "grace@example.com"),
        KeyValue::new("module", "other"),
        KeyValue::new("code.file.path", "src/main.rs"),
        KeyValue::new("messaging.destination.name", "orders"),
    ];
    let mut record = records::transaction();
    record.otel = Some(Box::new(OtelPart { kind: SpanKind::Consumer, attributes }));
    record.context.user = Some(Box::new(User::id("0xdef")));
    let context = &transaction(&record)["context"];
    assert_eq!(context["user"], json!({ "id": "0xdef", "email": "grace@example.com" }));
    assert_eq!(context["tags"]["module"], "market");
    assert_eq!(context["tags"].as_object().unwrap().len(), 4);
    assert_eq!(context["message"], json!({ "queue": { "name": "orders" } }));
}

// spec: error-tracking.md
#[test]
fn error_has_causes_culprit_and_transaction() {
    let event = error(records::error());
    assert_eq!(event["culprit"], "marketplace::market::service::purchase");
    assert_eq!(
        event["transaction"],
        json!({ "name": "POST /market/listings/{id}/purchase", "type": "request", "sampled": true })
    );
    assert_eq!(
        (&event["trace_id"], &event["parent_id"]),
        (&json!("00000000000000000000000000000001"), &json!("0000000000000003"))
    );
    let want = json!({
        "message": "settlement failed at http://chain/rpc?token=[REDACTED]", "type": "SettlementError",
        "module": "marketplace::market", "handled": false,
        "stacktrace": [
            { "classname": "sqlx::query", "function": "sqlx::query::fetch_one", "module": "sqlx::query", "library_frame": true },
            {
                "filename": "src/market/service.rs", "function": "marketplace::market::service::purchase",
                "module": "marketplace::market::service", "lineno": 42, "colno": 13, "library_frame": false,
            },
        ],
        "cause": [{ "message": "the chain refused", "cause": [{ "message": "execution reverted" }] }],
    });
    assert_eq!(event["exception"], want);
    assert_eq!(event["log"]["param_message"], "purchase failed");
    assert_eq!(event["context"], transaction_context());
}

/// Errors are found by the user and the labels of their transaction.
fn transaction_context() -> serde_json::Value {
    let mut record = records::transaction();
    record.otel = None;
    transaction(&record)["context"].clone()
}

#[test]
fn location_of_a_panic_is_its_culprit() {
    let mut record = records::error();
    if let Some(exception) = &mut record.exception {
        exception.stack = Stack::Location(SourceLocation { file: "src/market/routes.rs".into(), line: 3, column: 5 });
    }
    let event = error(record);
    assert_eq!(event["culprit"], "src/market/routes.rs");
    assert_eq!(event["exception"]["stacktrace"][0]["lineno"], 3);
}

// spec: metadata.md
#[test]
fn metadata_contains_container_pod_and_cloud() {
    let text = |text: &str| Some(text.to_owned());
    let resource = Resource {
        container_id: text("2227daf6"),
        kubernetes: Kubernetes {
            namespace: text("shops"),
            node_name: text("node1"),
            pod_name: text("shop-1"),
            pod_uid: text("90d8"),
        },
        cloud: Some(Cloud {
            provider: "gcp",
            region: text("us-west3"),
            availability_zone: text("us-west3-a"),
            instance: CloudPart { id: text("4306570268266786072"), name: text("basepi") },
            project: CloudPart { id: text("elastic-apm"), name: None },
            machine_type: text("n1-standard-1"),
            ..Cloud::default()
        }),
        ..records::resource()
    };
    let told = serde_json::to_value(metadata(&resource)).unwrap();
    assert_eq!(told["system"]["container"], json!({ "id": "2227daf6" }));
    let pod = json!({ "namespace": "shops", "node": { "name": "node1" }, "pod": { "name": "shop-1", "uid": "90d8" } });
    assert_eq!(told["system"]["kubernetes"], pod);
    let cloud = json!({
        "provider": "gcp", "region": "us-west3", "availability_zone": "us-west3-a",
        "instance": { "id": "4306570268266786072", "name": "basepi" }, "project": { "id": "elastic-apm" },
        "machine": { "type": "n1-standard-1" },
    });
    assert_eq!(told["cloud"], cloud);
    let bare = serde_json::to_value(metadata(&records::resource())).unwrap();
    assert!(bare.get("cloud").is_none() && bare["system"].get("kubernetes").is_none(), "{bare}");
}
