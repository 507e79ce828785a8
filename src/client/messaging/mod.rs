//! Messages of Kafka, RabbitMQ and other brokers: exit spans for sent messages, and transactions for received messages.
//!
//! Both are part of one trace.
//!
//! [`send`] records a message that a request sends, and writes the trace into the message's headers:
//!
//! ```
//! use std::collections::HashMap;
//! use tower_apm::messaging;
//!
//! # async fn publish(_: HashMap<String, Vec<u8>>) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn sell() -> Result<(), std::io::Error> {
//! let mut headers = HashMap::new();
//! messaging::send("kafka", "sales").inject_message(&mut headers).run(publish(headers)).await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sell()).unwrap();
//! ```
//!
//! [`receive`] processes a message in a transaction that continues the sender's trace:
//!
//! ```
//! use std::{collections::HashMap, time::SystemTime};
//! use tower_apm::messaging;
//!
//! struct Message {
//!     headers: HashMap<String, Vec<u8>>,
//!     sent_at: SystemTime,
//!     payload: Vec<u8>,
//! }
//!
//! async fn consume(message: Message) -> Result<(), std::io::Error> {
//!     let received = messaging::receive("kafka", "sales")
//!         .headers(&message.headers)
//!         .timestamp(message.sent_at)
//!         .body(&message.payload);
//!     received.run(settle(&message.payload)).await
//! }
//! # async fn settle(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
//! # let message = Message { headers: HashMap::new(), sent_at: SystemTime::now(), payload: Vec::new() };
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(consume(message)).unwrap();
//! ```
//!
//! | | name | type |
//! |---|---|---|
//! | sent | `Kafka SEND to sales` | span, `messaging`, subtype `kafka`, action `send`, in the service map as `kafka/sales` |
//! | received | `Kafka RECEIVE from sales` | transaction, `messaging` |
//!
//! For queues and topics that match `ignore_message_queues`, neither is recorded. The trace context is still passed on.
//!
//! With the `rdkafka` feature, the module `rdkafka` needs one line for each of them.

mod receive;
mod send;

use std::borrow::Cow;

pub use self::{
    receive::{Receive, receive},
    send::{SendSpan, send},
};
pub use super::call_result::CallResult;
use crate::config::Config;

/// Returns the name of a broker for names of transactions and spans. `None` means that the system is the name.
fn framework(system: &str) -> Option<&'static str> {
    Some(match system {
        "activemq" => "ActiveMQ",
        "aws_sns" | "aws.sns" | "sns" => "SNS",
        "aws_sqs" | "sqs" => "SQS",
        "azurequeue" => "AzureQueue",
        "azureservicebus" | "servicebus" => "AzureServiceBus",
        "jms" => "JMS",
        "kafka" => "Kafka",
        "mqtt" => "MQTT",
        "nats" => "NATS",
        "pulsar" => "Pulsar",
        "rabbitmq" => "RabbitMQ",
        "redis" => "Redis",
        "rocketmq" => "RocketMQ",
        _ => return None,
    })
}

/// Returns a name such as `Kafka SEND to sales`. `direction` is `SEND` or `RECEIVE`. `preposition` is ` to ` or
/// ` from `.
///
/// Without a destination, the name is only the broker and the direction.
fn name(system: &str, direction: &str, preposition: &str, destination: &str) -> String {
    let preposition = if destination.is_empty() { "" } else { preposition };
    [framework(system).unwrap_or(system), " ", direction, preposition, destination].concat()
}

/// Returns the destination by which messages are grouped.
///
/// RabbitMQ generates names for anonymous queues, and its default exchange has an empty name.
fn destination<'a>(system: &str, destination: &'a str) -> Cow<'a, str> {
    match destination {
        "" if system == "rabbitmq" => "<default>".into(),
        generated if system == "rabbitmq" && generated.starts_with("amq.gen-") => "amq.gen-*".into(),
        named => named.into(),
    }
}

/// Returns true if `ignore_message_queues` matches the name.
fn is_ignored(destination: &str, config: &Config) -> bool {
    config.ignore_message_queues.iter().any(|pattern| pattern.matches(destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_contains_elastics_name_of_the_broker_and_the_destination() {
        for (system, queue, sent) in [
            ("kafka", "sales", "Kafka SEND to sales"),
            ("rabbitmq", "sales", "RabbitMQ SEND to sales"),
            ("aws_sqs", "sales", "SQS SEND to sales"),
            ("zeromq", "sales", "zeromq SEND to sales"),
            ("kafka", "", "Kafka SEND"),
        ] {
            assert_eq!(name(system, "SEND", " to ", queue), sent);
        }
        assert_eq!(name("kafka", "RECEIVE", " from ", "sales"), "Kafka RECEIVE from sales");
    }

    // spec: tracing-instrumentation-messaging.md
    #[test]
    fn generated_and_empty_names_of_rabbitmq_are_replaced() {
        assert_eq!(destination("rabbitmq", ""), "<default>");
        assert_eq!(destination("rabbitmq", "amq.gen-JzTY20BRgKO"), "amq.gen-*");
        assert_eq!(destination("rabbitmq", "amq.topic"), "amq.topic");
        assert_eq!(destination("kafka", "amq.gen-1"), "amq.gen-1");
        assert_eq!(destination("kafka", ""), "");
    }
}
