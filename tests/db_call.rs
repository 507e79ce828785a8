//! Calls that are recorded with `db::call`: their documents and outcomes.

use std::{
    error::Error,
    future::{Ready, pending, ready},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::get};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_apm::{
    AgentBuilder, OtlpProtocol, Outcome, Transaction, db,
    testkit::{Kind, TestAgent},
};
use tracing::Instrument;

#[derive(Debug, thiserror::Error)]
#[error("the query failed")]
struct QueryError(#[source] Refused);

#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
struct Refused;

fn fails() -> Ready<Result<(), QueryError>> {
    ready(Err(QueryError(Refused)))
}

fn succeeds() -> Ready<Result<u64, QueryError>> {
    ready(Ok(3))
}

fn update() -> db::DbCall<'static> {
    let sql = "UPDATE orders SET open = false WHERE id = $1";
    db::call("postgresql").instance("shop").statement(sql).address("db.example", 5433)
}

async fn configured(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    TestAgent::builder().configure(configure).start().await
}

/// The spans of a transaction that does this work, in the order of their start.
async fn spans_of(apm: &TestAgent, work: impl Future) -> Vec<Value> {
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.flush().await;
    let mut spans = apm.events(Kind::Span);
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    spans
}

/// A document without ids and times.
fn timeless(event: &Value) -> Value {
    let mut event = event.clone();
    for field in ["id", "trace_id", "parent_id", "timestamp", "duration"] {
        assert!(event.as_object_mut().unwrap().remove(field).is_some(), "{field} in {event}");
    }
    event.as_object_mut().unwrap().remove("transaction_id"); // not part of OTLP
    event
}

async fn updated(apm: &TestAgent) -> Value {
    let spans = spans_of(apm, async {
        let call = update().run_with(succeeds(), |result, span| span.set_rows_affected(*result.as_ref().unwrap()));
        assert_eq!(call.await.unwrap(), 3);
    });
    let spans = spans.await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    timeless(&spans[0])
}

#[tokio::test]
async fn call_is_recorded_as_a_database_exit_span() {
    let expected = json!({
        "name": "UPDATE orders",
        "type": "db",
        "subtype": "postgresql",
        "action": "query",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "db": {
                "type": "sql",
                "instance": "shop",
                "statement": "UPDATE orders SET open = false WHERE id = $1",
                "rows_affected": 3,
            },
            "destination": {
                "address": "db.example",
                "port": 5433,
                "service": { "name": "", "type": "", "resource": "postgresql/shop" },
            },
            "service": { "target": { "type": "postgresql", "name": "shop" } },
        },
    });
    assert_eq!(updated(&TestAgent::start().await).await, expected);
}

/// Returns the document that an APM Server creates.
#[tokio::test]
async fn call_is_recorded_as_a_database_exit_span_by_otlp() {
    let expected = json!({
        "name": "UPDATE orders",
        "type": "db",
        "subtype": "postgresql",
        "outcome": "success",
        "context": {
            "db": {
                "type": "postgresql",
                "instance": "shop",
                "statement": "UPDATE orders SET open = false WHERE id = $1",
            },
            "destination": {
                "address": "db.example",
                "port": 5433,
                "service": { "name": "postgresql/shop", "type": "db", "resource": "postgresql/shop" },
            },
            "service": {
                "framework": { "name": "axum" },
                "target": { "type": "postgresql", "name": "shop" },
            },
            // the server has no field for it over OTLP
            "tags": { "db_rows_affected": 3 },
        },
    });
    let apm = TestAgent::builder().otlp(OtlpProtocol::HttpProtobuf).start().await;
    assert_eq!(updated(&apm).await, expected);
}

