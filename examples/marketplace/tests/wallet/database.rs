//! Creates databases for tests.

use marketplace::{
    config::Config,
    data_source::{DataSourceConfig, DataSourceName, DataSources},
};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use uuid::Uuid;

/// Returns the value of a variable that a test on real servers needs.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("this test needs {name}"))
}

/// Returns the URL of a new database on the server of `variable`: POSTGRES_URL or MARIADB_URL.
pub(crate) async fn create(server: &str) -> String {
    let url = variable(server);
    let name = format!("test_{}", Uuid::new_v4().simple());
    let db = Database::connect(&url).await.unwrap();
    db.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    db.close().await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// Opens a database with the tables of the wallet.
pub(crate) async fn open(url: &str) -> DatabaseConnection {
    let database = DataSourceConfig::from_url(DataSourceName::Market, url).unwrap();
    DataSources::open(&Config { market_database: database, ..Config::default() }).await.unwrap().wallet
}
