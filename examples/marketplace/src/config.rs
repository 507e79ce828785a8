//! What the environment decides: addresses, the database, the chain.

use std::{net::SocketAddr, time::Duration};

/// The settings of one marketplace.
#[derive(Debug, Clone)]
pub struct Config {
    /// `MARKETPLACE_ADDR`: where the API listens; `127.0.0.1:3000`.
    pub addr: SocketAddr,
    /// `DATABASE_URL`: SQLite in memory unless it is set.
    pub database_url: SecretUrl,
    /// `CHAIN_RPC_URL`: the JSON-RPC endpoint of a chain; an embedded one is started unless it is set.
    pub chain_rpc_url: Option<SecretUrl>,
    /// How long a handler may take until its client gets 408; 10 s. Event streams only have to begin in this time.
    pub request_timeout: Duration,
}

/// A URL that can hold a password or a key: its `Debug` shows the scheme alone.
#[derive(Clone)]
pub struct SecretUrl(String);

/// A variable that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("MARKETPLACE_ADDR is {value:?}, which is no address with a port such as 127.0.0.1:3000")]
    Addr { value: String },
    #[error("CHAIN_RPC_URL is no http or https URL such as http://127.0.0.1:8545")]
    ChainRpcUrl,
}

impl Config {
    /// Reads the variables through `variable`: `|name| std::env::var(name).ok()` in a service, a closure of its own in a test.
    /// A variable that is empty counts as not set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let mut config = Self::default();
        if let Some(value) = set("MARKETPLACE_ADDR") {
            config.addr = value.parse().map_err(|_| ConfigError::Addr { value })?;
        }
        if let Some(value) = set("DATABASE_URL") {
            config.database_url = SecretUrl(value);
        }
        if let Some(value) = set("CHAIN_RPC_URL") {
            let usable = reqwest::Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            config.chain_rpc_url = Some(usable.then_some(SecretUrl(value)).ok_or(ConfigError::ChainRpcUrl)?);
        }
        Ok(config)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 3000)),
            database_url: SecretUrl("sqlite::memory:".to_owned()),
            chain_rpc_url: None,
            request_timeout: Duration::from_secs(10),
        }
    }
}

impl SecretUrl {
    /// The whole URL, password and all: for the driver or the client only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon.
    pub(crate) fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl From<&str> for SecretUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:***", self.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let config = from(&[("DATABASE_URL", "")]).unwrap();
        assert_eq!(config.addr.to_string(), "127.0.0.1:3000");
        assert_eq!(config.database_url.expose(), "sqlite::memory:");
        assert!(config.chain_rpc_url.is_none());
    }

    #[test]
    fn variables_are_read() {
        let config = from(&[("MARKETPLACE_ADDR", "[::1]:0"), ("CHAIN_RPC_URL", "https://chain.example/rpc")]).unwrap();
        assert_eq!(config.addr.to_string(), "[::1]:0");
        assert_eq!(config.chain_rpc_url.unwrap().expose(), "https://chain.example/rpc");
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named() {
        let error = from(&[("MARKETPLACE_ADDR", "localhost")]).unwrap_err().to_string();
        assert!(error.contains("MARKETPLACE_ADDR") && error.contains("\"localhost\""), "{error}");
        let error = from(&[("CHAIN_RPC_URL", "ftp://x")]).unwrap_err().to_string();
        assert!(error.contains("CHAIN_RPC_URL") && error.contains("http"), "{error}");
    }

    #[test]
    fn a_password_is_not_printed() {
        let urls = [
            ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
            ("CHAIN_RPC_URL", "https://chain.example/v3/hunter2"),
        ];
        let printed = format!("{:?}", from(&urls).unwrap());
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("postgres:***") && printed.contains("https:***"), "{printed}");
    }
}