#[tokio::test]
async fn span_is_named_by_signature_then_by_system_unless_a_name_is_set() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        update().run(succeeds()).await.unwrap();
        update().name("settle").run(succeeds()).await.unwrap();
        db::call("mysql").run(succeeds()).await.unwrap();
        db::call("memcached").name("get").statement("get session:42").run(succeeds()).await.unwrap();
        db::call("elasticsearch").name("Elasticsearch: POST /orders/_search").run(succeeds()).await.unwrap();
    })
    .await;
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["UPDATE orders", "settle", "mysql", "get", "Elasticsearch: POST /orders/_search"]);
    assert!(spans[1].pointer("/context/tags").is_none(), "{}", spans[1]);
    assert!(spans[3].pointer("/context/db/statement").is_none(), "the statement consists of values: {}", spans[3]);
    assert_eq!(spans[4]["context"]["db"]["type"], "elasticsearch");
}

#[tokio::test]
async fn error_fails_the_span_and_is_recorded_with_its_causes() {
    for protocol in [None, Some(OtlpProtocol::HttpProtobuf)] {
        let builder = TestAgent::builder();
        let apm = match protocol {
            Some(protocol) => builder.otlp(protocol).start().await,
            None => builder.start().await,
        };
        let spans = spans_of(&apm, update().run(fails())).await;
        assert_eq!(spans[0]["outcome"], "failure");
        let error = apm.expect_error("QueryError").await;
        error.message("the query failed").caused_by("connection refused").child_of("UPDATE orders");
        let errors = apm.events(Kind::Error);
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
}

#[tokio::test]
async fn boxed_error_and_report_fail_the_call() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let boxed: Result<(), Box<dyn Error + Send + Sync>> = Err(Box::new(QueryError(Refused)));
        db::call("opensearch").run(ready(boxed)).await.unwrap_err();
        let report: Result<(), anyhow::Error> = Err(anyhow::anyhow!("disk full"));
        db::call("opensearch").run(ready(report)).await.unwrap_err();
    })
    .await;
    let outcomes: Vec<_> = spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failure", "failure"]);
    apm.expect_error("the query failed").await;
    apm.expect_error("disk full").await;
}

#[tokio::test]
async fn boxed_error_and_failed_status_are_recorded_by_inspection() {
    let apm = TestAgent::start().await;
    let boxed: Result<u16, Box<dyn Error + Send + Sync>> = Err(Box::new(QueryError(Refused)));
    let spans = spans_of(&apm, async {
        for result in [boxed, Ok(503), Ok(200)] {
            let call = db::call("opensearch").run_with(ready(result), |result, span| match result {
                Ok(status) if *status >= 400 => span.set_outcome(Outcome::Failure),
                Ok(_) => {}
                Err(error) => span.fail(&**error),
            });
            let _ = call.await;
        }
    })
    .await;
    let outcomes: Vec<_> = spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failure", "failure", "success"]);
    apm.expect_error("QueryError").await.child_of("opensearch");
    assert_eq!(apm.events(Kind::Error).len(), 1);
}

#[tokio::test]
async fn output_without_result_is_a_success() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, db::call("sqlite").run_with(ready(7), |_, _| ())).await;
    assert_eq!(spans[0]["outcome"], "success");
}

#[tokio::test]
async fn cancelled_call_has_an_unknown_outcome() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let call = update().run(pending::<Result<(), io::Error>>());
        assert!(call.now_or_never().is_none());
    })
    .await;
    assert_eq!(spans[0]["outcome"], "unknown");
    assert!(apm.events(Kind::Error).is_empty());
}

#[tokio::test]
async fn call_that_is_never_polled_is_not_recorded() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async { drop(update().run(fails())) }).await;
    assert!(spans.is_empty(), "{spans:?}");
}

