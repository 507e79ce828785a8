//! Statements of SeaORM 1, which are recorded from the events of sqlx.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait};
use tower_apm::testkit::{Kind, TestAgent};
use tracing::{Instrument, info_span};

async fn each_statement_is_recorded_once(url: &str, commit: Option<&str>) {
    let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
    let db: DatabaseConnection = Database::connect(url).await.unwrap();
    db.execute_unprepared("DROP TABLE IF EXISTS each_of_orm").await.unwrap();
    db.execute_unprepared("CREATE TABLE each_of_orm (id INTEGER PRIMARY KEY, name VARCHAR(20))").await.unwrap();
    let statement = |sql: &str| Statement::from_string(db.get_database_backend(), sql);
    let insert = "INSERT INTO each_of_orm (id, name) VALUES (1, 'a')";
    let all = "SELECT id, name FROM each_of_orm WHERE id > 0";
    let update = "UPDATE each_of_orm SET name = 'x' WHERE id = 1";
    let work = async {
        db.execute(statement(insert)).await.unwrap();
        db.query_all(statement(all)).await.unwrap();
        db.query_one(statement(all)).await.unwrap();
        db.execute_unprepared(update).await.unwrap();
        let transaction = db.begin().await.unwrap();
        transaction.execute(statement(update)).await.unwrap();
        transaction.commit().await.unwrap();
        db.execute(statement(insert)).await.unwrap_err();
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
    let want = [insert, all, all, update, update].into_iter().chain(commit).chain([insert]);
    let found = spans.iter().map(|span| span["context"]["db"]["statement"].as_str().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), want.collect::<Vec<_>>());
    assert!(spans.iter().all(|span| span["parent_id"] == load && span["outcome"] == "unknown"), "{spans:?}");
    apm.expect_transaction("work").await.span_count(1 + spans.len() as u64);
}

#[tokio::test]
async fn each_statement_on_sqlite_is_recorded_once() {
    each_statement_is_recorded_once("sqlite::memory:", None).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn each_statement_on_postgresql_is_recorded_once() {
    each_statement_is_recorded_once(&clients::url("POSTGRES_URL"), Some("COMMIT")).await;
}
