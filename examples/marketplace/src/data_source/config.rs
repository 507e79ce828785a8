//! The address of a data source, configured as a URL or as separate fields.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::config::{SecretUrl, VariableError, Variables};

/// The characters that are percent-encoded in a part of a URL. `/` is kept in paths of files.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const UNSAFE_IN_PATH: &AsciiSet = &UNSAFE.remove(b'/');

/// The names of the data sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSourceName {
    /// Listings and messages.
    Market,
    /// The history of the wallets.
    Wallet,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseType {
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    Sqlite,
}

/// The address of a database.
#[derive(Debug, Clone)]
pub struct DataSourceConfig {
    database_type: DatabaseType,
    url: SecretUrl,
    /// The variables that contain the address, for error messages.
    variables: String,
}

/// An error in the variables of a data source.
#[derive(Debug, thiserror::Error)]
pub enum DataSourceConfigError {
    #[error(transparent)]
    Variable(#[from] VariableError),
    #[error("data source {name}: {url} and {field} are both set: set either the URL or the fields")]
    UrlAndFields { name: DataSourceName, url: String, field: String },
    #[error("data source {name}: {variable} does not begin with postgres:, mysql:, mariadb: or sqlite:")]
    Scheme { name: DataSourceName, variable: String },
    #[error(
        "data source {name}: {variable} is not a valid URL: percent-encode special characters of the user and the \
         password, or set the fields instead"
    )]
    Url { name: DataSourceName, variable: String },
    #[error("data source {name}: {variable} is {value:?}: expected {expected}")]
    Field { name: DataSourceName, variable: String, value: String, expected: &'static str },
    #[error("data source {name}: {variable} is not set, but {type_variable}={type_value} requires it")]
    Missing { name: DataSourceName, variable: String, type_variable: String, type_value: String },
    #[error("data source {name}: {field} is set, but {type_variable} is not")]
    TypeMissing { name: DataSourceName, field: String, type_variable: String },
    #[error("data source {name}: {variable} is set, but SQLite supports only {allowed}")]
    NotForSqlite { name: DataSourceName, variable: String, allowed: String },
    #[error(
        "data source {name}: {variable} requires {database}, whose driver is not in this build: build it with `--features \
         {feature}`"
    )]
    NotBuiltIn { name: DataSourceName, variable: String, database: &'static str, feature: &'static str },
}

use DataSourceConfigError as Error;

impl DataSourceName {
    /// Returns the prefix of the variables.
    fn prefix(self) -> &'static str {
        match self {
            Self::Market => "DATABASE",
            Self::Wallet => "WALLET_DATABASE",
        }
    }

    fn variable(self, suffix: &str) -> String {
        format!("{}_{suffix}", self.prefix())
    }
}

impl std::fmt::Display for DataSourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Market => "market",
            Self::Wallet => "wallet",
        })
    }
}

