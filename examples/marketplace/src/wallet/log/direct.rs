//! A log that stores no records: a change is durable when it is in the history.
//!
//! Changes that arrive while a transaction is written are written together in the next transaction.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use sea_orm::DbErr;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};
use tower_apm::messaging::{self, Receive};

use super::{AppendError, ChangeLog, Epoch, EpochWriter, Event, LogError, Position, Unconsumed};
use crate::wallet::{
    booking::{self, Booking, LogMessage},
    history::{DIRECT, History},
};

/// The name of this log. A topic of Kafka cannot have this name.
const NAME: &str = "(direct)";
/// The name of the queue in traces.
const QUEUE: &str = "wallet.changes";
const SYSTEM: &str = "direct";

/// The maximum number of changes in one database transaction.
const BATCH: usize = 500;
/// The maximum number of changes that wait for the writer.
const WAITING: usize = 1000;
/// How long an append can take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Appends changes directly to the history.
#[derive(Debug)]
pub struct DirectLog {
    history: History,
    queue: mpsc::Sender<Append>,
    writer: AbortHandle,
}

#[derive(Debug)]
struct Append {
    message: DirectMessage,
    event: Event,
    done: oneshot::Sender<Result<bool, Arc<DbErr>>>,
}

/// A change on its way to the writer, with the trace of its sender.
#[derive(Debug)]
struct DirectMessage {
    headers: HashMap<String, Vec<u8>>,
}

impl LogMessage for DirectMessage {
    fn place(&self) -> Option<(i32, i64)> {
        None
    }

    fn receive(&self) -> Receive<'_> {
        messaging::receive(SYSTEM, QUEUE).headers(&self.headers)
    }

    fn receive_batch(messages: &[&Self]) -> Receive<'static> {
        messages.iter().fold(messaging::receive(SYSTEM, QUEUE), |batch, message| batch.message(&message.headers))
    }
}

impl DirectLog {
    /// Starts the task that writes to `history`. The task ends when the log is dropped.
    pub fn new(history: History) -> Self {
        let (queue, appends) = mpsc::channel(WAITING);
        let writer = tokio::spawn(write(history.clone(), appends)).abort_handle();
        Self { history, queue, writer }
    }

    async fn enqueue(&self, event: &Event, headers: HashMap<String, Vec<u8>>) -> Result<(), AppendError> {
        let (done, is_done) = oneshot::channel();
        let append = Append { message: DirectMessage { headers }, event: event.clone(), done };
        let written = timeout(TIMEOUT, async {
            self.queue.send(append).await.ok()?;
            is_done.await.ok()
        });
        match written.await {
            Ok(Some(Ok(true))) => Ok(()),
            Ok(Some(Ok(false))) => Err(AppendError::Replaced),
            Ok(Some(Err(error))) => Err(AppendError::Failed(Box::new(error))),
            Ok(None) => Err(AppendError::Failed("the writer of the history has stopped".into())),
            Err(elapsed) => Err(AppendError::Failed(elapsed.into())),
        }
    }
}

impl Drop for DirectLog {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

async fn write(history: History, mut appends: mpsc::Receiver<Append>) {
    let mut batch = Vec::with_capacity(BATCH);
    while appends.recv_many(&mut batch, BATCH).await > 0 {
        let events = batch.iter().map(|append| append.event.clone()).collect();
        let bookings: Vec<_> =
            batch.iter().map(|append| Booking { message: &append.message, event: Some(&append.event) }).collect();
        let result = |counts: &Vec<bool>, at: usize| if counts[at] { "booked" } else { "void" };
        let written = booking::record(&bookings, history.book_directly(NAME, events), result).await;
        let written = written.map_err(Arc::new);
        for (at, append) in batch.drain(..).enumerate() {
            // the request may have ended
            let _ = append.done.send(written.as_ref().map(|counts| counts[at]).map_err(Arc::clone));
        }
    }
}

#[async_trait]
impl ChangeLog for DirectLog {
    fn name(&self) -> &str {
        NAME
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        let mut headers = HashMap::new();
        let span = messaging::send(SYSTEM, QUEUE).inject_message(&mut headers);
        span.run(self.enqueue(event, headers)).await
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        let position = self.history.position(NAME, DIRECT).await.map_err(LogError::failed("reading the epoch"))?;
        Ok(Box::new(DirectEpoch { history: self.history.clone(), current: position.epoch }))
    }
}

struct DirectEpoch {
    history: History,
    current: Option<Epoch>,
}

#[async_trait]
impl EpochWriter for DirectEpoch {
    async fn write_markers(&mut self, epoch: &Epoch) -> Result<(), LogError> {
        let replaced = self.history.replace_epoch(NAME, self.current.as_ref(), epoch).await;
        match replaced.map_err(LogError::failed("writing the epoch"))? {
            true => Ok(()),
            false => Err(LogError::Fenced),
        }
    }

    async fn read_unconsumed(&mut self, _: &[Position]) -> Result<Vec<Unconsumed>, LogError> {
        Ok(Vec::new())
    }
}
