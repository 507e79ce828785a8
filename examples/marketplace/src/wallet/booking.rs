//! Records transactions for the records that are booked into the history.
//!
//! Each record gets a transaction in the trace of its sender. The statements of a batch are in a separate transaction
//! with links to the senders. A batch with a single record has only the transaction of the record.

use std::error::Error;

use tower_apm::{Outcome, Transaction, messaging::Receive};

use super::log::Event;

/// A message that contains a record of the log.
pub(super) trait LogMessage {
    /// The partition and the offset, if the log has them.
    fn place(&self) -> Option<(i32, i64)>;

    fn receive(&self) -> Receive<'_>;

    fn receive_batch(messages: &[&Self]) -> Receive<'static>;
}

/// A message and the change in it.
#[derive(Debug)]
pub(super) struct Booking<'a, M> {
    pub(super) message: &'a M,
    pub(super) event: Option<&'a Event>,
}

impl<M: LogMessage> Booking<'_, M> {
    /// Sets the name and the labels of the transaction of the message.
    pub(super) fn describe(&self, tx: &Transaction, batch_size: usize) {
        tx.set_name("book wallet change").set_label("module", "wallet").set_label("batch_size", number(batch_size));
        if let Some((partition, offset)) = self.message.place() {
            tx.set_label("partition", partition.to_string()).set_label("offset", offset.to_string());
        }
        if let Some(event) = self.event {
            tx.set_label("account", &event.user).set_label("idempotency_key", &event.key);
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Writes a batch and records it. `result` returns the outcome of each message.
pub(super) async fn record<M: LogMessage, T, E: Error + 'static>(
    bookings: &[Booking<'_, M>],
    write: impl Future<Output = Result<T, E>>,
    result: impl Fn(&T, usize) -> &'static str,
) -> Result<T, E> {
    let start = |booking: &Booking<'_, M>| {
        let started = booking.message.receive().start();
        booking.describe(&started, bookings.len());
        started
    };
    match bookings {
        [] => write.await,
        [booking] => {
            let started = start(booking);
            let tx = Transaction::clone(&started);
            let run = async {
                let written = settle(&tx, write.await);
                if let Ok(written) = &written {
                    tx.set_label("result", result(written, 0));
                }
                written
            };
            started.run(run).await
        }
        bookings => {
            let started: Vec<_> = bookings.iter().map(start).collect();
            let messages: Vec<&M> = bookings.iter().map(|booking| booking.message).collect();
            let batch = M::receive_batch(&messages).start();
            batch.set_name("book wallet changes").set_label("module", "wallet");
            batch.set_label("batch_size", number(bookings.len()));
            let tx = Transaction::clone(&batch);
            let written = batch.run(async { settle(&tx, write.await) }).await;
            for (at, message) in started.into_iter().enumerate() {
                match &written {
                    Ok(written) => message.set_label("result", result(written, at)),
                    // the batch is written again
                    Err(_) => message.discard(),
                };
                message.end();
            }
            written
        }
    }
}

fn settle<T, E: Error + 'static>(tx: &Transaction, written: Result<T, E>) -> Result<T, E> {
    if let Err(error) = &written {
        tx.error(error).handled(true).capture();
        tx.set_outcome(Outcome::Failure);
    }
    written
}
