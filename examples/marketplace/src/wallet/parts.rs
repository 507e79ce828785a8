//! Selects the parts of a wallet according to the configuration.

use std::sync::Arc;

use sea_orm::DatabaseConnection;

#[cfg(feature = "kafka")]
use super::log::kafka::{KafkaLog, TopicError};
use super::{
    WalletParts,
    balances::{Balances, InMemoryBalances, RedisBalances, RedisError},
    history::History,
    log::{ChangeLog, DirectLog},
};
use crate::config::{Config, ConfigError};

/// An error of opening a part.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    #[error("the balances cannot be opened, check REDIS_URL")]
    Redis(#[from] RedisError),
    #[cfg(feature = "kafka")]
    #[error("the change log cannot be opened, check KAFKA_BROKERS")]
    Kafka(#[from] TopicError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl WalletParts {
    /// Connects to Redis and Kafka if they are configured. `database` is the data source `wallet`.
    pub async fn connect(config: &Config, database: DatabaseConnection) -> Result<Self, PartsError> {
        let history = History::new(database);
        let balances: Arc<dyn Balances> = match &config.redis_url {
            Some(url) => Arc::new(RedisBalances::connect(url, &config.redis_prefix).await?),
            None => Arc::<InMemoryBalances>::default(),
        };
        let log: Arc<dyn ChangeLog> = match &config.kafka {
            #[cfg(feature = "kafka")]
            Some(kafka) => Arc::new(KafkaLog::connect(kafka).await?),
            #[cfg(not(feature = "kafka"))]
            Some(_) => return Err(ConfigError::KafkaNotBuiltIn.into()),
            None => Arc::new(DirectLog::new(history.clone())),
        };
        Ok(Self { balances, log, history, relay_after: None, answer_kept: None, health: None })
    }
}
