//! Where a data source is: a URL, or the fields of one.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::config::{SecretUrl, VariableError, Variables};

/// All characters that have a meaning in a URL, except `/` for paths of files.
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
    /// The variables that contain the address, for errors.
    variables: String,
}

/// A data source whose variables cannot be used.
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
    #[error("data source {name}: {variable} is not set, which {type_variable}={type_value} needs")]
    Missing { name: DataSourceName, variable: String, type_variable: String, type_value: String },
    #[error("data source {name}: {field} is set, but {type_variable} is not")]
    TypeMissing { name: DataSourceName, field: String, type_variable: String },
    #[error("data source {name}: {variable} is set, but SQLite has only {allowed}")]
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
    /// Reads `…_URL`, or `…_TYPE`, `…_HOST`, `…_PORT`, `…_USERNAME`, `…_PASSWORD` and `…_NAME`; `None` if none is set.
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

    /// Takes the address from a URL such as `postgres://user:password@host/database`, `mysql://…` or `sqlite://file.db`.
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
        // An IPv6 address is in brackets in a URL.
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
mod tests {
    use super::*;

    fn read(source: DataSourceName, set: &[(&str, &str)]) -> Result<Option<DataSourceConfig>, Error> {
        let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        DataSourceConfig::from_variables(source, Variables::new(&get))
    }

    fn market(set: &[(&str, &str)]) -> Result<Option<DataSourceConfig>, Error> {
        read(DataSourceName::Market, set)
    }

    fn assert_refused(set: &[(&str, &str)], expected: &str) {
        let error = market(set).unwrap_err();
        assert_eq!(error.to_string(), format!("data source market: {expected}"));
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn no_variable_is_no_data_source() {
        assert!(market(&[("WALLET_DATABASE_URL", "sqlite::memory:")]).unwrap().is_none());
        assert!(read(DataSourceName::Wallet, &[("DATABASE_URL", "sqlite::memory:")]).unwrap().is_none());
    }

    #[test]
    fn url_with_fields_is_refused() {
        let url = ("DATABASE_URL", "sqlite:hunter2.db");
        for (field, value) in [("DATABASE_TYPE", "sqlite"), ("DATABASE_PASSWORD", "hunter2"), ("DATABASE_NAME", "x")] {
            let expected = format!("DATABASE_URL and {field} are both set: set either the URL or the fields");
            assert_refused(&[url, (field, value)], &expected);
        }
        let error = read(DataSourceName::Wallet, &[("WALLET_DATABASE_URL", "x"), ("WALLET_DATABASE_HOST", "x")]);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("data source wallet: WALLET_DATABASE_URL and WALLET_DATABASE_HOST are"), "{error}");
    }

