//! Exit spans from the events that sqlx 0.8 and 0.9 log. `tests/clients` tests the same with real databases.

mod recorded_once;

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tower_apm::{Agent, AgentBuilder, EnvVars, OtlpProtocol, SqlxDatabase, devserver::Kind, testkit::TestAgent};
use tracing::{Level, info_span};

const LONG: &str = "SELECT id, price FROM listings WHERE id = $1";

/// An event in the form of sqlx. `summary` contains the whole statement if the statement has at most four words.
#[derive(Clone, Copy)]
struct Logged {
    level: Level,
    rows_affected: u64,
    elapsed: Duration,
}

const LOGGED: Logged = Logged { level: Level::DEBUG, rows_affected: 0, elapsed: Duration::from_millis(2) };

impl Logged {
    fn statement(self, sql: &str) {
        let mut summary = sql.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        let mut statement = String::new();
        if summary != sql {
            summary.push_str(" …");
            statement = format!("\n\n{sql}\n");
        }
        let Self { rows_affected, elapsed, .. } = self;
        macro_rules! log {
            ($level:expr $(, $more:expr)*) => {
                // sqlx checks whether the event is enabled before it formats the statement
                if tracing::enabled!(target: "sqlx::query", $level) {
                    tracing::event!(
                        target: "sqlx::query",
                        $level,
                        summary,
                        db.statement = statement,
                        rows_affected,
                        rows_returned = 1_u64,
                        ?elapsed,
                        elapsed_secs = elapsed.as_secs_f64(),
                        $($more)*
                    );
                }
            };
        }
        match self.level {
            Level::DEBUG => log!(Level::DEBUG),
            Level::INFO => log!(Level::INFO),
            Level::TRACE => log!(Level::TRACE),
            Level::ERROR => log!(Level::ERROR),
            _ => log!(Level::WARN, "slow statement: execution time exceeded alert threshold"),
        }
    }
}

fn orders() -> SqlxDatabase {
    SqlxDatabase::postgresql("orders").host("db.internal").port(5433)
}

/// Returns the spans that `work` records in a transaction, in the order of their starts.
async fn spans(configure: fn(AgentBuilder) -> AgentBuilder, work: impl FnOnce()) -> Vec<Value> {
    let apm = TestAgent::builder().configure(configure).start().await;
    apm.agent().start_transaction("work", "scheduled").in_scope(work);
    apm.expect_transaction("work").await;
    let mut spans = apm.events(Kind::Span);
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    spans
}

