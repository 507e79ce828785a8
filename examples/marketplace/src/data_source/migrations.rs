//! The schema, as the steps that led to it: each runs once, in order, and is never changed after it was released.

use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QuerySelect, TransactionTrait,
    sea_query::{ColumnDef, Expr, Index, IndexCreateStatement, Table, TableCreateStatement},
};

use super::DataSourceError;

/// One step: the tables and indexes that it adds.
struct Migration {
    name: &'static str,
    tables: fn() -> Vec<TableCreateStatement>,
    indexes: fn() -> Vec<IndexCreateStatement>,
}

const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_listings", tables: listings, indexes: || vec![index("listings", "status")] },
    Migration { name: "0002_ledger", tables: ledger, indexes: || vec![index("ledger_entries", "user_id")] },
    Migration { name: "0003_messages", tables: messages, indexes: || vec![index("messages", "room")] },
];

/// The record of the steps that a database has seen.
mod applied {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "schema_migrations")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) name: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Runs the steps that `db` has not seen yet.
pub(super) async fn run(db: &DatabaseConnection) -> Result<(), DataSourceError> {
    let seen = seen(db).await.map_err(|source| DataSourceError::Migration { name: "schema_migrations", source })?;
    for migration in MIGRATIONS.iter().filter(|migration| !seen.iter().any(|name| name == migration.name)) {
        migration.apply(db).await.map_err(|source| DataSourceError::Migration { name: migration.name, source })?;
        tracing::debug!(migration = migration.name, "schema changed");
    }
    Ok(())
}

async fn seen(db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let mut table = Table::create();
    table
        .table("schema_migrations")
        .if_not_exists()
        .col(ColumnDef::new("name").string_len(100).not_null().primary_key());
    db.execute(&table).await?;
    applied::Entity::find().select_only().column(applied::Column::Name).into_tuple().all(db).await
}

impl Migration {
    async fn apply(&self, db: &DatabaseConnection) -> Result<(), DbErr> {
        let step = db.begin().await?;
        for table in (self.tables)() {
            step.execute(&table).await?;
        }
        for index in (self.indexes)() {
            step.execute(&index).await?;
        }
        applied::Entity::insert(applied::ActiveModel { name: Set(self.name.to_owned()) })
            .exec_without_returning(&step)
            .await?;
        step.commit().await
    }
}

fn listings() -> Vec<TableCreateStatement> {
    let mut table = table("listings");
    table
        .col(ColumnDef::new("token_id").string_len(128).not_null())
        .col(ColumnDef::new("seller").string_len(128).not_null())
        .col(ColumnDef::new("price").big_integer().not_null())
        .col(ColumnDef::new("status").string_len(16).not_null())
        .col(ColumnDef::new("buyer").string_len(128))
        .col(ColumnDef::new("tx_hash").string_len(128));
    vec![table]
}

fn ledger() -> Vec<TableCreateStatement> {
    let mut table = table("ledger_entries");
    table
        .col(ColumnDef::new("user_id").string_len(128).not_null())
        .col(ColumnDef::new("amount").big_integer().not_null())
        .col(ColumnDef::new("reason").string_len(200).not_null());
    vec![table]
}

fn messages() -> Vec<TableCreateStatement> {
    let mut table = table("messages");
    table
        .col(ColumnDef::new("room").string_len(128).not_null())
        .col(ColumnDef::new("sender").string_len(128).not_null())
        .col(ColumnDef::new("text").string_len(2000).not_null());
    vec![table]
}

/// A table with what all of ours have: a running number and the time of creation.
fn table(name: &'static str) -> TableCreateStatement {
    let mut table = Table::create();
    table
        .table(name)
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("created_at_ms").big_integer().not_null().default(Expr::val(0)));
    table
}

fn index(table: &'static str, column: &'static str) -> IndexCreateStatement {
    Index::create().name(format!("{table}_{column}")).table(table).col(column).to_owned()
}

#[cfg(test)]
mod tests {
    use sea_orm::Database;

    use super::*;

    #[tokio::test]
    async fn each_step_runs_once() {
        let mut options = sea_orm::ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let db = Database::connect(options).await.unwrap();
        run(&db).await.unwrap();
        run(&db).await.unwrap();
        assert_eq!(seen(&db).await.unwrap(), MIGRATIONS.iter().map(|m| m.name).collect::<Vec<_>>());
    }
}
