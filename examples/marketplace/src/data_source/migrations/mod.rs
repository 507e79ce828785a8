//! Versioned migrations of the tables, one migrator for each data source.
//!
//! Several processes can start at the same time, because each process holds a lock while it applies the migrations.
//!
//! - PostgreSQL and SQLite apply all pending migrations of a migrator in one transaction.
//! - MySQL and MariaDB commit after each statement that changes a table. If a migration is interrupted, the next start
//!   applies it again from the beginning. Use `create_table` and `create_index`, which skip what already exists.
//!
//! Never change a migration that was released. Add another one to the end of the list.

mod market;
mod wallet;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
    sea_query::{ColumnDef, Expr, Index, Table, TableCreateStatement},
};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

pub use self::{market::MarketMigrator, wallet::WalletMigrator};
use super::{DataSourceConfig, connect_options};

/// How long a process waits for another process that applies migrations.
const LOCK_SECONDS: u32 = 60;

/// Applies the pending migrations of `M`.
pub(super) async fn apply<M: MigratorTrait>(db: &DatabaseConnection, config: &DataSourceConfig) -> Result<(), DbErr> {
    match db.get_database_backend() {
        DbBackend::MySql => apply_on_mysql::<M>(config).await,
        backend => {
            let immediate = (backend == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
            let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
            let transaction = db.begin_with_options(options).await?;
            if backend == DbBackend::Postgres {
                transaction.execute_unprepared(&format!("SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")).await?;
                // The lock is released at the end of the transaction. Its key is used only here.
                transaction.execute_unprepared("SELECT pg_advisory_xact_lock(7309453024)").await?;
            }
            M::up(&transaction, None).await?;
            transaction.commit().await
        }
    }
}

/// Uses a separate connection, because the lock is released when its connection is closed.
async fn apply_on_mysql<M: MigratorTrait>(config: &DataSourceConfig) -> Result<(), DbErr> {
    let mut options = connect_options(config);
    options.max_connections(1);
    let db = Database::connect(options).await?;
    let result = async {
        // The name of a lock is unique in the whole server and has at most 64 characters.
        let lock = format!(
            "SELECT 1 AS locked FROM DUAL WHERE GET_LOCK(SHA1(CONCAT('marketplace migrations ', DATABASE())), {LOCK_SECONDS}) = 1"
        );
        if db.query_one_raw(Statement::from_string(DbBackend::MySql, lock)).await?.is_none() {
            return Err(DbErr::Custom(format!("another process has held the lock of the migrations for {LOCK_SECONDS} s")));
        }
        M::up(&db, None).await
    }
    .await;
    let closed = db.close().await;
    result.and(closed)
}

type Up = for<'a> fn(&'a SchemaManager<'a>) -> BoxFuture<'a, Result<(), DbErr>>;

struct Migration {
    name: &'static str,
    up: Up,
}

/// Returns a migration. The name identifies the migration and is stored when the migration has been applied.
fn migration(name: &'static str, up: Up) -> Box<dyn MigrationTrait> {
    Box::new(Migration { name, up })
}

impl MigrationName for Migration {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    // The signature must be written as in the trait.
    #[expect(elided_lifetimes_in_paths)]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        (self.up)(manager).await
    }
}

/// Returns a table with the columns `id` and `created_at_ms`, which all entity tables have.
fn entity_table(name: &'static str) -> TableCreateStatement {
    let mut table = Table::create();
    table
        .table(name)
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("created_at_ms").big_integer().not_null().default(Expr::val(0)));
    table
}

/// Creates a table unless it exists.
///
/// On MySQL and MariaDB, text is compared by its bytes, as on the other databases: `bob`, `Bob` and `bob ` are different.
async fn create_table(manager: &SchemaManager<'_>, mut table: TableCreateStatement) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::MySql {
        table.character_set("utf8mb4").collate(binary_collation(manager).await?);
    }
    manager.create_table(table.if_not_exists().to_owned()).await
}

/// Returns the collation that compares bytes and does not ignore trailing spaces.
async fn binary_collation(manager: &SchemaManager<'_>) -> Result<&'static str, DbErr> {
    let mariadb = "SELECT 1 AS mariadb FROM DUAL WHERE VERSION() LIKE '%MariaDB%'";
    let row = manager.get_connection().query_one_raw(Statement::from_string(DbBackend::MySql, mariadb)).await?;
    Ok(if row.is_some() { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" })
}

/// Creates the index `<table>_<columns>` unless it exists.
async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    columns: &[&'static str],
    unique: bool,
) -> Result<(), DbErr> {
    let name = format!("{table}_{}", columns.join("_"));
    if manager.has_index(table, &name).await? {
        return Ok(());
    }
    let mut index = Index::create();
    index.name(name).table(table);
    for column in columns {
        index.col(*column);
    }
    if unique {
        index.unique();
    }
    manager.create_index(index).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_source::DataSourceName;

    #[tokio::test]
    async fn migrations_are_applied_once_and_independently() {
        let config = DataSourceConfig::from_url(DataSourceName::Market, "sqlite::memory:").unwrap();
        let db = Database::connect(connect_options(&config)).await.unwrap();
        for _ in 0..2 {
            apply::<MarketMigrator>(&db, &config).await.unwrap();
            apply::<WalletMigrator>(&db, &config).await.unwrap();
        }
        assert_eq!(
            MarketMigrator::get_applied_migrations(&db).await.unwrap().len(),
            MarketMigrator::migrations().len()
        );
        assert_eq!(
            WalletMigrator::get_applied_migrations(&db).await.unwrap().len(),
            WalletMigrator::migrations().len()
        );
    }

    #[tokio::test]
    async fn existing_tables_and_indexes_are_kept() {
        let config = DataSourceConfig::from_url(DataSourceName::Market, "sqlite::memory:").unwrap();
        let db = Database::connect(connect_options(&config)).await.unwrap();
        apply::<MarketMigrator>(&db, &config).await.unwrap();
        db.execute_unprepared("INSERT INTO messages (room, sender, text) VALUES ('lobby', 'alice', 'hello')")
            .await
            .unwrap();
        // This is the state after a process was killed before it recorded its migrations.
        db.execute_unprepared("DELETE FROM market_migrations").await.unwrap();
        apply::<MarketMigrator>(&db, &config).await.unwrap();
        let row =
            db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "SELECT text FROM messages")).await.unwrap();
        assert_eq!(row.unwrap().try_get::<String>("", "text").unwrap(), "hello");
    }
}
