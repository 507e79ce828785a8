//! Records that cannot be read are copied to a topic of their own.
//!
//! A copy has at most 900,000 bytes of the payload, 10,000 bytes of the key and 1,000 characters of the error, so that it
//! is accepted with its headers: the limit is 1,000,000 bytes. If the payload or the key is cut, the header
//! `truncated-from` has the number of bytes of the payload. The headers `topic`, `partition` and `offset` are the place of
//! the record, where it is complete as long as the topic keeps it.

use rdkafka::{
    Message as _,
    error::KafkaError,
    message::{Header, OwnedHeaders, OwnedMessage},
    producer::FutureRecord,
};

use crate::{
    config::KafkaConfig,
    wallet::log::{DecodeError, kafka::Producer},
};

/// The most bytes of a payload that are copied.
const MAX_PAYLOAD: usize = 900_000;
/// The most bytes of a key that are copied.
const MAX_KEY: usize = 10_000;
/// The most characters of an error, which can quote the record.
const MAX_ERROR: usize = 1000;

/// The producer of dead letters.
pub(super) struct DeadLetters {
    topic: String,
    producer: Producer,
}

impl DeadLetters {
    pub(super) fn connect(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Ok(Self { topic: config.dead_letters(), producer: Producer::connect(config)? })
    }

    /// Copies a record. The headers of the copy contain the error, and the partition and offset of the record.
    pub(super) async fn send(&self, message: &OwnedMessage, error: &DecodeError) -> Result<(), KafkaError> {
        self.producer.send(dead_letter(&self.topic, message, error)).await
    }
}

/// The copy of a record.
fn dead_letter<'a>(topic: &'a str, message: &'a OwnedMessage, error: &DecodeError) -> FutureRecord<'a, [u8], [u8]> {
    let text = std::error::Error::source(error).map_or(error.to_string(), |cause| format!("{error}: {cause}"));
    let (key, payload) = (message.key(), message.payload());
    let (copied_key, copied_payload) = (key.map(|key| first(key, MAX_KEY)), payload.map(|all| first(all, MAX_PAYLOAD)));
    let is_cut = (copied_key, copied_payload) != (key, payload);
    let mut headers = vec![
        ("error", text.chars().take(MAX_ERROR).collect()),
        ("topic", message.topic().to_owned()),
        ("partition", message.partition().to_string()),
        ("offset", message.offset().to_string()),
    ];
    headers.extend(is_cut.then(|| ("truncated-from", payload.map_or(0, <[u8]>::len).to_string())));
    let headers = headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
    let mut record = FutureRecord::to(topic).headers(headers);
    record.key = copied_key;
    record.payload = copied_payload;
    record
}

fn first(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use rdkafka::{Timestamp, message::Headers as _};

    use super::*;
    use crate::wallet::log::LogRecord;

    fn headers(record: &FutureRecord<'_, [u8], [u8]>) -> Vec<(String, String)> {
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        record.headers.as_ref().unwrap().iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    fn message(key: Option<Vec<u8>>, payload: Vec<u8>) -> OwnedMessage {
        OwnedMessage::new(Some(payload), key, "changes".into(), Timestamp::NotAvailable, 2, 41, None)
    }

    #[test]
    fn large_record_is_cut_to_what_a_producer_accepts() {
        // the error quotes the unknown type
        let payload = format!(r#"{{"schema":1,"type":"{}"}}"#, "x".repeat(999_000)).into_bytes();
        let message = message(Some(vec![b'k'; 500_000]), payload);
        let error = LogRecord::decode(message.payload().unwrap()).unwrap_err();
        let record = dead_letter("dead", &message, &error);
        let headers = headers(&record);
        let size: usize = headers.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(record.key.unwrap().len() + record.payload.unwrap().len() + size < 950_000, "{size}");
        assert!(message.payload().unwrap().starts_with(record.payload.unwrap()));
        assert!(headers.contains(&("offset".into(), "41".into())));
        assert!(headers.contains(&("truncated-from".into(), message.payload().unwrap().len().to_string())));
    }

    #[test]
    fn small_record_is_copied_as_it_is() {
        let message = message(None, b"sold".to_vec());
        let error = LogRecord::decode(b"sold").unwrap_err();
        let record = dead_letter("dead", &message, &error);
        assert_eq!((record.key, record.payload), (None, Some(b"sold".as_slice())));
        let names: Vec<_> = headers(&record).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["error", "topic", "partition", "offset"]);
    }
}
