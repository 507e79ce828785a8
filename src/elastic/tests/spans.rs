//! What becomes of OpenTelemetry's spans.

use opentelemetry::{
    KeyValue, Value as Attribute,
    trace::{SpanKind, Status},
};
use serde_json::{Value, json};

use super::{records, schemas};
use crate::record::Outcome;

fn attributes(pairs: &[(&'static str, &'static str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect()
}

fn exit(name: &'static str, pairs: &[(&'static str, &'static str)]) -> Value {
    schemas::span(&records::span(name, SpanKind::Client, attributes(pairs)))
}

fn kind(span: &Value) -> [&str; 3] {
    ["type", "subtype", "action"].map(|part| span[part].as_str().unwrap_or("-"))
}

fn resource(span: &Value) -> &str {
    span["context"]["destination"]["service"]["resource"].as_str().unwrap_or("-")
}

#[test]
fn database_statement_names_its_span() {
    let statement = r#"SELECT "listings"."id" FROM "listings" WHERE "id" = $1"#;
    let span =
        exit("sea_orm.query_one", &[("db.system", "sqlite"), ("db.operation", "SELECT"), ("db.statement", statement)]);
    assert_eq!(span["name"], "SELECT FROM listings");
    assert_eq!(kind(&span), ["db", "sqlite", "query"]);
    assert_eq!(span["context"]["db"], json!({ "type": "sql", "statement": statement }));
    assert_eq!(span["context"]["service"]["target"], json!({ "type": "sqlite" }));
    assert_eq!(resource(&span), "sqlite");
    assert_eq!(span["context"].get("tags"), None);
    let span = exit("load the listing", &[("db.system", "sqlite"), ("db.statement", statement)]);
    assert_eq!(span["name"], "load the listing", "a name that someone chose stays");
}

#[test]
fn commit_and_rollback_are_named_as_statements() {
    for (name, told) in [("sea_orm.begin", "BEGIN"), ("sea_orm.commit", "COMMIT"), ("db::rollback", "ROLLBACK")] {
        assert_eq!(exit(name, &[("db.system", "sqlite"), ("db.operation", "EXECUTE")])["name"], told);
    }
    for (name, system) in [("sea_orm.execute", "sqlite"), ("begin sale", "sqlite"), ("db.begin", "mongodb")] {
        assert_eq!(exit(name, &[("db.system", system)])["name"], name);
    }
}

// spec: tracing-instrumentation-db.md, tracing-spans-service-target.md
#[test]
fn database_attributes_of_old_and_new_conventions_are_mapped() {
    for (pairs, subtype, action, db_type, want) in [
        (&[("db.system", "postgresql"), ("db.name", "shop")][..], "postgresql", "query", "sql", "postgresql/shop"),
        (
            &[("db.system.name", "postgresql"), ("db.namespace", "shop")],
            "postgresql",
            "query",
            "sql",
            "postgresql/shop",
        ),
        (&[("db.system.name", "microsoft.sql_server")], "mssql", "query", "sql", "mssql"),
        (&[("db.system", "redis"), ("db.statement", "SET k hunter2")], "redis", "query", "redis", "redis"),
        (&[("db.system", "mongodb"), ("db.name", "shop")], "mongodb", "command", "mongodb", "mongodb/shop"),
        (
            &[("db.system", "elasticsearch"), ("url.full", "http://es:9200/a")],
            "elasticsearch",
            "request",
            "elasticsearch",
            "elasticsearch",
        ),
        (
            &[("db.system", "cassandra"), ("db.query.text", "SELECT * FROM ks.t")],
            "cassandra",
            "query",
            "cassandra",
            "cassandra",
        ),
    ] {
        let span = exit("op", pairs);
        assert_eq!(kind(&span), ["db", subtype, action], "{pairs:?}");
        assert_eq!(span["context"]["db"]["type"], db_type);
        assert_eq!(resource(&span), want);
        assert!(!span.to_string().contains("hunter2"));
    }
}

// spec: tracing-instrumentation-http.md
#[test]
fn http_client_spans_have_url_status_and_destination() {
    let pairs = [
        ("http.request.method", "GET"),
        ("url.full", "http://ada:hunter@127.0.0.1:18999/rpc?id=1"),
        ("server.address", "127.0.0.1"),
        ("user_agent.original", "reqwest"),
    ];
    let mut record = records::span("GET", SpanKind::Client, attributes(&pairs));
    record.attributes.push(KeyValue::new("http.response.status_code", 200));
    record.attributes.push(KeyValue::new("server.port", 18999));
    let span = schemas::span(&record);
    assert_eq!(span["name"], "GET 127.0.0.1:18999");
    assert_eq!(kind(&span), ["external", "http", "GET"]);
    assert_eq!(span["outcome"], "success");
    assert_eq!(span["sync"], true);
    assert_eq!(span["otel"], json!({ "span_kind": "CLIENT" }));
    assert_eq!(span["context"]["http"]["method"], "GET");
    assert_eq!(span["context"]["http"]["response"], json!({ "status_code": 200 }));
    assert_eq!(span["context"]["service"], json!({ "target": { "type": "http", "name": "127.0.0.1:18999" } }));
    assert_eq!(
        span["context"]["destination"],
        json!({ "address": "127.0.0.1", "port": 18999, "service": { "name": "", "type": "", "resource": "127.0.0.1:18999" } })
    );
    assert_eq!(span["context"].get("tags"), None, "what has a field of its own is no label");
}

#[test]
fn server_address_is_found_in_every_attribute() {
    for (pairs, name, want, url) in [
        (
            &[("http.method", "GET"), ("http.url", "https://api.example/a")][..],
            "GET api.example",
            "api.example:443",
            "https://api.example/a",
        ),
        (
            &[("http.request.method", "GET"), ("url.scheme", "https"), ("server.address", "api.example")],
            "GET api.example",
            "api.example:443",
            "https://api.example",
        ),
        (
            &[
                ("http.method", "GET"),
                ("http.scheme", "http"),
                ("http.host", "h:81"),
                ("http.target", "/a?token=hunter2"),
            ],
            "http call",
            "h:81",
            "http://h:81/a?token=[REDACTED]",
        ),
        (
            &[("http.method", "GET"), ("url.scheme", "http"), ("server.address", "::1"), ("server.port", "8080")],
            "GET [::1]:8080",
            "[::1]:8080",
            "http://[::1]:8080",
        ),
        (
            &[("http.method", "GET"), ("url.full", "http://h/"), ("peer.service", "chain")],
            "GET h",
            "chain",
            "http://h/",
        ),
    ] {
        let span = exit(if name == "http call" { name } else { "GET" }, pairs);
        assert_eq!(span["name"], name);
        assert_eq!(resource(&span), want, "{pairs:?}");
        assert_eq!(span["context"]["http"]["url"], url);
    }
}

// spec: tracing-api-otel.md, tracing-instrumentation-messaging.md
#[test]
fn messaging_and_rpc_spans_have_type_and_target() {
    let kafka = [("messaging.system", "kafka"), ("messaging.destination.name", "orders")];
    let span = schemas::span(&records::span("orders publish", SpanKind::Producer, attributes(&kafka)));
    assert_eq!((kind(&span), resource(&span)), (["messaging", "kafka", "send"], "kafka/orders"));
    assert_eq!(span["context"]["message"], json!({ "queue": { "name": "orders" } }));

    let mut record = records::span("reply", SpanKind::Producer, attributes(&kafka));
    record.attributes.push(KeyValue::new("messaging.destination.temporary", true));
    assert_eq!(resource(&schemas::span(&record)), "kafka", "a queue that will be gone is no dependency");

    let span = exit(
        "shop.Cart/Add",
        &[("rpc.system", "grpc"), ("rpc.service", "shop.Cart"), ("server.address", "cart"), ("server.port", "50051")],
    );
    assert_eq!((kind(&span), resource(&span)), (["external", "grpc", "-"], "cart:50051"));
    assert_eq!(resource(&exit("a", &[("rpc.system", "grpc"), ("rpc.service", "shop.Cart")])), "shop.Cart");
    assert_eq!(resource(&exit("a", &[("rpc.system", "grpc")])), "grpc");
}

// spec: tracing-api-otel.md
#[test]
fn spans_other_than_exit_spans_have_no_target() {
    for (span_kind, want) in [
        (SpanKind::Internal, ["app", "internal", "-"]),
        (SpanKind::Server, ["unknown", "-", "-"]),
        (SpanKind::Consumer, ["unknown", "-", "-"]),
    ] {
        let pairs = [("url.path", "/a"), ("http.request.method", "GET")];
        let span = schemas::span(&records::span("settle", span_kind, attributes(&pairs)));
        assert_eq!(kind(&span), want);
        assert!(span["context"].get("service").is_none() && span["context"].get("destination").is_none());
    }
    let span = exit("settle", &[]);
    assert_eq!((kind(&span), resource(&span)), (["unknown", "-", "-"], "unknown"));
}

#[test]
fn other_attributes_are_labels() {
    let mut record =
        records::span("settle", SpanKind::Internal, attributes(&[("listing.id", "7"), ("user.id", "0xdef")]));
    for key in ["code.file.path", "thread.id", "busy_ns", "idle_ns", "level", "exception.message", "otel.status_code"] {
        record.attributes.push(KeyValue::new(key, 1));
    }
    record.attributes.push(KeyValue::new("retries", Attribute::I64(2)));
    record.attributes.push(KeyValue::new("target", "shop::market"));
    let span = schemas::span(&record);
    let labels = json!({ "listing_id": "7", "user_id": "0xdef", "retries": 2, "target": "shop::market" });
    assert_eq!(span["context"]["tags"], labels);
}

// spec: tracing-api-otel.md
#[test]
fn span_outcome_follows_status_and_http_code() {
    let http =
        |code: i64| vec![KeyValue::new("http.request.method", "GET"), KeyValue::new("http.response.status_code", code)];
    for (span_kind, pairs, status, said, want) in [
        (SpanKind::Client, http(200), Status::Unset, None, "success"),
        (SpanKind::Client, http(404), Status::Unset, None, "failure"),
        (SpanKind::Client, http(404), Status::Ok, None, "success"),
        (SpanKind::Client, http(200), Status::error("no"), None, "failure"),
        (SpanKind::Internal, http(404), Status::Unset, None, "unknown"),
        (SpanKind::Internal, vec![], Status::Unset, None, "unknown"),
        (SpanKind::Internal, vec![], Status::Ok, None, "success"),
        (SpanKind::Client, http(200), Status::Ok, Some(Outcome::Failure), "failure"),
        (SpanKind::Client, vec![KeyValue::new("rpc.grpc.status_code", 5)], Status::Unset, None, "failure"),
        (SpanKind::Client, vec![KeyValue::new("rpc.grpc.status_code", 0)], Status::Unset, None, "success"),
    ] {
        let mut record = records::span("call", span_kind, pairs);
        (record.status, record.outcome) = (status, said);
        let span = schemas::span(&record);
        assert_eq!(span["outcome"], want, "{record:?}");
        assert_eq!(span.get("otel").is_none(), want == "unknown", "with it the server would make a success of it");
    }
}

// spec: tracing-spans.md
#[test]
fn systems_have_the_names_that_elastic_uses() {
    for (key, system, expected) in [
        ("db.system", "postgresql", "db/postgresql"),
        ("db.system", "mysql", "db/mysql"),
        ("db.system.name", "microsoft.sql_server", "db/mssql"),
        ("db.system", "sqlserver", "db/mssql"),
        ("db.system", "mssql", "db/mssql"),
        ("db.system.name", "oracle.db", "db/oracle"),
        ("db.system.name", "ibm.db2", "db/db2"),
        ("db.system", "h2database", "db/h2"),
        ("db.system.name", "actian.ingres", "db/ingres"),
        ("db.system", "sqlite3", "db/sqlite"),
        ("db.system", "sqlite", "db/sqlite"),
        ("db.system", "other_sql", "db/unknown"),
        ("db.system", "redis", "db/redis"),
        ("db.system.name", "aws.dynamodb", "db/dynamodb"),
        ("db.system.name", "azure.cosmosdb", "db/cosmosdb"),
        ("messaging.system", "kafka", "messaging/kafka"),
        ("messaging.system", "rabbitmq", "messaging/rabbitmq"),
        ("messaging.system", "aws_sqs", "messaging/sqs"),
        ("messaging.system", "AmazonSQS", "messaging/sqs"),
        ("messaging.system", "aws_sns", "messaging/sns"),
        ("messaging.system", "aws.sns", "messaging/sns"),
        ("messaging.system", "servicebus", "messaging/azureservicebus"),
        ("rpc.system", "grpc", "external/grpc"),
        ("rpc.system", "apache_dubbo", "external/dubbo"),
        ("url.scheme", "http", "external/http"),
    ] {
        let span = exit("op", &[(key, system)]);
        let [kind, subtype, _] = kind(&span);
        assert_eq!(format!("{kind}/{subtype}"), expected, "{key}={system}");
    }
}

// spec: tracing-instrumentation-db.md
#[test]
fn database_decides_about_statement_and_action() {
    for (system, action, db_type, name, has_statement) in [
        ("postgresql", "query", "sql", "SELECT FROM orders", true),
        ("unheard_of", "query", "sql", "SELECT FROM orders", true),
        ("cassandra", "query", "cassandra", "SELECT FROM orders", true),
        ("scylladb", "query", "scylladb", "SELECT FROM orders", true),
        ("mongodb", "command", "mongodb", "op", true),
        ("elasticsearch", "request", "elasticsearch", "op", true),
        ("opensearch", "request", "opensearch", "op", true),
        ("dynamodb", "query", "dynamodb", "op", true),
        ("cosmosdb", "query", "cosmosdb", "op", true),
        ("couchbase", "query", "couchbase", "op", true),
        ("couchdb", "query", "couchdb", "op", true),
        ("neo4j", "query", "neo4j", "op", true),
        ("graphql", "query", "graphql", "op", true),
        ("influxdb", "query", "influxdb", "op", true),
        ("hbase", "query", "hbase", "op", true),
        ("redis", "query", "redis", "op", false),
        ("memcached", "query", "memcached", "op", false),
        ("valkey", "query", "valkey", "op", false),
    ] {
        let span = exit("op", &[("db.system", system), ("db.statement", "SELECT a FROM orders"), ("db.name", "shop")]);
        assert_eq!((&span["name"], &span["action"]), (&json!(name), &json!(action)), "{system}");
        let db = &span["context"]["db"];
        assert_eq!(db["type"], db_type, "{system}");
        assert_eq!((db.get("statement").is_some(), db.get("instance").is_some()), (has_statement, has_statement));
    }
}

#[test]
#[ignore = "needs APM_SPEC_DIR"]
fn span_types_match_the_published_catalogue() {
    let catalogue = crate::spec_folder::json("json-specs/span_types.json");
    let systems = [
        ("db.system", "postgresql"),
        ("db.system.name", "microsoft.sql_server"),
        ("db.system.name", "oracle.db"),
        ("db.system.name", "ibm.db2"),
        ("db.system", "sqlite3"),
        ("db.system", "other_sql"),
        ("db.system", "redis"),
        ("db.system.name", "aws.dynamodb"),
        ("messaging.system", "kafka"),
        ("messaging.system", "aws_sqs"),
        ("messaging.system", "servicebus"),
        ("rpc.system", "grpc"),
        ("rpc.system", "apache_dubbo"),
        ("url.scheme", "http"),
    ];
    for (key, value) in systems {
        let span = exit("op", &[(key, value)]);
        let [kind, subtype, _] = kind(&span);
        assert!(catalogue[kind]["subtypes"].get(subtype).is_some(), "{key}={value} gives {kind}/{subtype}");
    }
}

// spec: tracing-instrumentation-grpc.md
#[test]
fn grpc_status_can_be_a_name() {
    for (name, value, outcome) in [
        ("rpc.grpc.status_code", "0", "success"),
        ("rpc.response.status_code", "OK", "success"),
        ("rpc.response.status_code", "NOT_FOUND", "failure"),
        ("rpc.response.status_code", "what", "unknown"),
    ] {
        let span = exit("call", &[("rpc.system.name", "grpc"), (name, value)]);
        assert_eq!((&span["outcome"], span["context"].get("tags")), (&json!(outcome), None), "{name} {value}");
    }
}

// spec: tracing-instrumentation-grpc.md
#[test]
fn newer_grpc_status_attribute_takes_precedence() {
    let newer = ("rpc.response.status_code", "5");
    for (system, older, outcome) in [("grpc", "0", "failure"), ("jsonrpc", "0", "success")] {
        let span = exit("call", &[("rpc.system.name", system), ("rpc.grpc.status_code", older), newer]);
        assert_eq!(span["outcome"], outcome, "{system}");
    }
    assert_eq!(exit("call", &[("rpc.system.name", "jsonrpc"), newer])["outcome"], "unknown");
}

#[test]
fn exit_span_without_error_and_status_succeeds() {
    for pairs in [&[("db.system", "postgresql")][..], &[("messaging.system", "kafka")], &[("url.full", "http://h/")]] {
        assert_eq!(exit("call", pairs)["outcome"], "success", "{pairs:?}");
    }
}

#[test]
fn outcome_attribute_replaces_the_derived_outcome() {
    for (outcome, expected) in [("unknown", "unknown"), ("failure", "failure"), ("what", "success")] {
        let span = exit("call", &[("db.system", "postgresql"), ("event.outcome", outcome)]);
        assert_eq!((&span["outcome"], span["context"].get("tags")), (&json!(expected), None), "{outcome}");
    }
}

// spec: tracing-instrumentation-messaging.md
#[test]
fn receive_operation_has_action_poll() {
    let span = exit("receive", &[("messaging.system", "kafka"), ("messaging.operation.type", "receive")]);
    assert_eq!(kind(&span), ["messaging", "kafka", "poll"]);
}
