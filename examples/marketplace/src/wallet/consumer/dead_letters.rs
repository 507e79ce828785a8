//! Copies records that cannot be read to a separate topic.

use std::time::Duration;

use rdkafka::{
    Message as _,
    error::KafkaError,
    message::{Header, OwnedHeaders, OwnedMessage},
    producer::FutureRecord,
};
use tower_apm::rdkafka::InstrumentedProducer;

use crate::{
    config::KafkaConfig,
    wallet::log::{DecodeError, kafka},
};

const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// The producer of dead letters.
pub(super) struct DeadLetters {
    topic: String,
    producer: InstrumentedProducer,
}

impl DeadLetters {
    pub(super) fn connect(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Ok(Self { topic: config.dead_letters(), producer: kafka::producer(config)? })
    }

    /// Copies a record. The headers of the copy contain the error, and the partition and offset of the record.
    pub(super) async fn send(&self, message: &OwnedMessage, error: &DecodeError) -> Result<(), KafkaError> {
        let text = std::error::Error::source(error).map_or(error.to_string(), |cause| format!("{error}: {cause}"));
        let (partition, offset) = (message.partition().to_string(), message.offset().to_string());
        let headers = [
            ("error", text.as_str()),
            ("topic", message.topic()),
            ("partition", partition.as_str()),
            ("offset", offset.as_str()),
        ];
        let headers = headers
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
        record.key = message.key();
        record.payload = message.payload();
        self.producer.send(record, QUEUE_TIMEOUT).await.map(|_| ()).map_err(|(error, _)| error)
    }
}
