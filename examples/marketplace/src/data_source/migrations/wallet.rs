//! The tables of the data source `wallet`.

use sea_orm::{
    DbErr, DynIden,
    sea_query::{ColumnDef, IntoIden as _},
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use super::{create_index, create_table, entity_table, migration};

/// The migrations of the data source `wallet`.
#[derive(Debug)]
pub struct WalletMigrator;

impl MigratorTrait for WalletMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![migration("0001_create_ledger_entries", |manager| Box::pin(create_ledger_entries(manager)))]
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
