//! Records that arrive twice or cannot be read.

use rdkafka::{Message as _, message::Headers as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    DemoError, records,
    visitor::{RESULT_TIMEOUT, Visit, Visitors},
};
use crate::{
    config::KafkaConfig,
    money::Amount,
    wallet::log::{LogRecord, kafka::PARTITIONS},
};

const USER: &str = "frank";
const NO_ENTRY: &str = "the change is not in the history. Is `marketplace history` running?";

impl Visitors {
    /// Sends the record of a change again after the change is in the history.
    pub(super) async fn redeliver_change(&mut self, kafka: &KafkaConfig) -> Result<(), DemoError> {
        println!("  -- Kafka delivers a record twice");
        let key = Uuid::new_v4().to_string();
        let credited = self.credit(&key, "10", "pays in").await?;
        let entries = self.wait_for_entry(&key).await?;
        self.check(entries.is_some(), "the change is in the history", NO_ENTRY);
        let wanted = key.clone();
        let is_wanted = move |payload: &[u8]| match LogRecord::decode(payload) {
            Ok(LogRecord::Change(event)) => event.user == USER && event.key == wanted,
            _ => false,
        };
        let Some(record) = records::find(kafka, &kafka.topic, PARTITIONS, RESULT_TIMEOUT, is_wanted).await? else {
            let problem = format!(
                "the change is not in {}. Set KAFKA_BROKERS and KAFKA_TOPIC as for the marketplace",
                kafka.topic
            );
            self.check(false, "", &problem);
            return Ok(());
        };
        records::send_again(kafka, &record).await?;
        let (partition, offset) = (record.partition(), record.offset());
        println!(
            "  -> the demo has sent the record at offset {offset} of partition {partition} of {} again",
            kafka.topic
        );

        // changes of a user are written in their order, so this change is in the history after the repeated record
        let later = Uuid::new_v4().to_string();
        let balance = self.credit(&later, "1", "pays in once more").await?;
        let entries = self.wait_for_entry(&later).await?.unwrap_or_default();
        let repeated = entries.as_array().into_iter().flatten().filter(|entry| entry["key"] == *key).count();
        self.check(
            repeated == 1 && millionths(&balance) == millionths(&credited) + 1_000_000,
            &format!("the change counts once. Its request and two \"book wallet change\" have the label idempotency_key {key}"),
            &format!("the change is {repeated} times in the history; the balance was {credited} and is {balance}"),
        );
        Ok(())
    }

    /// Sends a record that is not JSON.
    pub(super) async fn send_unreadable_record(&mut self, kafka: &KafkaConfig) -> Result<(), DemoError> {
        println!("  -- a record that cannot be read");
        let payload = format!("this is not JSON: {}", Uuid::new_v4());
        let offset = records::send(kafka, &payload).await?;
        println!("  -> the demo has sent a record to {}, partition 0, offset {offset}: {payload}", kafka.topic);
        let dead_letters = kafka.dead_letters();
        let is_copy = move |found: &[u8]| found == payload.as_bytes();
        let found = records::find(kafka, &dead_letters, 1, RESULT_TIMEOUT, is_copy).await?;
        let error = found.as_ref().and_then(|record| record.headers()?.iter().find(|header| header.key == "error"));
        let error = error.and_then(|header| header.value).map(String::from_utf8_lossy).unwrap_or_default();
        self.check(
            found.is_some(),
            &format!("the record is in {dead_letters}, and the error is recorded for wallet-history: {error}"),
            &format!("the record is not in {dead_letters}. Is `marketplace history` running?"),
        );
        Ok(())
    }

    /// Returns the balance.
    async fn credit(&mut self, key: &str, amount: &str, story: &str) -> Result<Value, DemoError> {
        let body = json!({ "amount": amount, "reason": "card payment" });
        let visit = Visit::post(USER, format!("/wallet/{USER}/credits"), body).with_key(key).expect(200, story);
        Ok(self.send(visit).await?["balance"].take())
    }

    /// Waits until the history contains a change, and returns the history.
    async fn wait_for_entry(&mut self, key: &str) -> Result<Option<Value>, DemoError> {
        let history = Visit::get(USER, format!("/wallet/{USER}/history")).expect(200, "reads the history");
        let is_entry = |entry: &Value| entry["key"] == *key;
        self.wait_for(history, |_, entries| entries.as_array().is_some_and(|entries| entries.iter().any(is_entry)))
            .await
    }
}

/// Returns 0 if the balance is missing because the request failed.
fn millionths(balance: &Value) -> i64 {
    let amount: Option<Amount> = balance.as_str().and_then(|text| text.parse().ok());
    amount.unwrap_or_default().millionths()
}