    #[test]
    fn invalid_urls_are_refused_without_their_value() {
        let expected = "DATABASE_URL does not begin with postgres:, mysql:, mariadb: or sqlite:";
        for url in ["oracle://shop:hunter2@db/shop", "hunter2", "hunter2:x", "://hunter2"] {
            assert_refused(&[("DATABASE_URL", url)], expected);
        }
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn url_with_an_unencoded_password_is_refused() {
        let expected = "DATABASE_URL is not a valid URL: percent-encode special characters of the user and the password, \
                        or set the fields instead";
        for url in ["postgres://shop:hunter2#x@db/shop", "postgres://shop:hunter2/x@db/shop"] {
            assert_refused(&[("DATABASE_URL", url)], expected);
        }
    }

    #[test]
    fn fields_of_sqlite() {
        let name = |name| market(&[("DATABASE_TYPE", "sqlite"), ("DATABASE_NAME", name)]).unwrap().unwrap().url;
        assert_eq!(name(":memory:").expose(), "sqlite::memory:");
        assert_eq!(name("/data/100% of it?.db").expose(), "sqlite:/data/100%25%20of%20it%3F.db?mode=rwc");
        assert_eq!(name("../x.db").expose(), "sqlite:../x.db?mode=rwc");
        let sqlite = ("DATABASE_TYPE", "sqlite");
        assert_refused(&[sqlite], "DATABASE_NAME is not set, which DATABASE_TYPE=sqlite needs");
        let expected = "DATABASE_PASSWORD is set, but SQLite has only DATABASE_NAME";
        assert_refused(&[sqlite, ("DATABASE_NAME", "x.db"), ("DATABASE_PASSWORD", "hunter2")], expected);
    }

    #[test]
    fn type_is_checked() {
        let expected = "DATABASE_TYPE is \"oracle\": expected postgres, mysql, mariadb or sqlite";
        assert_refused(&[("DATABASE_TYPE", "oracle")], expected);
        assert_refused(&[("DATABASE_PASSWORD", "hunter2")], "DATABASE_PASSWORD is set, but DATABASE_TYPE is not");
    }

    #[test]
    #[cfg(not(all(feature = "postgres", feature = "mysql")))]
    fn missing_driver_names_the_feature() {
        let missing = [
            #[cfg(not(feature = "postgres"))]
            ("postgres", "postgres"),
            #[cfg(not(feature = "mysql"))]
            ("mysql", "mysql"),
            #[cfg(not(feature = "mysql"))]
            ("mariadb", "mysql"),
        ];
        for (database, feature) in missing {
            let url = format!("{database}://shop:hunter2@db/shop");
            for (variable, value) in [("DATABASE_URL", url.as_str()), ("DATABASE_TYPE", database)] {
                let error = market(&[(variable, value)]).unwrap_err().to_string();
                assert!(error.contains(variable) && error.contains("not in this build"), "{error}");
                assert!(error.contains(&format!("--features {feature}")) && !error.contains("hunter2"), "{error}");
            }
        }
    }

    #[cfg(all(feature = "postgres", feature = "mysql"))]
    mod servers {
        use super::*;

        const FIELDS: [(&str, &str); 6] = [
            ("DATABASE_TYPE", "postgres"),
            ("DATABASE_HOST", "db"),
            ("DATABASE_PORT", "5433"),
            ("DATABASE_USERNAME", "shop@home"),
            ("DATABASE_PASSWORD", "hunter2:/?#[]@%ü"),
            ("DATABASE_NAME", "shop 1"),
        ];

        fn with(changed: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
            changed.iter().copied().chain(FIELDS).collect()
        }

        #[test]
        fn user_and_password_are_percent_encoded() {
            let config = market(&FIELDS).unwrap().unwrap();
            assert_eq!(config.database_type, DatabaseType::Postgres);
            assert_eq!(
                config.url.expose(),
                "postgres://shop%40home:hunter2%3A%2F%3F%23%5B%5D%40%25%C3%BC@db:5433/shop%201"
            );
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        }

        #[test]
        fn port_and_password_are_optional() {
            let fields = with(&[("DATABASE_PORT", ""), ("DATABASE_PASSWORD", ""), ("DATABASE_TYPE", "mariadb")]);
            let config = market(&fields).unwrap().unwrap();
            assert_eq!(config.database_type, DatabaseType::MySql);
            assert_eq!(config.url.expose(), "mysql://shop%40home@db/shop%201");
            for host in ["::1", "[::1]"] {
                let config = market(&with(&[("DATABASE_HOST", host)])).unwrap().unwrap();
                assert!(config.url.expose().contains("@[::1]:5433/"), "{}", config.url.expose());
            }
        }

        #[test]
        fn missing_fields_are_named() {
            for field in ["DATABASE_HOST", "DATABASE_USERNAME", "DATABASE_NAME"] {
                let expected = format!("{field} is not set, which DATABASE_TYPE=postgres needs");
                assert_refused(&with(&[(field, "")]), &expected);
            }
        }

        #[test]
        fn invalid_fields_are_named() {
            for port in ["x", "0", "65536", "-1", " 1"] {
                let expected = format!("DATABASE_PORT is {port:?}: expected a number from 1 to 65535");
                assert_refused(&with(&[("DATABASE_PORT", port)]), &expected);
            }
            for host in ["db/x", "a@db", "d b", "db?x", "db#"] {
                let expected = format!("DATABASE_HOST is {host:?}: expected the name or the address of a host");
                assert_refused(&with(&[("DATABASE_HOST", host)]), &expected);
            }
        }

        #[test]
        fn mariadb_is_a_scheme_too() {
            let config = market(&[("DATABASE_URL", "mariadb://shop@db/shop")]).unwrap().unwrap();
            assert_eq!(config.url.expose(), "mysql://shop@db/shop");
        }
    }
}
