//! The database: picks the driver by the URL, opens the pool, brings the schema up to date.

mod migrations;

use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use tracing::log::LevelFilter;

use crate::config::SecretUrl;

/// Why there is no database to work with.
#[derive(Debug, thiserror::Error)]
pub enum DataSourceError {
    #[error("DATABASE_URL asks for {database}, whose driver is not in this build: add `--features {feature}`")]
    DriverNotBuiltIn { database: &'static str, feature: &'static str },
    #[error("DATABASE_URL begins with {scheme:?}: it must begin with sqlite:, postgres: or mysql:")]
    UnknownDatabase { scheme: String },
    #[error("the database cannot be opened")]
    Open(#[source] DbErr),
    #[error("migration {name} failed")]
    Migration { name: &'static str, source: DbErr },
}

/// Opens the database of `url` with its tables as this version needs them.
///
/// Every statement becomes a span (SeaORM's feature `tracing-spans`), with its text: SeaORM binds values as parameters, so that
/// the text holds none of them.
pub async fn connect(url: &SecretUrl) -> Result<DatabaseConnection, DataSourceError> {
    let mut options = ConnectOptions::new(url.expose());
    options.sqlx_logging_level(LevelFilter::Trace).record_stmt_in_spans(true).connect_timeout(Duration::from_secs(5));
    match url.scheme() {
        // One connection: a database in memory lives as long as its connection does, and one in a file has one writer.
        "sqlite" => options.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None),
        "postgres" | "postgresql" if cfg!(feature = "postgres") => options.max_connections(10),
        "mysql" if cfg!(feature = "mysql") => options.max_connections(10),
        "postgres" | "postgresql" => {
            return Err(DataSourceError::DriverNotBuiltIn { database: "PostgreSQL", feature: "postgres" });
        }
        "mysql" => return Err(DataSourceError::DriverNotBuiltIn { database: "MySQL", feature: "mysql" }),
        scheme => return Err(DataSourceError::UnknownDatabase { scheme: scheme.to_owned() }),
    };
    let db = Database::connect(options).await.map_err(DataSourceError::Open)?;
    migrations::run(&db).await?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_cannot_be_used_says_what_can() {
        let cases = [
            #[cfg(not(feature = "postgres"))]
            ("postgres://shop:hunter2@db/shop", "--features postgres"),
            #[cfg(not(feature = "mysql"))]
            ("mysql://shop:hunter2@db/shop", "--features mysql"),
            ("oracle://shop:hunter2@db/shop", "\"oracle\""),
            ("hunter2", "sqlite:"),
            ("sqlite:///no/such/folder/hunter2.db", "cannot be opened"),
        ];
        for (url, expected) in cases {
            let error = connect(&url.into()).await.unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