#[tokio::test]
async fn panic_in_the_call_fails_its_span_and_no_other() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let waits = update().run(pending::<Result<(), io::Error>>());
        let panics = db::call("mysql").run(async {
            if true {
                panic!("the driver has a bug");
            }
            Ok::<_, io::Error>(())
        });
        let both = async { tokio::join!(waits, panics) };
        assert!(catch_unwind(AssertUnwindSafe(|| both.now_or_never())).is_err());
    })
    .await;
    let outcome = |subtype: &str| {
        let span = spans.iter().find(|span| span["subtype"] == subtype).unwrap();
        span["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(spans.len(), 2);
    assert_eq!((outcome("mysql"), outcome("postgresql")), ("failure".to_owned(), "unknown".to_owned()));
}

#[tokio::test]
async fn span_is_current_in_the_call_and_a_child_of_the_current_span() {
    let apm = TestAgent::start().await;
    spans_of(&apm, async {
        let call = update().run(async {
            Transaction::current().capture_error(&Refused);
            tokio::task::yield_now().await;
            db::call("postgresql").name("FETCH").run(succeeds()).await
        });
        call.instrument(tracing::info_span!("load orders")).await.unwrap();
    })
    .await;
    apm.expect_span("UPDATE orders").await.child_of("load orders");
    apm.expect_span("FETCH").await.child_of("UPDATE orders");
    apm.expect_error("Refused").await.child_of("UPDATE orders");
}

#[tokio::test]
async fn unsampled_transaction_records_errors_and_no_spans() {
    let apm = configured(|agent| agent.transaction_sample_rate(0.0)).await;
    let spans = spans_of(&apm, async {
        let _ = update().run(fails()).await;
        update().run(succeeds()).await.unwrap();
    })
    .await;
    assert!(spans.is_empty(), "{spans:?}");
    apm.expect_error("QueryError").await;
    assert_eq!(apm.events(Kind::Error)[0]["transaction"]["sampled"], false);
}

#[tokio::test]
async fn calls_beyond_the_span_limit_are_counted_by_outcome() {
    let apm = configured(|agent| agent.transaction_max_spans(1)).await;
    let spans = spans_of(&apm, async {
        update().run(succeeds()).await.unwrap();
        update().run(succeeds()).await.unwrap();
        let _ = update().run(fails()).await;
    })
    .await;
    assert_eq!(spans.len(), 1);
    let transaction = &apm.events(Kind::Transaction)[0];
    assert_eq!(transaction["span_count"], json!({ "started": 1, "dropped": 2 }));
    let mut dropped: Vec<_> = transaction["dropped_spans_stats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stats| (stats["outcome"].as_str().unwrap(), stats["destination_service_resource"].as_str().unwrap()))
        .collect();
    dropped.sort();
    assert_eq!(dropped, [("failure", "postgresql/shop"), ("success", "postgresql/shop")]);
    apm.expect_error("QueryError").await.child_of("work");
}

#[tokio::test]
async fn ignored_request_records_errors_and_no_spans() {
    let apm = configured(|agent| agent.transaction_ignore_urls(["/health"])).await;
    let handler = async || {
        let _ = update().run(fails()).await;
    };
    let app = Router::new().route("/health", get(handler)).layer(apm.layer());
    app.oneshot(Request::get("/health").body(Body::empty()).unwrap()).await.unwrap();
    let error = apm.expect_error("QueryError").await;
    assert!(error.json().get("transaction_id").is_none(), "{}", error.json());
    assert!(apm.events(Kind::Span).is_empty() && apm.events(Kind::Transaction).is_empty());
}

#[tokio::test]
async fn call_outside_of_a_transaction_records_nothing() {
    let apm = TestAgent::start().await;
    assert!(update().run(fails()).await.is_err());
    let inspected = update().run_with(succeeds(), |_, span| span.set_rows_affected(1)).await;
    assert_eq!(inspected.unwrap(), 3);
    apm.expect_nothing().await;
}

#[tokio::test]
async fn equal_calls_are_compressed_and_a_failed_one_is_not() {
    let apm = configured(|agent| agent.span_compression_exact_match_max_duration(Duration::from_secs(5))).await;
    let spans = spans_of(&apm, async {
        for _ in 0..3 {
            update().run(succeeds()).await.unwrap();
        }
        let _ = update().run(fails()).await;
    })
    .await;
    let counts: Vec<_> = spans.iter().map(|span| span["composite"]["count"].as_u64()).collect();
    assert_eq!(counts, [Some(3), None]);
}

#[test]
fn debug_does_not_show_the_statement() {
    let call = db::call("postgresql").instance("shop").statement("SELECT 'hunter2'");
    let text = format!("{call:?}");
    assert!(text.contains("shop") && !text.contains("hunter2"), "{text}");
}
