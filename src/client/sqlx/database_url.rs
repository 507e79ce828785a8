//! Reads the database from a URL in the same way as sqlx.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{SqlxDatabase, database::System};

const ALLOWED: &str = "allowed are `postgres://`, `postgresql://`, `mysql://` and `mariadb://user:password@host:port/database`, \
                       and `sqlite://path`";

/// An error of [`SqlxDatabase::from_url`].
///
/// The message contains neither the user nor the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SqlxUrlError {
    /// The text has no scheme that sqlx knows.
    #[error("the scheme of the database URL is unknown; {ALLOWED}")]
    Scheme,
    /// The port is not a number from 0 to 65535.
    #[error("the port of the database URL is not a number from 0 to 65535; {ALLOWED}")]
    Port,
}

impl SqlxDatabase {
    /// Reads the system, host, port and database name from the URL that sqlx connects to.
    ///
    /// User and password are ignored. Without a host, the host is `localhost`. The parameters `host`, `hostaddr`,
    /// `port` and `dbname` (PostgreSQL) and `socket` (MySQL) are used in the same way as in sqlx. The name of an SQLite
    /// database is its file name.
    ///
    /// ```
    /// use tower_apm::{Agent, SqlxDatabase};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let url = "postgres://app:secret@db.internal:5432/orders"; // or `std::env::var("DATABASE_URL")?`
    /// let agent = Agent::builder().service_name("marketplace").sqlx(SqlxDatabase::from_url(url)).build()?;
    /// assert_eq!(SqlxDatabase::from_url(url)?, SqlxDatabase::postgresql("orders").host("db.internal").port(5432));
    /// # let _ = agent;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the scheme is not one of `postgres`, `postgresql`, `mysql`, `mariadb` and `sqlite`, or the
    /// port is not a number. [`AgentBuilder::sqlx`](crate::AgentBuilder::sqlx) also accepts the error: it logs a
    /// warning and continues without the database.
    pub fn from_url(url: impl AsRef<str>) -> Result<Self, SqlxUrlError> {
        let url = url.as_ref().trim();
        let (scheme, rest) = url.split_once(':').ok_or(SqlxUrlError::Scheme)?;
        let (system, name) = match &*scheme.to_ascii_lowercase() {
            "postgres" | "postgresql" => (System::PostgreSql, ""),
            "mysql" => (System::MySql, ""),
            "mariadb" => (System::MariaDb, ""),
            "sqlite" => (System::Sqlite, rest),
            _ => return Err(SqlxUrlError::Scheme),
        };
        if system == System::Sqlite {
            return Ok(Self::sqlite(file_name(name)));
        }
        let rest = rest.strip_prefix("//").ok_or(SqlxUrlError::Scheme)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        let (host, port) = split_port(address)?;
        let mut database = Self {
            system,
            name: some(decode(path.trim_start_matches('/'))),
            host: some(decode(host)).or_else(|| Some("localhost".to_owned())),
            port,
        };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            database.set(key, decode(value))?;
        }
        Ok(database)
    }

    fn set(&mut self, key: &str, value: Cow<'_, str>) -> Result<(), SqlxUrlError> {
        match (self.system, key) {
            (System::PostgreSql, "host" | "hostaddr") | (System::MySql | System::MariaDb, "socket") => {
                self.host = some(value);
            }
            (System::PostgreSql, "port") => self.port = Some(value.parse().map_err(|_| SqlxUrlError::Port)?),
            (System::PostgreSql, "dbname") => self.name = some(value),
            _ => {}
        }
        Ok(())
    }
}

/// Returns the file name of an SQLite database, or `:memory:` for a database in memory.
fn file_name(rest: &str) -> String {
    let path = rest.split('?').next().unwrap_or_default();
    decode(path).rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// Splits `host:port`. The host can be an IPv6 address in brackets.
fn split_port(address: &str) -> Result<(&str, Option<u16>), SqlxUrlError> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    match port.filter(|port| !port.is_empty()) {
        Some(port) => Ok((host, Some(port.parse().map_err(|_| SqlxUrlError::Port)?))),
        None => Ok((host, None)),
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn some(text: Cow<'_, str>) -> Option<String> {
    Some(text.into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_gives_the_database() {
        let postgresql = SqlxDatabase::postgresql;
        for (url, want) in [
            ("postgres://app:hunter2@db:5433/orders", postgresql("orders").host("db").port(5433)),
            ("postgresql://db/orders?sslmode=require", postgresql("orders").host("db")),
            ("postgres:///orders", postgresql("orders").host("localhost")),
            ("postgres://app@/orders?host=/run/postgresql", postgresql("orders").host("/run/postgresql")),
            ("postgres://%2Frun%2Fpostgresql/orders", postgresql("orders").host("/run/postgresql")),
            ("postgres://db?dbname=orders&port=6000", postgresql("orders").host("db").port(6000)),
            ("postgres://app:p@ss:w0rd@[::1]:6000/orders", postgresql("orders").host("::1").port(6000)),
            ("postgres://db", postgresql("").host("db")),
            ("POSTGRES://db:/a%20b", postgresql("a b").host("db")),
            ("mysql://app:hunter2@db/orders", SqlxDatabase::mysql("orders").host("db")),
            ("mysql://localhost/orders?socket=/run/m.sock", SqlxDatabase::mysql("orders").host("/run/m.sock")),
            ("mariadb://db:3307/orders", SqlxDatabase::mariadb("orders").host("db").port(3307)),
            ("sqlite://data/orders.db?mode=rwc", SqlxDatabase::sqlite("orders.db")),
            ("sqlite:orders.db", SqlxDatabase::sqlite("orders.db")),
            ("sqlite:/var/lib/orders.db", SqlxDatabase::sqlite("orders.db")),
            ("sqlite::memory:", SqlxDatabase::sqlite(":memory:")),
            ("sqlite://:memory:", SqlxDatabase::sqlite(":memory:")),
            ("sqlite:", SqlxDatabase::sqlite("")),
        ] {
            assert_eq!(SqlxDatabase::from_url(url).unwrap(), want, "{url}");
        }
    }

    #[test]
    fn error_names_what_is_allowed_and_no_secret() {
        for (url, want) in [
            ("", SqlxUrlError::Scheme),
            ("hunter2", SqlxUrlError::Scheme),
            ("app:hunter2@db/orders", SqlxUrlError::Scheme),
            ("mssql://app:hunter2@db/orders", SqlxUrlError::Scheme),
            ("postgres:app:hunter2@db/orders", SqlxUrlError::Scheme),
            ("postgres://app:hunter2@db:5432x/orders", SqlxUrlError::Port),
            ("postgres://app:hunter2@db:65536/orders", SqlxUrlError::Port),
            ("postgres://app:hunter2@db/orders?port=no", SqlxUrlError::Port),
            // a password with a slash must be percent-encoded: what comes before the slash looks like a port
            ("postgres://app:hunter2/x@db/orders", SqlxUrlError::Port),
        ] {
            let error = SqlxDatabase::from_url(url).unwrap_err();
            assert_eq!(error, want, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("mariadb") && !shown.contains("hunter2") && !shown.contains("app"), "{shown}");
        }
    }
}
