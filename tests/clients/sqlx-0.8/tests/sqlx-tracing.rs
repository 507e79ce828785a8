//! Statements that run through sqlx-tracing, which creates spans. sqlx logs an event for the same statement.

use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use sqlx_tracing::Pool;
use tower_apm::testkit::{Kind, TestAgent};
use tracing::{Instrument, info_span};

async fn start() -> TestAgent {
    TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await
}

/// Returns the spans of database calls, in the order of their starts.
fn calls(apm: &TestAgent) -> Vec<Value> {
    let mut spans = apm.events(Kind::Span);
    spans.retain(|span| span["type"] == "db");
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    spans
}

macro_rules! tests {
    ($(#[$ignore:meta])? $database:ident($db:ty, $url:expr), system: $system:literal, commit: $commit:expr) => {
        mod $database {
            use super::*;

            async fn sqlx_pool(table: &str) -> sqlx::Pool<$db> {
                let pool = sqlx::pool::PoolOptions::<$db>::new().max_connections(1).connect(&$url).await.unwrap();
                for statement in [
                    format!("DROP TABLE IF EXISTS {table}"),
                    format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(20))"),
                    format!("INSERT INTO {table} (id, name) VALUES (1, 'a'), (2, 'b')"),
                ] {
                    sqlx::query(&statement).execute(&pool).await.unwrap();
                }
                pool
            }

            /// On SQLite, sqlx can log a statement after its result has arrived, but before the next one.
            async fn settle(apm: &TestAgent, pool: &Pool<$db>) {
                sqlx::query("SELECT 1").fetch_one(pool).await.unwrap();
                apm.expect_transaction("work").await;
                apm.flush().await;
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn each_statement_is_recorded_once() {
                let apm = start().await;
                let pool = Pool::from(sqlx_pool("each_traced").await);
                let insert = "INSERT INTO each_traced (id, name) VALUES (3, 'c')";
                let all = "SELECT id FROM each_traced";
                let none = "SELECT id FROM each_traced WHERE id = 99";
                let update = "UPDATE each_traced SET name = 'x' WHERE id = 1";
                let work = async {
                    sqlx::query(insert).execute(&pool).await.unwrap();
                    sqlx::query(all).fetch_all(&pool).await.unwrap();
                    sqlx::query(all).fetch_one(&pool).await.unwrap();
                    assert!(sqlx::query(none).fetch_optional(&pool).await.unwrap().is_none());
                    let rows: Vec<_> = sqlx::query(all).fetch(&pool).try_collect().await.unwrap();
                    assert_eq!(rows.len(), 3);
                    assert!(sqlx::query(none).fetch(&pool).next().await.is_none());
                    // a stream that is not read to its end
                    sqlx::query(all).fetch(&pool).next().await.unwrap().unwrap();
                    let mut connection = pool.acquire().await.unwrap();
                    sqlx::query(update).execute(&mut connection).await.unwrap();
                    drop(connection);
                    let mut transaction = pool.begin().await.unwrap();
                    sqlx::query(update).execute(&mut transaction.executor()).await.unwrap();
                    sqlx::query(all).fetch_all(&mut transaction.executor()).await.unwrap();
                    transaction.commit().await.unwrap();
                    sqlx::query(insert).execute(&pool).await.unwrap_err();
                };
                apm.agent().start_transaction("work", "scheduled").run(async {
        work.instrument(info_span!("load")).await;
        // on SQLite, the spans of a statement stay open until its thread has handled the next command
        sqlx::Connection::ping(pool.acquire().await.unwrap().as_mut()).await.unwrap();
    }).await;
                settle(&apm, &pool).await;

                let found = calls(&apm);
                let statement = |span: &Value| span["context"]["db"]["statement"].as_str().unwrap().to_owned();
                let want = [insert, all, all, none, all, none, all, update, update, all].into_iter().chain($commit);
                assert_eq!(found.iter().map(statement).collect::<Vec<_>>(), want.chain([insert]).collect::<Vec<_>>());
                let load = apm.expect_span("load").await.id().to_owned();
                for span in &found {
                    let statement = statement(span);
                    assert_eq!(span["parent_id"], load, "{span}");
                    if statement != "COMMIT" {
                        assert_eq!(span["subtype"], $system, "{span}");
                    }
                }
                assert_eq!(found.last().unwrap()["outcome"], "failure");
                apm.expect_transaction("work").await.span_count(1 + found.len() as u64);
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn concurrent_and_plain_statements_are_recorded_once() {
                let apm = start().await;
                let plain = sqlx_pool("concurrent_traced").await;
                let pool = Pool::from(plain.clone());
                let all = "SELECT id, name FROM concurrent_traced WHERE id < 3";
                apm.agent().start_transaction("work", "scheduled").run(async {
                    let fetch = || async { sqlx::query(all).fetch_all(&pool).await.unwrap() };
                    tokio::join!(fetch(), fetch(), fetch());
                    // a pool without sqlx-tracing
                    sqlx::query(all).fetch_all(&plain).await.unwrap();
                    let statement = async { sqlx::query(all).fetch_all(&pool).await };
                    tokio::time::timeout(std::time::Duration::ZERO, statement).await.ok();
                }).await;
                settle(&apm, &pool).await;
                let mut outcomes: Vec<_> = calls(&apm).iter().map(|span| span["outcome"].clone()).collect();
                assert_eq!(outcomes.len(), 5, "{outcomes:?}");
                outcomes.retain(|outcome| outcome == "unknown");
                assert_eq!(outcomes.len(), 1, "the plain statement");
            }
        }
    };
}

tests! {
    #[ignore = "needs PostgreSQL"]
    postgresql(sqlx::Postgres, clients::url("POSTGRES_URL")), system: "postgresql", commit: Some("COMMIT")
}

tests! { sqlite(sqlx::Sqlite, "sqlite::memory:".to_owned()), system: "sqlite", commit: None::<&str> }
