//! Reads from PostgreSQL how the history was written.

use sea_orm::{ConnectionTrait, Database, DbErr, QueryResult, Statement};

/// The rows of the history after an id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writes {
    pub(crate) rows: u64,
    /// The transactions that wrote the rows.
    pub(crate) transactions: u64,
    /// The maximum number of rows that one transaction wrote.
    pub(crate) largest: u64,
}

pub(crate) async fn last_id(url: &str) -> Result<i64, DbErr> {
    row(url, "SELECT coalesce(max(id), 0) FROM ledger_entries").await?.try_get_by(0)
}

pub(crate) async fn writes_after(url: &str, id: i64) -> Result<Writes, DbErr> {
    // `xmin` is the transaction that inserted the row
    let sql = format!(
        "SELECT coalesce(sum(rows), 0)::bigint, count(*), coalesce(max(rows), 0) \
         FROM (SELECT count(*) AS rows FROM ledger_entries WHERE id > {id} GROUP BY xmin::text) AS batches"
    );
    let row = row(url, &sql).await?;
    let read = |index: usize| row.try_get_by::<i64, _>(index).map(i64::unsigned_abs);
    Ok(Writes { rows: read(0)?, transactions: read(1)?, largest: read(2)? })
}

async fn row(url: &str, sql: &str) -> Result<QueryResult, DbErr> {
    let db = Database::connect(url).await?;
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await;
    db.close().await?;
    row?.ok_or(DbErr::RecordNotFound(sql.to_owned()))
}
