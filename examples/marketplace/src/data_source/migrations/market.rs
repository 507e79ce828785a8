//! The tables of the data source `market`.

use sea_orm::{
    DbErr, DynIden,
    sea_query::{ColumnDef, IntoIden as _, Table},
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use super::{create_index, create_table, entity_table, migration};

/// The migrations of the data source `market`.
#[derive(Debug)]
pub struct MarketMigrator;

impl MigratorTrait for MarketMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            migration("0001_create_listings", |manager| Box::pin(create_listings(manager))),
            migration("0002_create_messages", |manager| Box::pin(create_messages(manager))),
            migration("0003_add_message_event_type", |manager| Box::pin(add_message_event_type(manager))),
            migration("0004_add_orders_to_listings", |manager| Box::pin(add_orders_to_listings(manager))),
            migration("0005_create_closed_orders", |manager| Box::pin(create_closed_orders(manager))),
        ]
    }

    fn migration_table_name() -> DynIden {
        "market_migrations".into_iden()
    }
}

async fn create_listings(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = entity_table("listings");
    table
        .col(ColumnDef::new("token_id").string_len(128).not_null())
        .col(ColumnDef::new("seller").string_len(128).not_null())
        .col(ColumnDef::new("price").big_integer().not_null())
        .col(ColumnDef::new("status").string_len(16).not_null())
        .col(ColumnDef::new("buyer").string_len(128))
        .col(ColumnDef::new("tx_hash").string_len(128));
    create_table(manager, table).await?;
    create_index(manager, "listings", &["status"], false).await
}

async fn create_messages(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = entity_table("messages");
    table
        .col(ColumnDef::new("room").string_len(128).not_null())
        .col(ColumnDef::new("sender").string_len(128).not_null())
        .col(ColumnDef::new("text").string_len(2000).not_null());
    create_table(manager, table).await?;
    create_index(manager, "messages", &["room"], false).await
}

/// Adds the type of an event. Existing rows get the type `message`.
async fn add_message_event_type(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.has_column("messages", "event_type").await? {
        return Ok(());
    }
    let mut column = ColumnDef::new("event_type");
    column.string_len(16).not_null().default("message");
    manager.alter_table(Table::alter().table("messages").add_column(column).to_owned()).await
}

/// Adds the columns of an order in progress. Only listings with such an order have a lease.
async fn add_orders_to_listings(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut order_id = ColumnDef::new("order_id");
    let mut lease = ColumnDef::new("lease_until_ms");
    let mut block = ColumnDef::new("block");
    // SQLite can add only one column per statement.
    for column in [order_id.string_len(36), lease.big_integer(), block.big_integer()] {
        let name = column.get_column_name();
        if !manager.has_column("listings", name).await? {
            manager.alter_table(Table::alter().table("listings").add_column(column.take()).take()).await?;
        }
    }
    create_index(manager, "listings", &["lease_until_ms"], false).await
}

async fn create_closed_orders(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut table = entity_table("closed_orders");
    table
        .col(ColumnDef::new("order_id").string_len(36).not_null())
        .col(ColumnDef::new("token_id").string_len(128).not_null())
        .col(ColumnDef::new("buyer").string_len(128).not_null())
        .col(ColumnDef::new("price").big_integer().not_null());
    create_table(manager, table).await?;
    create_index(manager, "closed_orders", &["order_id"], true).await
}
