//! A producer that is replaced when it can send nothing more.

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use rdkafka::{
    error::KafkaError,
    message::ToBytes,
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use tower_apm::rdkafka::InstrumentedProducer;

use super::{client_config, drop_blocking::DropBlocking};
use crate::config::KafkaConfig;

/// How long a record can wait for its acknowledgement.
const MESSAGE_TIMEOUT_MS: &str = "3000";
/// How long a record can wait for space in the producer's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// An idempotent producer whose records are acknowledged by all replicas.
pub(in crate::wallet) struct Producer {
    config: KafkaConfig,
    current: Replaceable<InstrumentedProducer>,
}

impl Producer {
    pub(in crate::wallet) fn connect(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Ok(Self { config: config.clone(), current: Replaceable(RwLock::new(producer(config)?)) })
    }

    /// Sends a record, and waits until it is acknowledged.
    pub(in crate::wallet) async fn send<K, P>(&self, record: FutureRecord<'_, K, P>) -> Result<(), KafkaError>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let producer = self.current.get();
        let sent = producer.send(record, QUEUE_TIMEOUT).await.map(|_| ()).map_err(|(error, _)| error);
        if sent.is_err() {
            self.replace_if_failed();
            // this may be the last clone
            drop(DropBlocking::new(producer));
        }
        sent
    }

    /// Replaces a producer that has failed permanently, for instance because the broker has lost its state.
    fn replace_if_failed(&self) {
        let is_failed = |producer: &InstrumentedProducer| producer.client().fatal_error().is_some();
        match self.current.replace_if(is_failed, || producer(&self.config)) {
            Ok(old) => drop(old.map(DropBlocking::new)),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "no new producer of Kafka"),
        }
    }
}

fn producer(config: &KafkaConfig) -> Result<InstrumentedProducer, KafkaError> {
    let producer: FutureProducer = client_config(config)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("linger.ms", "1")
        .create()?;
    Ok(tower_apm::rdkafka::instrument(producer))
}

struct Replaceable<T>(RwLock<T>);

impl<T: Clone> Replaceable<T> {
    fn get(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the current value if it has failed: of tasks that fail at the same time, one creates a value.
    ///
    /// Returns the old value if it was replaced.
    fn replace_if<E>(
        &self,
        is_failed: impl FnOnce(&T) -> bool,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !is_failed(&current) {
            return Ok(None);
        }
        Ok(Some(std::mem::replace(&mut *current, create()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_that_has_failed_is_replaced_once() {
        let current = Replaceable(RwLock::new(1));
        let mut created = 0;
        for expected in [Some(1), None, None] {
            let replaced = current.replace_if(
                |value| *value == 1,
                || {
                    created += 1;
                    Ok::<_, ()>(2)
                },
            );
            assert_eq!(replaced, Ok(expected));
        }
        assert_eq!((created, current.get()), (1, 2));
    }

    #[test]
    fn value_stays_if_no_new_one_can_be_created() {
        let current = Replaceable(RwLock::new(1));
        assert_eq!(current.replace_if(|_| true, || Err("no")), Err("no"));
        assert_eq!(current.get(), 1);
    }
}
