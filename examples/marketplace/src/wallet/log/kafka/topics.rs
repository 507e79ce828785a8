//! The topics of the wallet.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tokio::time::{Instant, sleep};

use super::{client_config, drop_blocking::DropBlocking};
use crate::{config::KafkaConfig, wallet::error::Source};

/// The number of partitions. It must never change, because all changes of a user must be in one partition.
pub const PARTITIONS: i32 = 3;

/// How long records are kept, in milliseconds (28 days). The consumer can be down for at most this time.
const RETENTION_MS: &str = "2419200000";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// The reason why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("KAFKA_BROKERS cannot be used")]
    Client(#[source] KafkaError),
    #[error("the topics of Kafka cannot be created or read")]
    Unavailable(#[source] Source),
    #[error("the topic {topic} has {partitions} partitions, but {PARTITIONS} are required")]
    Partitions { topic: String, partitions: usize },
}

/// Creates the topics unless they exist, and waits until they can be used.
pub(in crate::wallet) async fn create(config: &KafkaConfig) -> Result<(), TopicError> {
    let client: AdminClient<DefaultClientContext> = client_config(config).create().map_err(TopicError::Client)?;
    let client = DropBlocking::new(Arc::new(client));
    let admin = client.get().map_err(TopicError::Unavailable)?;
    let dead = config.dead_letters();
    let topics = [
        NewTopic::new(&config.topic, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", RETENTION_MS),
        NewTopic::new(&dead, 1, TopicReplication::Fixed(1)).set("retention.ms", RETENTION_MS),
    ];
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let created = admin.create_topics(&topics, &options).await;
    for result in created.map_err(|error| TopicError::Unavailable(error.into()))? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(TopicError::Unavailable(code.into())),
        }
    }
    let deadline = Instant::now() + START_TIMEOUT;
    let topic = config.topic.clone();
    loop {
        let (client, name) = (admin.clone(), topic.clone());
        let partitions = super::blocking(move || {
            let metadata = client.inner().fetch_metadata(Some(&name), REQUEST_TIMEOUT)?;
            Ok(metadata.topics().iter().find(|topic| topic.name() == name).map_or(0, |topic| topic.partitions().len()))
        })
        .await
        .map_err(TopicError::Unavailable)?;
        if partitions >= PARTITIONS.unsigned_abs() as usize {
            return Ok(());
        }
        // the metadata of a new topic is not available immediately
        if partitions > 0 || Instant::now() > deadline {
            return Err(TopicError::Partitions { topic, partitions });
        }
        sleep(Duration::from_millis(100)).await;
    }
}
