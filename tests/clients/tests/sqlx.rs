//! Statements of sqlx on PostgreSQL, MariaDB and SQLite, recorded from its events and through the wrapper.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};
use tower_apm::{
    ApmFutureExt, OtlpProtocol, SqlxDatabase, db,
    devserver::Kind,
    testkit::{TestAgent, TestAgentBuilder},
};
use tracing::{Instrument, info_span};

/// The address, as the spans have it.
struct Server {
    system: &'static str,
    instance: &'static str,
    address: Option<(String, u16)>,
}

fn url(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: use tests/clients/run.sh"))
}

impl Server {
    /// `instance` is the database of the URLs that run.sh exports.
    fn of(system: &'static str, url: &str) -> Self {
        let address = url.rsplit_once('@').and_then(|(_, rest)| rest.split_once('/'));
        let address = address.and_then(|(address, _)| address.split_once(':'));
        let address = address.map(|(host, port)| (host.to_owned(), port.parse().unwrap()));
        Self { system, instance: if address.is_some() { "shop" } else { ":memory:" }, address }
    }

    /// Returns the document of a statement, without values that differ in each run.
    fn document(&self, name: &str, statement: &str, outcome: &str, rows_affected: Option<u64>) -> Value {
        let mut db = json!({ "type": "sql", "instance": self.instance, "statement": statement });
        if let Some(rows) = rows_affected {
            db["rows_affected"] = rows.into();
        }
        let resource = format!("{}/{}", self.system, self.instance);
        let mut destination = json!({ "service": { "name": "", "type": "", "resource": resource } });
        if let Some((host, port)) = &self.address {
            destination["address"] = host.as_str().into();
            destination["port"] = (*port).into();
        }
        let mut document = json!({
            "name": name,
            "type": "db",
            "subtype": self.system,
            "action": "query",
            "outcome": outcome,
            "sync": true,
            "sample_rate": 1.0,
            "context": {
                "db": db,
                "destination": destination,
                "service": { "target": { "type": self.system, "name": self.instance } },
            },
        });
        // the server treats an unknown outcome as a success if there is a kind
        if outcome != "unknown" {
            document["otel"] = json!({ "span_kind": "CLIENT" });
        }
        document
    }
}

fn builder(url: &str) -> TestAgentBuilder {
    let database = SqlxDatabase::from_url(url);
    TestAgent::builder().configure(|agent| agent.sqlx(database).span_compression_enabled(false))
}

/// The spans that have arrived, in the order of their starts.
fn spans(apm: &TestAgent) -> Vec<Value> {
    let mut spans = apm.events(Kind::Span);
    spans.sort_by_key(|span| span["timestamp"].as_u64());
    spans
}

fn documents(apm: &TestAgent) -> Vec<Value> {
    let mut spans = spans(apm);
    for span in &mut spans {
        for key in ["id", "parent_id", "trace_id", "transaction_id", "timestamp", "duration"] {
            assert!(span.as_object_mut().unwrap().remove(key).is_some(), "no {key}");
        }
    }
    spans
}

fn names(apm: &TestAgent) -> Vec<String> {
    spans(apm).iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect()
}

