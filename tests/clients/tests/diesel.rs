//! Queries of diesel on SQLite and PostgreSQL.

use clients::{by_otlp, spans_of, timeless, url};
use diesel::{
    Connection, PgConnection, SqliteConnection,
    connection::{SimpleConnection, set_default_instrumentation},
    prelude::*,
    result::{DatabaseErrorKind, Error},
};
use serde_json::{Value, json};
use tower_apm::{
    Transaction,
    testkit::{Kind, TestAgent},
};

const SECRET: &str = "hunter2";

diesel::table! {
    orders (id) {
        id -> Integer,
        buyer -> Text,
    }
}

fn sqlite() -> SqliteConnection {
    set_default_instrumentation(tower_apm::diesel::default_instrumentation).unwrap();
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    connection.batch_execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer TEXT NOT NULL)").unwrap();
    connection
}

fn postgresql() -> PgConnection {
    set_default_instrumentation(tower_apm::diesel::default_instrumentation).unwrap();
    let mut connection = PgConnection::establish(&url("POSTGRES_URL")).unwrap();
    let create = "CREATE TEMPORARY TABLE orders (id INTEGER PRIMARY KEY, buyer TEXT NOT NULL)";
    connection.batch_execute(create).unwrap();
    connection
}

fn names(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

fn outcomes(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn query_on_postgresql_is_recorded_without_its_values() {
    let mut connection = postgresql();
    let port: u16 = url("POSTGRES_URL").rsplit_once('/').unwrap().0.rsplit(':').next().unwrap().parse().unwrap();
    let mut load = || orders::table.filter(orders::buyer.eq(SECRET)).load::<(i32, String)>(&mut connection).unwrap();
    let statement = r#"SELECT "orders"."id", "orders"."buyer" FROM "orders" WHERE ("orders"."buyer" = $1)"#;
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async { load() }).await;
    let expected = json!({
        "name": "SELECT FROM orders",
        "type": "db",
        "subtype": "postgresql",
        "action": "query",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "db": { "type": "sql", "instance": "shop", "statement": statement },
            "destination": {
                "address": "127.0.0.1",
                "port": port,
                "service": { "name": "", "type": "", "resource": "postgresql/shop" },
            },
            "service": { "target": { "type": "postgresql", "name": "shop" } },
        },
    });
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(timeless(&spans[0]), expected);
    apm.assert_no_secret(SECRET);

    let apm = by_otlp().await;
    let spans = spans_of(&apm, async { load() }).await;
    let expected = json!({
        "name": "SELECT FROM orders",
        "type": "db",
        "subtype": "postgresql",
        "outcome": "success",
        "context": {
            "db": { "type": "postgresql", "instance": "shop", "statement": statement },
            "destination": {
                "address": "127.0.0.1",
                "port": port,
                "service": { "name": "postgresql/shop", "type": "db", "resource": "postgresql/shop" },
            },
            "service": {
                "framework": { "name": "axum" },
                "target": { "type": "postgresql", "name": "shop" },
            },
        },
    });
    assert_eq!(timeless(&spans[0]), expected);
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
async fn query_on_sqlite_is_recorded_without_its_values() {
    let mut connection = sqlite();
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let values = (orders::id.eq(1), orders::buyer.eq(SECRET));
        diesel::insert_into(orders::table).values(values).execute(&mut connection).unwrap();
    })
    .await;
    let expected = json!({
        "name": "INSERT INTO orders",
        "type": "db",
        "subtype": "sqlite",
        "action": "query",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "db": { "type": "sql", "statement": "INSERT INTO `orders` (`id`, `buyer`) VALUES (?, ?)" },
            "destination": { "service": { "name": "", "type": "", "resource": "sqlite" } },
            "service": { "target": { "type": "sqlite" } },
        },
    });
    assert_eq!(timeless(&spans[0]), expected);
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
async fn bound_value_that_contains_the_marker_is_not_recorded() {
    let mut connection = sqlite();
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let buyer = format!("x -- binds: [{SECRET}");
        orders::table.filter(orders::buyer.eq(buyer)).load::<(i32, String)>(&mut connection).unwrap();
    })
    .await;
    assert!(spans[0]["context"]["db"]["statement"].as_str().unwrap().ends_with("WHERE (`orders`.`buyer` = ?)"));
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
async fn failed_query_is_recorded_and_a_missing_row_is_no_error() {
    let mut connection = sqlite();
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let mut insert = || {
            let values = (orders::id.eq(1), orders::buyer.eq(SECRET));
            diesel::insert_into(orders::table).values(values).execute(&mut connection)
        };
        insert().unwrap();
        let duplicate = insert();
        assert!(matches!(duplicate, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))));
        let missing = orders::table.find(9).first::<(i32, String)>(&mut connection);
        assert!(matches!(missing, Err(Error::NotFound)));
    })
    .await;
    assert_eq!(names(&spans), ["INSERT INTO orders", "INSERT INTO orders", "SELECT FROM orders"]);
    assert_eq!(outcomes(&spans), ["success", "failure", "success"]);
    assert_eq!(apm.events(Kind::Error).len(), 1);
    apm.expect_error("UNIQUE constraint failed: orders.id").await.child_of("INSERT INTO orders");
    apm.assert_no_secret(SECRET);
}

#[tokio::test]
async fn transaction_is_recorded_as_queries() {
    let mut connection = sqlite();
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let done: QueryResult<()> = connection.transaction(|connection| {
            diesel::delete(orders::table).execute(connection)?;
            connection.transaction(|connection| diesel::delete(orders::table).execute(connection))?;
            Ok(())
        });
        done.unwrap();
        let undone: QueryResult<()> = connection.transaction(|_| Err(Error::RollbackTransaction));
        assert!(undone.is_err());
    })
    .await;
    let expected =
        ["BEGIN", "DELETE FROM orders", "SAVEPOINT", "DELETE FROM orders", "RELEASE", "COMMIT", "BEGIN", "ROLLBACK"];
    assert_eq!(names(&spans), expected);
    assert_eq!(outcomes(&spans), ["success"; 8]);
    assert!(apm.events(Kind::Error).is_empty());
}

#[tokio::test]
async fn query_on_another_thread_belongs_to_the_transaction_that_is_passed() {
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async {
        let tx = Transaction::current();
        let work = move || {
            let mut connection = sqlite();
            tx.in_scope(|| orders::table.count().get_result::<i64>(&mut connection)).unwrap();
            orders::table.count().get_result::<i64>(&mut connection).unwrap();
        };
        tokio::task::spawn_blocking(work).await.unwrap();
    })
    .await;
    assert_eq!(names(&spans), ["SELECT FROM orders"]);
}

#[tokio::test]
async fn single_connection_is_instrumented_with_its_url() {
    let mut connection = sqlite();
    connection.set_instrumentation(tower_apm::diesel::instrument("mysql://app:hunter2@db.example/shop"));
    let apm = TestAgent::start().await;
    let spans = spans_of(&apm, async { orders::table.count().get_result::<i64>(&mut connection).unwrap() }).await;
    assert_eq!(spans[0]["context"]["service"]["target"], json!({ "type": "mysql", "name": "shop" }));
    assert_eq!(spans[0]["context"]["destination"]["address"], "db.example");
    apm.assert_no_secret(SECRET);
}