async fn span(configure: fn(AgentBuilder) -> AgentBuilder, work: impl FnOnce()) -> Value {
    let mut spans = spans(configure, work).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

/// Returns the document without values that differ in each run.
fn document(mut span: Value) -> Value {
    for key in ["id", "parent_id", "trace_id", "transaction_id", "timestamp"] {
        assert!(span.as_object_mut().unwrap().remove(key).is_some(), "no {key}");
    }
    span
}

#[tokio::test]
async fn statement_is_an_exit_span() {
    let found = span(|agent| agent.sqlx(orders()), || LOGGED.statement(LONG)).await;
    assert_eq!(
        document(found),
        json!({
            "name": "SELECT FROM listings",
            "type": "db",
            "subtype": "postgresql",
            "action": "query",
            "outcome": "unknown",
            "sync": true,
            "sample_rate": 1.0,
            "duration": 2.0,
            "context": {
                "db": { "type": "sql", "instance": "orders", "statement": LONG },
                "destination": {
                    "address": "db.internal",
                    "port": 5433,
                    "service": { "name": "", "type": "", "resource": "postgresql/orders" },
                },
                "service": { "target": { "type": "postgresql", "name": "orders" } },
            },
        })
    );
}

#[tokio::test]
async fn statement_is_an_exit_span_by_otlp() {
    let apm =
        TestAgent::builder().otlp(OtlpProtocol::HttpProtobuf).configure(|agent| agent.sqlx(orders())).start().await;
    apm.agent()
        .start_transaction("work", "scheduled")
        .in_scope(|| Logged { rows_affected: 3, ..LOGGED }.statement("UPDATE listings SET price = $1"));
    apm.expect_transaction("work")
        .await
        .span("UPDATE listings", |span| {
            span.kind("db", "postgresql")
                .child_of("work")
                .field("/context/db/statement", "UPDATE listings SET price = $1")
                .field("/context/db/instance", "orders")
                .field("/context/service/target/name", "orders")
                .field("/context/destination/address", "db.internal")
                .field("/context/destination/port", 5433)
                .field("/context/destination/service/resource", "postgresql/orders")
                .label("db_rows_affected", 3)
        })
        .span_count(1);
}

#[tokio::test]
async fn subtype_is_sql_without_a_database() {
    let found = span(|agent| agent, || LOGGED.statement(LONG)).await;
    assert_eq!((&found["type"], &found["subtype"]), (&json!("db"), &json!("sql")));
    assert_eq!(found["context"]["db"], json!({ "type": "sql", "statement": LONG }));
    assert_eq!(found["context"]["service"], json!({ "target": { "type": "sql" } }));
    assert_eq!(found["context"]["destination"]["service"]["resource"], "sql");
}

#[tokio::test]
async fn unknown_database_url_scheme_adds_a_warning_without_the_url() {
    let agent = || Agent::builder().env_vars(EnvVars::empty()).disable_send(true);
    let url = "mssql://app:hunter2@db.internal/orders";
    let warnings: Vec<_> = agent().sqlx(SqlxDatabase::from_url(url)).build().unwrap().warnings().collect();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("sqlx:") && warning.contains("scheme"), "{warning}");
    assert!(warning.contains("postgres://") && !warning.contains("hunter2"), "{warning}");
    let url = "postgres://app:hunter2@db.internal/orders";
    assert_eq!(agent().sqlx(SqlxDatabase::from_url(url)).build().unwrap().warnings().count(), 0);
}

#[tokio::test]
async fn short_statement_is_read_from_the_summary() {
    for sql in ["SELECT 1", "COMMIT", "DELETE FROM orders"] {
        let found = span(|agent| agent, || LOGGED.statement(sql)).await;
        assert_eq!(found["context"]["db"]["statement"], sql);
    }
    // more than four words, or more than one space between two words
    for sql in ["SELECT  1", "\n  SELECT id\n  FROM orders\n", "SELECT id FROM orders LIMIT 1"] {
        let found = span(|agent| agent, || LOGGED.statement(sql)).await;
        assert_eq!(found["context"]["db"]["statement"], sql);
    }
}

#[tokio::test]
async fn statement_of_every_level_is_recorded() {
    // the subscriber does not enable TRACE
    for level in [Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR] {
        let found = span(|agent| agent, || Logged { level, ..LOGGED }.statement(LONG)).await;
        assert_eq!((&found["name"], &found["outcome"]), (&json!("SELECT FROM listings"), &json!("unknown")), "{level}");
    }
}

#[tokio::test]
async fn span_starts_at_the_time_of_the_event_minus_the_elapsed_time() {
    let apm = TestAgent::start().await;
    let work = || Logged { elapsed: Duration::from_millis(40), ..LOGGED }.statement(LONG);
    let before = std::time::SystemTime::now();
    apm.agent().start_transaction("work", "scheduled").in_scope(work);
    apm.expect_transaction("work").await;
    let span = &apm.events(Kind::Span)[0];
    assert_eq!(span["duration"], 40.0);
    let started = span["timestamp"].as_u64().unwrap();
    let before = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
    assert!(started + 45_000 > before && started < before, "{started} {before}");
}

