//! Data sources: the databases of this service, with their tables.
//!
//! There are two data sources, `market` and `wallet`. Each can be PostgreSQL, MySQL/MariaDB or SQLite. Opening a data
//! source applies the migrations of its tables.

mod config;
pub mod migrations;

use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError};
use tracing::log::LevelFilter;

pub use self::config::{DataSourceConfig, DataSourceConfigError, DataSourceName, DatabaseType};
use self::migrations::{MarketMigrator, WalletMigrator};
use crate::config::Config;

/// How long opening a connection, or waiting for a free connection of a full pool, can take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of connections to a database server for each data source.
const MAX_CONNECTIONS: u32 = 10;

/// The open data sources. Clones share the connections.
#[derive(Debug, Clone)]
pub struct DataSources {
    /// Listings and messages.
    pub market: DatabaseConnection,
    /// The history of the wallets. Uses the connections of `market` unless it is configured separately.
    pub wallet: DatabaseConnection,
}

/// An error of opening a data source. No error contains the URL.
#[derive(Debug, thiserror::Error)]
pub enum DataSourceError {
    #[error("data source {name}: the database cannot be opened, check {variables}")]
    Open { name: DataSourceName, variables: String, source: DbErr },
    #[error("data source {name}: no database answers within {} s, check {variables}", TIMEOUT.as_secs())]
    NoAnswer { name: DataSourceName, variables: String },
    #[error("data source {name}: the tables cannot be migrated")]
    Migration { name: DataSourceName, source: DbErr },
}

impl DataSources {
    /// Opens all data sources and applies their migrations.
    pub async fn open(config: &Config) -> Result<Self, DataSourceError> {
        let name = DataSourceName::Market;
        let market = connect(name, &config.market_database).await?;
        migrations::apply::<MarketMigrator>(&market, &config.market_database)
            .await
            .map_err(|source| DataSourceError::Migration { name, source })?;
        let name = DataSourceName::Wallet;
        let wallet = match &config.wallet_database {
            Some(database) => connect(name, database).await?,
            None => market.clone(),
        };
        migrations::apply::<WalletMigrator>(
            &wallet,
            config.wallet_database.as_ref().unwrap_or(&config.market_database),
        )
        .await
        .map_err(|source| DataSourceError::Migration { name, source })?;
        Ok(Self { market, wallet })
    }
}

async fn connect(name: DataSourceName, config: &DataSourceConfig) -> Result<DatabaseConnection, DataSourceError> {
    Database::connect(connect_options(config)).await.map_err(|source| {
        let variables = config.variables().to_owned();
        match &source {
            // The pool tries again while connections are refused.
            DbErr::Conn(RuntimeErr::SqlxError(error)) if matches!(**error, SqlxError::PoolTimedOut) => {
                DataSourceError::NoAnswer { name, variables }
            }
            _ => DataSourceError::Open { name, variables, source },
        }
    })
}

/// Returns the options of a pool.
///
/// SeaORM's feature `tracing-spans` records a span with the SQL text for each statement. SeaORM binds values as
/// parameters, so the text does not contain them.
fn connect_options(config: &DataSourceConfig) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.url().expose());
    options
        .sqlx_logging_level(LevelFilter::Trace)
        .record_stmt_in_spans(true)
        .connect_timeout(TIMEOUT)
        .acquire_timeout(TIMEOUT);
    match config.database_type() {
        // One connection: a database in memory ends with its connection, and SQLite supports one writer.
        DatabaseType::Sqlite => options.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None),
        DatabaseType::Postgres | DatabaseType::MySql => options.max_connections(MAX_CONNECTIONS),
    };
    options
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::*;

    fn sqlite(name: DataSourceName, url: &str) -> DataSourceConfig {
        DataSourceConfig::from_url(name, url).unwrap()
    }

    #[tokio::test]
    async fn data_source_that_does_not_open_is_named_without_its_url() {
        let url = "sqlite:///no/such/folder/hunter2.db";
        let market = Config { market_database: sqlite(DataSourceName::Market, url), ..Config::default() };
        let wallet = Config { wallet_database: Some(sqlite(DataSourceName::Wallet, url)), ..Config::default() };
        for (config, name, variable) in
            [(market, "data source market", "DATABASE_URL"), (wallet, "data source wallet", "WALLET_DATABASE_URL")]
        {
            let error = DataSources::open(&config).await.unwrap_err();
            let text = error.to_string();
            assert_eq!(text, format!("{name}: the database cannot be opened, check {variable}"));
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn wallet_is_in_the_database_of_the_market_by_default() {
        let sources = DataSources::open(&Config::default()).await.unwrap();
        sources.market.execute_unprepared("SELECT 1 FROM ledger_entries, listings").await.unwrap();
        sources.wallet.execute_unprepared("SELECT 1 FROM ledger_entries, listings").await.unwrap();

        let wallet_database = Some(sqlite(DataSourceName::Wallet, "sqlite::memory:"));
        let sources = DataSources::open(&Config { wallet_database, ..Config::default() }).await.unwrap();
        sources.market.execute_unprepared("SELECT 1 FROM ledger_entries").await.unwrap_err();
        sources.wallet.execute_unprepared("SELECT 1 FROM listings").await.unwrap_err();
        sources.wallet.execute_unprepared("SELECT 1 FROM ledger_entries").await.unwrap();
    }
}