macro_rules! tests {
    (
        $(#[$ignore:meta])? $database:ident($pool:ident, $options:ty, $url:expr),
        $system:literal, wrapped: $system_of_wrapper:literal, slow: $slow:literal, control: $control:expr,
    ) => {
        mod $database {
            use super::*;

            type Pool = sqlx::$pool;
            const SYSTEM: &str = $system;
            /// A statement that takes seconds.
            const SLOW: &str = $slow;
            const IS_SQLITE: bool = matches!(SYSTEM.as_bytes(), b"sqlite");

            fn url() -> String {
                $url
            }

            fn options() -> $options {
                url().parse().unwrap()
            }

            /// A pool of one connection that has its own table with five rows.
            async fn pool_with(options: $options, table: &str) -> Pool {
                let pool = sqlx::pool::PoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
                let mut statements = vec![format!("DROP TABLE IF EXISTS {table}")];
                statements.push(format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(20))"));
                statements.push(format!("INSERT INTO {table} (id, name) VALUES (0,'a'), (1,'b'), (2,'c'), (3,'d'), (4,'e')"));
                for statement in statements {
                    pool.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
                }
                pool
            }

            async fn pool(table: &str) -> Pool {
                pool_with(options(), table).await
            }

            /// On SQLite, sqlx logs a statement after its result has arrived, but before the next one.
            async fn settle(apm: &TestAgent, pool: &Pool) {
                sqlx::query("SELECT 1").fetch_one(pool).await.unwrap();
                apm.expect_transaction("work").await;
                apm.flush().await;
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn statements_are_exit_spans() {
                let (pool, apm) = (pool("documents").await, builder(&url()).start().await);
                let select = "SELECT id, name FROM documents WHERE id < 3";
                let update = "UPDATE documents SET name = 'x' WHERE id > 2";
                apm.agent().start_transaction("work", "scheduled").run(async {
                    sqlx::query(select).fetch_all(&pool).await.unwrap();
                    sqlx::query(select).fetch_one(&pool).await.unwrap();
                    sqlx::query(update).execute(&pool).await.unwrap();
                    sqlx::query("SELECT 7").fetch_one(&pool).await.unwrap();
                }).await;
                settle(&apm, &pool).await;
                let server = Server::of(SYSTEM, &url());
                let document = |name, sql, rows| server.document(name, sql, "unknown", rows);
                assert_eq!(documents(&apm), [
                    document("SELECT FROM documents", select, None),
                    document("SELECT FROM documents", select, None),
                    document("UPDATE documents", update, Some(2)),
                    document("SELECT", "SELECT 7", None),
                ]);
                apm.assert_no_secret("hunter2");
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn statements_are_exit_spans_by_otlp() {
                let (pool, apm) = (pool("by_otlp").await, builder(&url()).otlp(OtlpProtocol::HttpProtobuf).start().await);
                let update = "UPDATE by_otlp SET name = 'x' WHERE id > 2";
                apm.agent().start_transaction("work", "scheduled").run(async {
                    sqlx::query(update).execute(&pool).await.unwrap();
                }).await;
                settle(&apm, &pool).await;
                let server = Server::of(SYSTEM, &url());
                let resource = format!("{SYSTEM}/{}", server.instance);
                let span = apm.expect_span("UPDATE by_otlp").await.kind("db", SYSTEM).child_of("work");
                let span = span.field("/context/db/statement", update).label("db_rows_affected", 2);
                let span = span.field("/context/db/instance", server.instance);
                let span = span.field("/context/destination/service/resource", resource);
                if let Some((host, port)) = server.address {
                    span.field("/context/destination/address", host).field("/context/destination/port", port);
                }
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn statement_is_a_child_of_the_span_that_runs_it() {
                let (pool, apm) = (pool("parents").await, builder(&url()).start().await);
                let select = |pool: Pool, sql: &'static str| async move { sqlx::query(sql).fetch_one(&pool).await.unwrap() };
                apm.agent().start_transaction("work", "scheduled").run(async {
                    tokio::join!(
                        select(pool.clone(), "SELECT 10 AS a, 1 AS b, 1 AS c").instrument(info_span!("first")),
                        select(pool.clone(), "SELECT 20 AS a, 1 AS b, 1 AS c").instrument(info_span!("second")),
                        select(pool.clone(), "SELECT 30 AS a, 1 AS b, 1 AS c"),
                    );
                    let spawned = select(pool.clone(), "SELECT 40 AS a, 1 AS b, 1 AS c").in_current_span();
                    tokio::spawn(spawned).await.unwrap();
                    let spawned = select(pool.clone(), "SELECT 50 AS a, 1 AS b, 1 AS c").in_current_transaction();
                    tokio::spawn(spawned.in_current_span()).await.unwrap();
                    tokio::spawn(select(pool.clone(), "SELECT 60 AS a, 1 AS b, 1 AS c")).await.unwrap();
                }).await;
                settle(&apm, &pool).await;
                let id = |name: &str| spans(&apm).iter().find(|span| span["name"] == name).unwrap()["id"].clone();
                let transaction = apm.expect_transaction("work").await.id().to_owned();
                let mut parents: Vec<_> = spans(&apm).into_iter().filter(|span| span["type"] == "db").map(|span| {
                    (span["context"]["db"]["statement"].as_str().unwrap()[7..9].to_owned(), span["parent_id"].clone())
                }).collect();
                parents.sort_by(|left, right| left.0.cmp(&right.0));
                let want = [("10", id("first")), ("20", id("second")), ("30", json!(transaction)), ("40", json!(transaction)), ("50", json!(transaction))];
                assert_eq!(parents, want.map(|(statement, parent)| (statement.to_owned(), parent)), "the last one is in no transaction");
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn database_transaction_has_a_span_for_each_statement() {
                let (pool, apm) = (pool("transactions").await, builder(&url()).start().await);
                apm.agent().start_transaction("work", "scheduled").run(async {
                    let mut tx = pool.begin().await.unwrap();
                    sqlx::query("UPDATE transactions SET name = 'z' WHERE id = 2").execute(&mut *tx).await.unwrap();
                    tx.commit().await.unwrap();
                    let mut tx = pool.begin().await.unwrap();
                    sqlx::query("DELETE FROM transactions WHERE id = 2").execute(&mut *tx).await.unwrap();
                    tx.rollback().await.unwrap();
                }).await;
                settle(&apm, &pool).await;
                let [begin, commit, rollback] = $control;
                let want = [begin, Some("UPDATE transactions"), commit, begin, Some("DELETE FROM transactions"), rollback];
                assert_eq!(names(&apm), want.into_iter().flatten().collect::<Vec<_>>());
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn stream_has_one_span_below_the_span_that_began_it() {
                let (pool, apm) = (pool("streams").await, builder(&url()).start().await);
                apm.agent().start_transaction("work", "scheduled").run(async {
                    let mut rows = info_span!("begins").in_scope(|| sqlx::query("SELECT id, name FROM streams ORDER BY id").fetch(&pool));
                    async { while rows.try_next().await.unwrap().is_some() {} }.instrument(info_span!("reads")).await;
                }).await;
                settle(&apm, &pool).await;
                apm.expect_span("SELECT FROM streams").await.child_of("begins").outcome("unknown");
                assert_eq!(apm.events(Kind::Span).len(), 3);
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn failed_statement_has_an_unknown_outcome() {
                let (pool, apm) = (pool("failures").await, builder(&url()).start().await);
                let insert = "INSERT INTO failures (id, name) VALUES (1, 'again')";
                apm.agent().start_transaction("work", "scheduled").run(async {
                    sqlx::query(insert).execute(&pool).await.unwrap_err();
                }).await;
                settle(&apm, &pool).await;
                let mut found = documents(&apm);
                // SQLite repeats the number of an earlier statement
                found[0]["context"]["db"].as_object_mut().unwrap().remove("rows_affected");
                let server = Server::of(SYSTEM, &url());
                assert_eq!(found, [server.document("INSERT INTO failures", insert, "unknown", None)]);
                apm.expect_no_errors().await;
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn slow_statements_and_other_levels_are_recorded() {
                let apm = builder(&url()).start().await;
                let info = options().log_statements(log::LevelFilter::Info);
                let slow = options().log_slow_statements(log::LevelFilter::Warn, Duration::ZERO);
                for (options, table) in [(info, "info"), (slow, "slow")] {
                    let pool = pool_with(options, table).await;
                    apm.agent().start_transaction("work", "scheduled").run(async {
                        sqlx::query("SELECT 1 AS a, 2 AS b, 3 AS c").fetch_one(&pool).await.unwrap();
                    }).await;
                    settle(&apm, &pool).await;
                }
                assert_eq!(names(&apm), ["SELECT", "SELECT"]);
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn cancelled_statement_has_an_unknown_outcome() {
                let (pool, apm) = (pool("cancelled").await, builder(&url()).start().await);
                apm.agent().start_transaction("work", "scheduled").run(async {
                    let statement = sqlx::query(SLOW).fetch_one(&pool);
                    tokio::time::timeout(Duration::from_millis(200), statement).await.unwrap_err();
                }).await;
                // on SQLite, the statement continues
                let span = apm.expect_span(if IS_SQLITE { "WITH" } else { "SELECT" }).await.outcome("unknown");
                // without the wait for a connection
                assert!(span.json()["duration"].as_f64().unwrap() > 1.0, "{}", span.json());
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn statements_of_a_new_connection_are_left_out() {
                let apm = builder(&url()).start().await;
                apm.agent().start_transaction("work", "scheduled").run(async {
                    let pool = sqlx::pool::PoolOptions::<_>::new().connect_with(options()).await;
                    let pool: Pool = pool.unwrap();
                    sqlx::query("SELECT 1 AS a, 2 AS b, 3 AS c").fetch_one(&pool).await.unwrap();
                    pool.close().await;
                }).await;
                apm.expect_span("SELECT").await;
                apm.expect_transaction("work").await.span_count(1);
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn wrapper_records_exact_outcomes_once() {
                // the database of the agent is another one
                let apm = builder("postgres://elsewhere/other").start().await;
                let pool = tower_apm::sqlx::instrument(pool("wrapped").await);
                let select = "SELECT id, name FROM wrapped WHERE id < 3";
                let update = "UPDATE wrapped SET name = 'x' WHERE id > 2";
                let insert = "INSERT INTO wrapped (id, name) VALUES (1, 'again')";
                apm.agent().start_transaction("work", "scheduled").run(async {
                    assert_eq!(sqlx::query(select).fetch_all(&pool).await.unwrap().len(), 3);
                    sqlx::query(select).fetch_one(&pool).await.unwrap();
                    assert_eq!(sqlx::query(update).execute(&pool).await.unwrap().rows_affected(), 2);
                    sqlx::query(insert).execute(&pool).await.unwrap_err();
                    sqlx::query("SELECT id FROM wrapped WHERE id = 99").fetch_one(&pool).await.unwrap_err();
                    let mut tx = pool.begin().await.unwrap();
                    sqlx::query(update).execute(pool.on(&mut *tx)).await.unwrap();
                    drop(tx);
                }).await;
                settle(&apm, &pool).await;
                let server = Server::of($system_of_wrapper, &url());
                let document = |name, sql, outcome, rows: Option<u64>| {
                    server.document(name, sql, outcome, rows.filter(|_| !IS_SQLITE))
                };
                let mut found = documents(&apm);
                found.retain(|span| !["BEGIN", "ROLLBACK"].contains(&span["name"].as_str().unwrap()));
                let no_row = "SELECT id FROM wrapped WHERE id = 99";
                assert_eq!(found, [
                    document("SELECT FROM wrapped", select, "success", None),
                    document("SELECT FROM wrapped", select, "success", None),
                    document("UPDATE wrapped", update, "success", Some(2)),
                    document("INSERT INTO wrapped", insert, "failure", Some(0)),
                    document("SELECT FROM wrapped", no_row, "success", None),
                    document("UPDATE wrapped", update, "success", Some(2)),
                ]);
                let errors = apm.events(Kind::Error);
                let [error] = &errors[..] else { panic!("{errors:?}") };
                let failed = spans(&apm).into_iter().find(|span| span["outcome"] == "failure").unwrap();
                assert_eq!(error["parent_id"], failed["id"]);
                assert!(error["exception"]["cause"].is_array(), "{error}");
                apm.assert_no_secret("hunter2");
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn statement_within_a_database_call_is_recorded_once() {
                let (pool, apm) = (pool("called").await, builder(&url()).start().await);
                let select = "SELECT id, name FROM called WHERE id < 3";
                let insert = "INSERT INTO called (id, name) VALUES (1, 'again')";
                let work = async {
                    let call = |sql| db::call(SYSTEM).instance("called").statement(sql);
                    call(select).run(sqlx::query(select).fetch_all(&pool)).await.unwrap();
                    call(select).run(sqlx::query(select).fetch_one(&pool)).await.unwrap();
                    call(insert).run(sqlx::query(insert).execute(&pool)).await.unwrap_err();
                    sqlx::query(select).fetch_all(&pool).await.unwrap();
                };
                apm.agent().start_transaction("work", "scheduled").run(async {
        work.instrument(info_span!("load")).await;
        // on SQLite, the spans of a statement stay open until its thread has handled the next command
        sqlx::Connection::ping(&mut *pool.acquire().await.unwrap()).await.unwrap();
    }).await;
                settle(&apm, &pool).await;
                let mut found = spans(&apm);
                found.retain(|span| span["type"] == "db");
                let outcomes: Vec<_> = found.iter().map(|span| span["outcome"].clone()).collect();
                assert_eq!(outcomes, ["success", "success", "failure", "unknown"]);
                let load = apm.expect_span("load").await.id().to_owned();
                for (span, sql) in found.iter().zip([select, select, insert, select]) {
                    assert_eq!((&span["context"]["db"]["statement"], &span["parent_id"]), (&json!(sql), &json!(load)));
                }
                apm.expect_transaction("work").await.span_count(5);
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn wrapper_records_streams_and_cancelled_statements() {
                let apm = builder(&url()).start().await;
                let pool = tower_apm::sqlx::instrument(pool("wrapped_streams").await);
                apm.agent().start_transaction("work", "scheduled").run(async {
                    let mut rows = sqlx::query("SELECT id FROM wrapped_streams ORDER BY id").fetch(&pool);
                    while rows.try_next().await.unwrap().is_some() {}
                    drop(rows);
                    let mut rows = sqlx::query("SELECT name FROM wrapped_streams ORDER BY id").fetch(&pool);
                    rows.try_next().await.unwrap();
                    drop(rows);
                    let statement = sqlx::query(SLOW).fetch_one(&pool);
                    tokio::time::timeout(Duration::from_millis(200), statement).await.unwrap_err();
                }).await;
                settle(&apm, &pool).await;
                let outcomes: Vec<_> = spans(&apm).iter().map(|span| span["outcome"].clone()).collect();
                assert_eq!(outcomes, ["success", "success", "unknown"]);
            }

            #[tokio::test]
            $(#[$ignore])?
            async fn wrapper_records_a_closed_pool_as_failure() {
                let apm = builder(&url()).start().await;
                let pool = tower_apm::sqlx::instrument(pool("closed").await);
                pool.close().await;
                apm.agent().start_transaction("work", "scheduled").run(async {
                    sqlx::query("SELECT id FROM closed WHERE id = 1").fetch_one(&pool).await.unwrap_err();
                }).await;
                sqlx::query("SELECT 1").fetch_one(&pool).await.unwrap_err();
                apm.expect_transaction("work").await.span("SELECT FROM closed", |span| span.outcome("failure"));
                assert_eq!(apm.events(Kind::Error).len(), 1, "none outside of the transaction");
            }
        }
    };
}

tests! {
    #[ignore = "needs PostgreSQL"]
    postgresql(PgPool, sqlx::postgres::PgConnectOptions, super::url("POSTGRES_URL")),
    "postgresql", wrapped: "postgresql",
    slow: "SELECT pg_sleep(2), 1 AS a, 2 AS b, 3 AS c",
    control: [None, Some("COMMIT"), Some("ROLLBACK")],
}

tests! {
    #[ignore = "needs MariaDB"]
    mariadb(MySqlPool, sqlx::mysql::MySqlConnectOptions, super::url("MARIADB_URL").replace("mysql:", "mariadb:")),
    "mariadb", wrapped: "mysql",
    slow: "SELECT SLEEP(2), 1 AS a, 2 AS b, 3 AS c",
    control: [Some("BEGIN"), Some("COMMIT"), Some("ROLLBACK")],
}

tests! {
    sqlite(SqlitePool, sqlx::sqlite::SqliteConnectOptions, "sqlite::memory:".to_owned()),
    "sqlite", wrapped: "sqlite",
    slow: "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 4000000) SELECT count(*) FROM c",
    control: [None::<&str>, None, None],
}