#[tokio::test]
async fn affected_rows_are_recorded_only_for_statements_that_change_rows() {
    for (sql, changes) in [
        ("INSERT INTO orders (id) VALUES (1)", true),
        ("update orders set id = 2", true),
        ("DELETE FROM orders", true),
        ("REPLACE INTO orders (id) VALUES (1)", true),
        ("MERGE INTO orders USING other ON (id = other_id) WHEN MATCHED THEN DELETE", true),
        (LONG, false),
        ("BEGIN", false),
        ("CREATE TABLE orders (id INT)", false),
    ] {
        let found = span(|agent| agent, || Logged { rows_affected: 2, ..LOGGED }.statement(sql)).await;
        let rows = &found["context"]["db"]["rows_affected"];
        assert_eq!(rows, &if changes { json!(2) } else { Value::Null }, "{sql}");
        assert!(found["context"].get("tags").is_none(), "{found}");
    }
}

/// `sqlx-tracing` records the rows in this attribute.
#[tokio::test]
async fn affected_rows_of_another_instrumentation_are_recorded() {
    let work = || {
        let kind = "client";
        let span =
            info_span!("sqlx.execute", otel.kind = kind, db.system.name = "mysql", db.response.affected_rows = 3);
        span.in_scope(|| ());
    };
    assert_eq!(span(|agent| agent, work).await["context"]["db"]["rows_affected"], 3);
}

#[tokio::test]
async fn statements_that_set_up_a_connection_are_not_recorded() {
    let found = spans(
        |agent| agent,
        || {
            LOGGED.statement("PRAGMA foreign_keys = ON; ");
            LOGGED.statement(
                "SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')),time_zone='+00:00',NAMES utf8mb4;",
            );
            LOGGED.statement(LONG);
        },
    )
    .await;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn statement_is_a_child_of_a_span_that_is_not_a_database_call() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        info_span!("load", db.system = "postgresql").in_scope(|| LOGGED.statement(LONG));
        info_span!("GET", otel.kind = "client", url.full = "http://shop/").in_scope(|| ());
    });
    apm.expect_transaction("work").await.span("SELECT FROM listings", |span| span.child_of("load")).span_count(3);
}

/// On SQLite, sqlx logs on a separate thread, where only the caller's `tracing` span is entered.
#[tokio::test]
async fn statement_on_another_thread_is_found_through_the_tracing_span() {
    let apm = TestAgent::start().await;
    let elsewhere = |span: tracing::Span| {
        let worker = thread::spawn(move || span.in_scope(|| LOGGED.statement(LONG)));
        worker.join().unwrap();
    };
    apm.agent().start_transaction("in a span", "scheduled").in_scope(|| elsewhere(info_span!("load")));
    apm.agent().start_transaction("in no span", "scheduled").in_scope(|| elsewhere(tracing::Span::current()));
    let found = apm.expect_transaction("in a span").await;
    found.span("SELECT FROM listings", |span| span.child_of("load"));
    let found = apm.expect_transaction("in no span").await;
    found.span("SELECT FROM listings", |span| span.child_of("in no span"));
}

#[tokio::test]
async fn nothing_is_recorded_outside_of_a_recording_transaction() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    apm.agent().start_transaction("unsampled", "scheduled").in_scope(|| LOGGED.statement(LONG));
    LOGGED.statement(LONG);
    apm.flush().await;
    assert!(apm.events(Kind::Span).is_empty());
}

#[tokio::test]
async fn equal_statements_are_compressed() {
    let found = span(|agent| agent, || (0..5).for_each(|_| LOGGED.statement(LONG))).await;
    assert_eq!(found["composite"]["count"], 5);
    assert_eq!((&found["name"], &found["outcome"]), (&json!("SELECT FROM listings"), &json!("unknown")));
}

#[tokio::test]
async fn long_statement_is_cut() {
    let sql = format!("SELECT id FROM orders WHERE name IN ({})", "'é', ".repeat(200_000));
    let found = span(|agent| agent, || LOGGED.statement(&sql)).await;
    assert_eq!(found["context"]["db"]["statement"].as_str().unwrap().chars().count(), 10_000);
}

#[tokio::test]
async fn invalid_elapsed_time_is_recorded_as_zero() {
    for elapsed_secs in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let work = || tracing::debug!(target: "sqlx::query", summary = "SELECT 1", db.statement = "", elapsed_secs);
        assert_eq!(span(|agent| agent, work).await["duration"], 0.0, "{elapsed_secs}");
    }
}
