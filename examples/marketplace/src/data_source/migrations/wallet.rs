//! The tables of the data source `wallet`.

use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, DynIden,
    sea_query::{ColumnDef, Index, IntoIden as _, Table},
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use super::{create_index, create_table, entity_table, migration};

/// The migrations of the data source `wallet`.
#[derive(Debug)]
pub struct WalletMigrator;

impl MigratorTrait for WalletMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            migration("0001_create_ledger_entries", |manager| Box::pin(create_ledger_entries(manager))),
            migration("0002_add_change_keys", |manager| Box::pin(add_change_keys(manager))),
            migration("0003_create_consumed", |manager| Box::pin(create_consumed(manager))),
        ]
    }

    fn migration_table_name() -> DynIden {
        "wallet_migrations".into_iden()
    }
}

async fn create_ledger_entries(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = entity_table("ledger_entries");
    table
        .col(ColumnDef::new("user_id").string_len(128).not_null())
        .col(ColumnDef::new("amount").big_integer().not_null())
        .col(ColumnDef::new("reason").string_len(200).not_null());
    create_table(manager, table).await?;
    create_index(manager, "ledger_entries", &["user_id"], false).await
}

/// Adds the keys of changes. Existing entries get a key that is derived from their id.
async fn add_change_keys(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if !manager.has_column("ledger_entries", "change_key").await? {
        let mut key = ColumnDef::new("change_key");
        key.string_len(128).not_null().default("");
        manager.alter_table(Table::alter().table("ledger_entries").add_column(key).to_owned()).await?;
    }
    let key = match manager.get_database_backend() {
        DbBackend::MySql => "CONCAT('entry-', id)",
        _ => "'entry-' || id",
    };
    let keys = format!("UPDATE ledger_entries SET change_key = {key} WHERE change_key = ''");
    manager.get_connection().execute_unprepared(&keys).await?;
    create_index(manager, "ledger_entries", &["user_id", "change_key"], true).await
}

async fn create_consumed(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = Table::create();
    table
        .table("consumed")
        .col(ColumnDef::new("log").string_len(255).not_null())
        .col(ColumnDef::new("partition").integer().not_null())
        .col(ColumnDef::new("next_offset").big_integer().not_null())
        .col(ColumnDef::new("epoch").string_len(300))
        .primary_key(Index::create().col("log").col("partition"));
    create_table(manager, table).await
}
