//! Statements of SeaORM 2 with its feature `tracing-spans`.
//!
//! SeaORM creates spans, and sqlx logs an event for the same statement.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, Statement, TransactionTrait};
use serde_json::Value;
use tower_apm::testkit::{Kind, TestAgent};
use tracing::{Instrument, info_span};

const INSERT: &str = "INSERT INTO each_of_orm (id, name) VALUES (1, 'a')";
const ALL: &str = "SELECT id, name FROM each_of_orm WHERE id > 0";
const UPDATE: &str = "UPDATE each_of_orm SET name = 'x' WHERE id = 1";

/// Runs statements, and returns their spans in the order of their starts.
async fn spans(apm: &TestAgent, options: ConnectOptions) -> Vec<Value> {
    let db = Database::connect(options).await.unwrap();
    db.execute_unprepared("DROP TABLE IF EXISTS each_of_orm").await.unwrap();
    db.execute_unprepared("CREATE TABLE each_of_orm (id INTEGER PRIMARY KEY, name VARCHAR(20))").await.unwrap();
    let statement = |sql: &str| Statement::from_string(db.get_database_backend(), sql);
    let work = async {
        db.execute_raw(statement(INSERT)).await.unwrap();
        db.query_all_raw(statement(ALL)).await.unwrap();
        db.query_one_raw(statement(ALL)).await.unwrap();
        let transaction = db.begin().await.unwrap();
        transaction.execute_raw(statement(UPDATE)).await.unwrap();
        transaction.commit().await.unwrap();
        db.execute_raw(statement(INSERT)).await.unwrap_err();
    };
    apm.agent()
        .start_transaction("work", "scheduled")
        .run(async {
            work.instrument(info_span!("load")).await;
            // on SQLite, the spans of a statement stay open until its thread has handled the next command
            db.ping().await.unwrap();
        })
        .await;
    apm.expect_transaction("work").await;
    apm.flush().await;

    let load = apm.expect_span("load").await.id().to_owned();
    let mut spans = apm.events(Kind::Span);
    spans.retain(|span| span["type"] == "db");
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    apm.expect_transaction("work").await.span_count(1 + spans.len() as u64);
    assert!(spans.iter().all(|span| span["parent_id"] == load), "{spans:?}");
    spans
}

fn texts(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["context"]["db"]["statement"].as_str().or(span["name"].as_str()).unwrap()).collect()
}

async fn each_statement_is_recorded_once(url: &str, system: &str) {
    for records_statements in [true, false] {
        let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
        let mut options = ConnectOptions::new(url);
        options.record_stmt_in_spans(records_statements);
        let spans = spans(&apm, options).await;
        if records_statements {
            let want = [INSERT, ALL, ALL, "BEGIN", UPDATE, "COMMIT", INSERT];
            assert_eq!(texts(&spans), want);
        }
        assert_eq!(spans.len(), 7, "{spans:?}");
        assert!(spans.iter().all(|span| span["subtype"] == system), "{spans:?}");
        assert_eq!(spans.last().unwrap()["outcome"], "failure");
    }
}

#[tokio::test]
async fn each_statement_on_sqlite_is_recorded_once() {
    each_statement_is_recorded_once("sqlite::memory:", "sqlite").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn each_statement_on_postgresql_is_recorded_once() {
    each_statement_is_recorded_once(&clients::url("POSTGRES_URL"), "postgresql").await;
}
