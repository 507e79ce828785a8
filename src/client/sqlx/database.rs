//! The database of the statements that sqlx logs.

use std::sync::Arc;

use opentelemetry::{KeyValue, StringValue};

use super::SqlxUrlError;

/// The database that a service uses through sqlx, for [`AgentBuilder::sqlx`](crate::AgentBuilder::sqlx).
///
/// The events of sqlx do not name the database. If a service uses several databases, set the one that it uses most: all
/// SQL spans from events have this database. For exact databases, use the wrapper of the feature `sqlx`, or your own
/// spans.
///
/// ```
/// use tower_apm::{Agent, SqlxDatabase};
///
/// # fn main() -> Result<(), tower_apm::BuildError> {
/// let database = SqlxDatabase::postgresql("orders").host("db.internal").port(5432);
/// let agent = Agent::builder().service_name("marketplace").sqlx(database).build()?;
/// # let _ = agent;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlxDatabase {
    pub(super) system: System,
    /// `None` if the URL contains no database.
    pub(super) name: Option<String>,
    /// A name, an address, or the path of a Unix socket.
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    PostgreSql,
    MySql,
    MariaDb,
    Sqlite,
}

impl System {
    /// Returns the name in OpenTelemetry's semantic conventions, which is also Elastic's subtype.
    fn name(self) -> &'static str {
        match self {
            System::PostgreSql => "postgresql",
            System::MySql => "mysql",
            System::MariaDb => "mariadb",
            System::Sqlite => "sqlite",
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            System::PostgreSql => Some(5432),
            System::MySql | System::MariaDb => Some(3306),
            System::Sqlite => None,
        }
    }
}

impl SqlxDatabase {
    /// Describes a PostgreSQL database.
    pub fn postgresql(name: impl Into<String>) -> Self {
        Self::new(System::PostgreSql, name.into())
    }

    /// Describes a MySQL database.
    pub fn mysql(name: impl Into<String>) -> Self {
        Self::new(System::MySql, name.into())
    }

    /// Describes a MariaDB database.
    pub fn mariadb(name: impl Into<String>) -> Self {
        Self::new(System::MariaDb, name.into())
    }

    /// Describes an SQLite database. The name is usually the file name, without the path.
    pub fn sqlite(name: impl Into<String>) -> Self {
        Self::new(System::Sqlite, name.into())
    }

    fn new(system: System, name: String) -> Self {
        Self { system, name: Some(name).filter(|name| !name.is_empty()), host: None, port: None }
    }

    /// Sets the host, as a name or an IP address. Default: none, so the spans have no address.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into()).filter(|host| !host.is_empty());
        self
    }

    /// Sets the port. Default: 5432 for PostgreSQL, 3306 for MySQL and MariaDB. It is used only if there is a host.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Returns the attributes of each statement. All statements share the text.
    pub(crate) fn attributes(&self) -> Vec<KeyValue> {
        let shared = |text: &String| StringValue::from(Arc::<str>::from(&**text));
        let is_socket = |host: &&String| host.starts_with('/');
        let port = self.host.as_ref().filter(|host| !is_socket(host)).and(self.port.or(self.system.default_port()));
        let system = KeyValue::new("db.system.name", self.system.name());
        let name = self.name.as_ref().map(|name| KeyValue::new("db.namespace", shared(name)));
        let host = self.host.as_ref().map(|host| KeyValue::new("server.address", shared(host)));
        let port = port.map(|port| KeyValue::new("server.port", i64::from(port)));
        [Some(system), name, host, port].into_iter().flatten().collect()
    }
}

/// An argument of [`AgentBuilder::sqlx`](crate::AgentBuilder::sqlx).
///
/// This is a [`SqlxDatabase`] or the result of [`SqlxDatabase::from_url`].
pub trait IntoSqlxDatabase {
    /// Returns the database, or the error if the URL is not valid.
    ///
    /// # Errors
    /// The error of [`SqlxDatabase::from_url`].
    fn into_sqlx_database(self) -> Result<SqlxDatabase, SqlxUrlError>;
}

impl IntoSqlxDatabase for SqlxDatabase {
    fn into_sqlx_database(self) -> Result<SqlxDatabase, SqlxUrlError> {
        Ok(self)
    }
}

impl IntoSqlxDatabase for Result<SqlxDatabase, SqlxUrlError> {
    fn into_sqlx_database(self) -> Result<SqlxDatabase, SqlxUrlError> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(database: &SqlxDatabase) -> Vec<String> {
        database.attributes().iter().map(|attribute| format!("{}={}", attribute.key, attribute.value)).collect()
    }

    #[test]
    fn attributes_have_the_default_port_if_there_is_a_host() {
        let database = SqlxDatabase::postgresql("orders");
        assert_eq!(attributes(&database), ["db.system.name=postgresql", "db.namespace=orders"]);
        let database = SqlxDatabase::mariadb("orders").host("db");
        let want = ["db.system.name=mariadb", "db.namespace=orders", "server.address=db", "server.port=3306"];
        assert_eq!(attributes(&database), want);
        let database = SqlxDatabase::mysql("").host("db").port(3307);
        assert_eq!(attributes(&database), ["db.system.name=mysql", "server.address=db", "server.port=3307"]);
        let database = SqlxDatabase::sqlite("orders.db").port(1);
        assert_eq!(attributes(&database), ["db.system.name=sqlite", "db.namespace=orders.db"]);
    }

    #[test]
    fn socket_has_no_port() {
        let database = SqlxDatabase::postgresql("orders").host("/run/postgresql").port(5432);
        let want = ["db.system.name=postgresql", "db.namespace=orders", "server.address=/run/postgresql"];
        assert_eq!(attributes(&database), want);
    }
}
