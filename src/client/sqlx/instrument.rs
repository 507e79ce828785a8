//! The wrappers of a pool and of an executor that runs a single statement.

use std::{fmt, ops::Deref, sync::Arc};

use ::sqlx::{ConnectOptions, Database, Either, Error, Execute, Executor, Pool, SqlStr};
use futures_core::{future::BoxFuture, stream::BoxStream};
use opentelemetry::KeyValue;

use super::{
    SqlxDatabase,
    call::{Call, Observed},
};
use crate::record::catch;

/// Wraps a pool of sqlx 0.9, so that its statements become exit spans with exact outcomes.
///
/// If a statement fails, the outcome of its span is `failure` and the error is recorded with its causes. The span has
/// the address and the database that the pool connects to. Its duration includes the time that the statement waits for
/// a connection. A statement that is dropped before its end has the outcome `unknown`. The number of affected rows is
/// recorded on PostgreSQL, MySQL and MariaDB, as long as sqlx logs its statements.
///
/// Pass a reference to the wrapper to the query functions instead of the pool. The wrapper dereferences to the pool, so
/// `pool.begin()` and `pool.acquire()` work as before. Statements of a connection or of a database transaction are
/// recorded from sqlx's events, with the outcome `unknown`. [`InstrumentedPool::on`] records them like statements of
/// the pool.
///
/// ```no_run
/// # async fn raise_the_price() -> Result<(), sqlx::Error> {
/// # use sqlx::SqlitePool as PgPool;
/// let pool = tower_apm::sqlx::instrument(PgPool::connect("postgres://app:secret@db.internal/orders").await?);
///
/// let price: i64 = sqlx::query_scalar("SELECT price FROM listings WHERE id = $1").bind(42).fetch_one(&pool).await?;
///
/// let mut tx = pool.begin().await?;
/// sqlx::query("UPDATE listings SET price = $1 WHERE id = $2").bind(price + 1).bind(42).execute(pool.on(&mut *tx)).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
pub fn instrument<DB: Database>(pool: Pool<DB>) -> InstrumentedPool<DB> {
    let database = database_of(&pool)
        .map_or_else(|| vec![KeyValue::new("db.system.name", "sql")], |database| database.attributes());
    InstrumentedPool { pool, database: database.into() }
}

/// Returns the database that the pool connects to, if the driver is known. Other drivers can panic if they have no URL.
fn database_of<DB: Database>(pool: &Pool<DB>) -> Option<SqlxDatabase> {
    let options = pool.connect_options();
    let without_address = match DB::NAME {
        // sqlx panics for the URL of a database in memory
        "SQLite" => return Some(SqlxDatabase::sqlite(sqlite_name(&format!("{options:?}")))),
        "PostgreSQL" => Some(SqlxDatabase::postgresql("")),
        "MySQL" => Some(SqlxDatabase::mysql("")),
        "Any" => None,
        _ => return None,
    };
    // sqlx panics for an IPv6 address
    let url = catch(|| String::from(options.to_url_lossy()));
    url.and_then(|url| SqlxDatabase::from_url(url).ok()).or(without_address)
}

/// Returns the file name in the `Debug` output of the options. No other method returns it for every database.
fn sqlite_name(options: &str) -> &str {
    if options.contains("in_memory: true") {
        return ":memory:";
    }
    let path = options.split_once("filename: \"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// A pool whose statements become exit spans. Created by [`instrument`].
pub struct InstrumentedPool<DB: Database> {
    pool: Pool<DB>,
    database: Arc<[KeyValue]>,
}

impl<DB: Database> InstrumentedPool<DB> {
    /// Sets the database of the spans. Default: the database that the pool connects to.
    ///
    /// Use this for MariaDB, because sqlx does not distinguish it from MySQL.
    #[must_use]
    pub fn with_database(self, database: &SqlxDatabase) -> Self {
        Self { database: database.attributes().into(), ..self }
    }

    /// Wraps a connection or a database transaction of this pool for one statement.
    pub fn on<E>(&self, executor: E) -> Instrumented<E> {
        Instrumented { executor, database: self.database.clone() }
    }
}

impl<DB: Database> Clone for InstrumentedPool<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), database: self.database.clone() }
    }
}

impl<DB: Database> Deref for InstrumentedPool<DB> {
    type Target = Pool<DB>;

    fn deref(&self) -> &Pool<DB> {
        &self.pool
    }
}

impl<DB: Database> fmt::Debug for InstrumentedPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstrumentedPool").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// An executor that runs one statement. Created by [`InstrumentedPool::on`].
#[derive(Debug)]
pub struct Instrumented<E> {
    executor: E,
    database: Arc<[KeyValue]>,
}

impl<'p, DB: Database> Executor<'p> for &'_ InstrumentedPool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, Q>(self, query: Q) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, Error>>
    where
        'p: 'e,
        Q: 'q + Execute<'q, DB>,
    {
        match Call::begin::<DB, Q>(&self.database, query) {
            Ok((call, query)) => Box::pin(Observed::new((&self.pool).fetch_many(query), call)),
            Err(query) => (&self.pool).fetch_many(query),
        }
    }

    fn fetch_optional<'e, 'q: 'e, Q>(self, query: Q) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'p: 'e,
        Q: 'q + Execute<'q, DB>,
    {
        match Call::begin::<DB, Q>(&self.database, query) {
            Ok((call, query)) => Box::pin(Observed::new((&self.pool).fetch_optional(query), call)),
            Err(query) => (&self.pool).fetch_optional(query),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'p: 'e,
    {
        (&self.pool).prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<::sqlx::Describe<DB>, Error>>
    where
        'p: 'e,
    {
        (&self.pool).describe(sql)
    }
}

impl<'c, E: Executor<'c>> Executor<'c> for Instrumented<E> {
    type Database = E::Database;

    fn fetch_many<'e, 'q: 'e, Q>(
        self,
        query: Q,
    ) -> BoxStream<'e, Result<Either<<E::Database as Database>::QueryResult, <E::Database as Database>::Row>, Error>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, E::Database>,
    {
        match Call::begin::<E::Database, Q>(&self.database, query) {
            Ok((call, query)) => Box::pin(Observed::new(self.executor.fetch_many(query), call)),
            Err(query) => self.executor.fetch_many(query),
        }
    }

    fn fetch_optional<'e, 'q: 'e, Q>(
        self,
        query: Q,
    ) -> BoxFuture<'e, Result<Option<<E::Database as Database>::Row>, Error>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, E::Database>,
    {
        match Call::begin::<E::Database, Q>(&self.database, query) {
            Ok((call, query)) => Box::pin(Observed::new(self.executor.fetch_optional(query), call)),
            Err(query) => self.executor.fetch_optional(query),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [<E::Database as Database>::TypeInfo],
    ) -> BoxFuture<'e, Result<<E::Database as Database>::Statement, Error>>
    where
        'c: 'e,
    {
        self.executor.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<::sqlx::Describe<E::Database>, Error>>
    where
        'c: 'e,
    {
        self.executor.describe(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_an_sqlite_database_is_the_file_name() {
        for (options, want) in [
            (r#"SqliteConnectOptions { filename: "/var/lib/orders.db", in_memory: false, .. }"#, "orders.db"),
            (r#"SqliteConnectOptions { filename: "orders.db", in_memory: false, .. }"#, "orders.db"),
            (r#"SqliteConnectOptions { filename: "file:sqlx-in-memory-0", in_memory: true, .. }"#, ":memory:"),
            ("Other", ""),
        ] {
            assert_eq!(sqlite_name(options), want, "{options}");
        }
    }
}
