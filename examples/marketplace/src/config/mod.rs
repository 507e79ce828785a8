//! The configuration, which is read from environment variables.

mod secret_url;
mod variables;

use std::{net::SocketAddr, time::Duration};

pub use self::{
    secret_url::SecretUrl,
    variables::{VariableError, Variables},
};
use crate::data_source::{DataSourceConfig, DataSourceConfigError, DataSourceName};

/// The settings of a marketplace process.
#[derive(Debug, Clone)]
pub struct Config {
    /// `MARKETPLACE_ADDR`: the address on which the process listens. Default: `127.0.0.1:3000`.
    pub addr: SocketAddr,
    /// `DATABASE_URL`, or `DATABASE_TYPE` and the other fields: the data source `market`. Default: SQLite in memory.
    pub market_database: DataSourceConfig,
    /// `WALLET_DATABASE_URL`, or `WALLET_DATABASE_TYPE` and the other fields: the data source `wallet`.
    /// Default: the database of the market.
    pub wallet_database: Option<DataSourceConfig>,
    /// `REDIS_URL`: the Redis server for balances and chat events. Default: both are in the memory of the process.
    pub redis_url: Option<SecretUrl>,
    /// `REDIS_PREFIX`: the prefix of all keys and channels in Redis. Default: `marketplace:`.
    pub redis_prefix: String,
    /// `KAFKA_BROKERS` and `KAFKA_TOPIC`: the log of the wallet's changes.
    /// Default: changes are written directly into the database.
    pub kafka: Option<KafkaConfig>,
    /// `CHAIN_RPC_URL`: the JSON-RPC endpoint of a chain. Default: an embedded chain.
    pub chain_rpc_url: Option<SecretUrl>,
    /// `MARKETPLACE_ORDER_LEASE_SECONDS`: how long an order can remain unfinished before another task repairs it.
    /// Default: 60 s.
    pub order_lease: Duration,
    /// How long a handler can take before the client gets the status 408: 10 s.
    /// For event streams, the limit applies to the time until the stream begins.
    pub request_timeout: Duration,
}

/// The Kafka cluster and topic of the wallet's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `KAFKA_BROKERS`: `host:port`, separated by commas.
    pub brokers: String,
    /// `KAFKA_TOPIC`. Default: `wallet.changes`. The topic of dead letters is `<topic>.dead`.
    pub topic: String,
}

impl KafkaConfig {
    /// Returns the name of the topic of records that cannot be read.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.topic)
    }
}

/// An error in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Variable(#[from] VariableError),
    #[error(transparent)]
    DataSource(#[from] DataSourceConfigError),
    #[error("{name} is {value:?}: expected {expected}")]
    Invalid { name: &'static str, value: String, expected: &'static str },
    /// Like `Invalid`, for values that can contain a password.
    #[error("{name} is not {expected}")]
    InvalidSecret { name: &'static str, expected: &'static str },
    #[error("KAFKA_BROKERS is set, but REDIS_URL is not: with Kafka, the balances must be in Redis")]
    KafkaWithoutRedis,
    #[error("KAFKA_BROKERS is set, but this build has no Kafka client: build it with `--features kafka`")]
    KafkaNotBuiltIn,
}

