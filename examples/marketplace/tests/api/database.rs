//! Databases that exist for one test.

use std::path::PathBuf;

use marketplace::data_source::{DataSourceConfig, DataSourceName};
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use uuid::Uuid;

/// A server on which each test creates its own databases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    /// The server of `POSTGRES_URL`.
    Postgres,
    /// The server of `MARIADB_URL`.
    MariaDb,
    /// Files in the temporary directory.
    Sqlite,
}

/// An empty database.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    server: Server,
    name: String,
    pub(crate) url: String,
}

impl Server {
    /// Returns the variable with the URL of the server.
    fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "POSTGRES_URL",
            Self::MariaDb => "MARIADB_URL",
            Self::Sqlite => unreachable!("SQLite has no server"),
        }
    }

    fn url(self) -> String {
        let variable = self.variable();
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: see scripts/real-parts.sh"))
    }

    /// Creates a database.
    pub(crate) async fn database(self) -> TestDatabase {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let url = match self {
            Self::Sqlite => format!("sqlite://{}?mode=rwc", file(&name).display()),
            Self::Postgres | Self::MariaDb => {
                let server = self.url();
                self.execute(&format!("CREATE DATABASE {name}")).await;
                format!("{}/{name}", server.rsplit_once('/').expect("the URL has a path").0)
            }
        };
        TestDatabase { server: self, name, url }
    }

    async fn execute(self, sql: &str) {
        let db = Database::connect(self.url()).await.expect("the server answers");
        db.execute_unprepared(sql).await.expect("the server accepts the statement");
        db.close().await.expect("the connection is closed");
    }
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{name}.db"))
}

impl TestDatabase {
    /// Returns the configuration of a data source in this database.
    pub(crate) fn config(&self, name: DataSourceName) -> DataSourceConfig {
        DataSourceConfig::from_url(name, &self.url).expect("the URL is valid")
    }

    /// Returns the names in a table of migrations, in the order in which they were applied.
    pub(crate) async fn applied_migrations(&self, table: &str) -> Vec<String> {
        let db = Database::connect(&self.url).await.expect("the database is open");
        let backend = match self.server {
            Server::Postgres => DbBackend::Postgres,
            Server::MariaDb => DbBackend::MySql,
            Server::Sqlite => DbBackend::Sqlite,
        };
        let select = Statement::from_string(backend, format!("SELECT version FROM {table} ORDER BY version"));
        let rows = db.query_all_raw(select).await.expect("the table exists");
        rows.iter().map(|row| row.try_get("", "version").expect("a name is text")).collect()
    }

    /// Removes the records of migrations, so that the migrations of existing tables are pending again.
    pub(crate) async fn forget_migrations(&self, tables: &[&str]) {
        let db = Database::connect(&self.url).await.expect("the database is open");
        for table in tables {
            db.execute_unprepared(&format!("DELETE FROM {table}")).await.expect("the table exists");
        }
        db.close().await.expect("the connection is closed");
    }

    /// Removes the database. If a test fails, its database remains.
    pub(crate) async fn drop(self) {
        let name = &self.name;
        match self.server {
            Server::Postgres => self.server.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await,
            Server::MariaDb => self.server.execute(&format!("DROP DATABASE {name}")).await,
            Server::Sqlite => std::fs::remove_file(file(name)).expect("the file exists"),
        }
    }
}