impl DatabaseType {
    /// Parses the scheme of a URL or the value of `…_TYPE`.
    fn parse(name: &str) -> Option<Self> {
        match name {
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::MySql),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// Returns an error if the driver is not built in.
    fn check_driver(self, name: DataSourceName, variable: &str) -> Result<(), Error> {
        let (database, feature, is_built_in) = match self {
            Self::Postgres => ("PostgreSQL", "postgres", cfg!(feature = "postgres")),
            Self::MySql => ("MySQL", "mysql", cfg!(feature = "mysql")),
            Self::Sqlite => return Ok(()),
        };
        if is_built_in {
            return Ok(());
        }
        Err(Error::NotBuiltIn { name, variable: variable.to_owned(), database, feature })
    }
}

impl DataSourceConfig {
    /// Reads `…_URL`, or `…_TYPE`, `…_HOST`, `…_PORT`, `…_USERNAME`, `…_PASSWORD` and `…_NAME`.
    /// Returns `None` if none of them is set.
    pub fn from_variables(name: DataSourceName, variables: Variables<'_>) -> Result<Option<Self>, Error> {
        let url = variables.get(&name.variable("URL"))?;
        let fields = Fields::read(name, variables)?;
        match (url, fields.first_set()) {
            (Some(_), Some(field)) => {
                Err(Error::UrlAndFields { name, url: name.variable("URL"), field: name.variable(field) })
            }
            (Some(url), None) => Self::from_url(name, &url).map(Some),
            (None, Some(field)) => fields.into_config(field).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Creates a configuration from a URL: `postgres://user:password@host/database`, `mysql://…` or `sqlite://file.db`.
    pub fn from_url(name: DataSourceName, url: &str) -> Result<Self, Error> {
        let variable = name.variable("URL");
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let Some(database_type) = DatabaseType::parse(scheme) else { return Err(Error::Scheme { name, variable }) };
        database_type.check_driver(name, &variable)?;
        let url = match url.strip_prefix("mariadb:") {
            Some(rest) => format!("mysql:{rest}"),
            None => url.to_owned(),
        };
        if database_type != DatabaseType::Sqlite && Url::parse(&url).is_err() {
            return Err(Error::Url { name, variable });
        }
        Ok(Self { database_type, url: url.into(), variables: variable })
    }

    pub(crate) fn database_type(&self) -> DatabaseType {
        self.database_type
    }

    pub(crate) fn url(&self) -> &SecretUrl {
        &self.url
    }

    /// Returns the names of the variables that contain the address.
    pub(crate) fn variables(&self) -> &str {
        &self.variables
    }
}

impl Default for DataSourceConfig {
    fn default() -> Self {
        let variables = DataSourceName::Market.variable("URL");
        Self { database_type: DatabaseType::Sqlite, url: "sqlite::memory:".into(), variables }
    }
}

/// The values of the variables that replace a URL.
struct Fields {
    source: DataSourceName,
    database_type: Option<String>,
    host: Option<String>,
    port: Option<String>,
    username: Option<String>,
    password: Option<String>,
    name: Option<String>,
}

impl Fields {
    fn read(source: DataSourceName, variables: Variables<'_>) -> Result<Self, VariableError> {
        let get = |suffix| variables.get(&source.variable(suffix));
        Ok(Self {
            source,
            database_type: get("TYPE")?,
            host: get("HOST")?,
            port: get("PORT")?,
            username: get("USERNAME")?,
            password: get("PASSWORD")?,
            name: get("NAME")?,
        })
    }

    /// Returns the name of the first field that is set.
    fn first_set(&self) -> Option<&'static str> {
        let names = ["TYPE", "HOST", "PORT", "USERNAME", "PASSWORD", "NAME"];
        let values = [&self.database_type, &self.host, &self.port, &self.username, &self.password, &self.name];
        names.into_iter().zip(values).find_map(|(name, value)| value.is_some().then_some(name))
    }

    fn into_config(self, first_set: &str) -> Result<DataSourceConfig, Error> {
        let (name, type_variable) = (self.source, self.source.variable("TYPE"));
        let Some(value) = &self.database_type else {
            return Err(Error::TypeMissing { name, field: name.variable(first_set), type_variable });
        };
        let Some(database_type) = DatabaseType::parse(value) else {
            let expected = "postgres, mysql, mariadb or sqlite";
            return Err(Error::Field { name, variable: type_variable, value: value.clone(), expected });
        };
        database_type.check_driver(name, &type_variable)?;
        match database_type {
            DatabaseType::Sqlite => self.into_sqlite(),
            DatabaseType::Postgres => self.into_server(database_type, "postgres"),
            DatabaseType::MySql => self.into_server(database_type, "mysql"),
        }
    }

    fn into_sqlite(self) -> Result<DataSourceConfig, Error> {
        let (name, variable) = (self.source, self.source.variable("NAME"));
        for (suffix, value) in
            [("HOST", &self.host), ("PORT", &self.port), ("USERNAME", &self.username), ("PASSWORD", &self.password)]
        {
            if value.is_some() {
                return Err(Error::NotForSqlite { name, variable: name.variable(suffix), allowed: variable });
            }
        }
        let url = match self.required("NAME", &self.name)? {
            ":memory:" => "sqlite::memory:".to_owned(),
            file => format!("sqlite:{}?mode=rwc", utf8_percent_encode(file, UNSAFE_IN_PATH)),
        };
        Ok(DataSourceConfig { database_type: DatabaseType::Sqlite, url: url.into(), variables: variable })
    }

    fn into_server(self, database_type: DatabaseType, scheme: &str) -> Result<DataSourceConfig, Error> {
        let source = self.source;
        let encode = |value| utf8_percent_encode(value, UNSAFE).to_string();
        let host = self.required("HOST", &self.host)?;
        // In a URL, an IPv6 address is in brackets.
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        let port = match &self.port {
            None => String::new(),
            Some(port) => match port.parse::<u16>() {
                Ok(1..) => format!(":{port}"),
                _ => return Err(self.invalid("PORT", port, "a number from 1 to 65535")),
            },
        };
        let user = encode(self.required("USERNAME", &self.username)?);
        let password = self.password.as_deref().map(|password| format!(":{}", encode(password))).unwrap_or_default();
        let database = encode(self.required("NAME", &self.name)?);

        let url = format!("{scheme}://{user}{password}@{host}{port}/{database}");
        let is_host = Url::parse(&url).is_ok_and(|url| url.host_str() == Some(&*host) && url.path()[1..] == database);
        if !is_host {
            return Err(self.invalid("HOST", &host, "the name or the address of a host"));
        }
        let variables =
            ["HOST", "PORT", "USERNAME", "PASSWORD", "NAME"].map(|suffix| source.variable(suffix)).join(", ");
        Ok(DataSourceConfig { database_type, url: url.into(), variables })
    }

    fn required<'a>(&self, suffix: &str, value: &'a Option<String>) -> Result<&'a str, Error> {
        value.as_deref().ok_or_else(|| Error::Missing {
            name: self.source,
            variable: self.source.variable(suffix),
            type_variable: self.source.variable("TYPE"),
            type_value: self.database_type.clone().unwrap_or_default(),
        })
    }

    fn invalid(&self, suffix: &str, value: &str, expected: &'static str) -> Error {
        let variable = self.source.variable(suffix);
        Error::Field { name: self.source, variable, value: value.to_owned(), expected }
    }
}

#[cfg(test)]
mod tests;