impl Config {
    /// Reads the variables through `variable`, for instance `|name| std::env::var(name).ok()`.
    ///
    /// The value of each variable can also be in a file, see [`Variables`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables::new(&variable);
        let mut config = Self::default();
        if let Some(value) = variables.get("MARKETPLACE_ADDR")? {
            let expected = "an IP address and a port, such as 127.0.0.1:3000";
            config.addr = parse("MARKETPLACE_ADDR", value, expected)?;
        }
        if let Some(database) = DataSourceConfig::from_variables(DataSourceName::Market, variables)? {
            config.market_database = database;
        }
        config.wallet_database = DataSourceConfig::from_variables(DataSourceName::Wallet, variables)?;
        if let Some(url) = variables.get("REDIS_URL")? {
            config.redis_url = Some(redis_url(url)?);
        }
        if let Some(prefix) = variables.get("REDIS_PREFIX")? {
            config.redis_prefix =
                checked("REDIS_PREFIX", prefix, is_redis_prefix, "1 to 64 letters, digits, '-', '_', '.' or ':'")?;
        }
        config.kafka = kafka(variables, config.redis_url.is_some())?;
        if let Some(url) = variables.get("CHAIN_RPC_URL")? {
            config.chain_rpc_url = Some(chain_rpc_url(url)?);
        }
        if let Some(seconds) = variables.get("MARKETPLACE_ORDER_LEASE_SECONDS")? {
            config.order_lease = order_lease(seconds)?;
        }
        Ok(config)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 3000)),
            market_database: DataSourceConfig::default(),
            wallet_database: None,
            redis_url: None,
            redis_prefix: "marketplace:".to_owned(),
            kafka: None,
            chain_rpc_url: None,
            order_lease: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
        }
    }
}

fn kafka(variables: Variables<'_>, has_redis: bool) -> Result<Option<KafkaConfig>, ConfigError> {
    let topic = match variables.get("KAFKA_TOPIC")? {
        Some(topic) => checked("KAFKA_TOPIC", topic, is_topic, "1 to 200 letters, digits, '-', '_' or '.'")?,
        None => "wallet.changes".to_owned(),
    };
    let Some(brokers) = variables.get("KAFKA_BROKERS")? else { return Ok(None) };
    if !are_brokers(&brokers) {
        return Err(ConfigError::InvalidSecret {
            name: "KAFKA_BROKERS",
            expected: "host:port, several separated by commas",
        });
    }
    if !cfg!(feature = "kafka") {
        return Err(ConfigError::KafkaNotBuiltIn);
    }
    if !has_redis {
        return Err(ConfigError::KafkaWithoutRedis);
    }
    Ok(Some(KafkaConfig { brokers, topic }))
}

fn redis_url(url: String) -> Result<SecretUrl, ConfigError> {
    // The Redis client is built without TLS, so it refuses `rediss:`.
    match redis::Client::open(url.as_str()) {
        Ok(_) => Ok(url.into()),
        Err(_) => Err(ConfigError::InvalidSecret {
            name: "REDIS_URL",
            expected: "a URL without TLS such as redis://127.0.0.1:6379",
        }),
    }
}

fn chain_rpc_url(url: String) -> Result<SecretUrl, ConfigError> {
    match reqwest::Url::parse(&url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(url.into()),
        _ => Err(ConfigError::InvalidSecret {
            name: "CHAIN_RPC_URL",
            expected: "an http or https URL such as http://127.0.0.1:8545",
        }),
    }
}

fn order_lease(seconds: String) -> Result<Duration, ConfigError> {
    let (name, expected) = ("MARKETPLACE_ORDER_LEASE_SECONDS", "a number of seconds from 1 to 86400");
    match seconds.parse() {
        Ok(parsed @ 1..=86_400) => Ok(Duration::from_secs(parsed)),
        _ => Err(ConfigError::Invalid { name, value: seconds, expected }),
    }
}

fn parse<T: std::str::FromStr>(name: &'static str, value: String, expected: &'static str) -> Result<T, ConfigError> {
    value.parse().map_err(|_| ConfigError::Invalid { name, value, expected })
}

fn checked(
    name: &'static str,
    value: String,
    is_valid: fn(&str) -> bool,
    expected: &'static str,
) -> Result<String, ConfigError> {
    if is_valid(&value) { Ok(value) } else { Err(ConfigError::Invalid { name, value, expected }) }
}

fn is_redis_prefix(prefix: &str) -> bool {
    prefix.len() <= 64 && prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
}

/// Kafka allows 249 characters. The limit is lower because the topic of dead letters has a suffix.
fn is_topic(topic: &str) -> bool {
    topic.len() <= 200
        && !matches!(topic, "." | "..")
        && topic.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn are_brokers(brokers: &str) -> bool {
    brokers.split(',').all(|broker| {
        broker.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    })
}

#[cfg(test)]
mod tests;
