//! A worker with a scripted exporter: what the tests of this folder have in common.

mod batches;
mod ending;
mod measuring;
mod preparing;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::SeqCst},
};

use super::*;
use crate::{
    pipeline::{
        Added, Batch, Delivery, Discard, FailureCause, Health, Measuring, MetricSource, Rejection, Requests,
        work::MAX_SERVER_ERRORS,
    },
    record::{Event, MetricsRecord, Resource, TransactionRecord},
};

const FOREVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(10);

/// Answers by a script, then takes everything.
struct Fake {
    open: u64,
    full_at: u64,
    script: Arc<Mutex<VecDeque<Delivery>>>,
    sent: Arc<Mutex<Vec<u64>>>,
    delivered: Arc<AtomicU64>,
    described: Arc<Mutex<Vec<(u64, String)>>>,
}

struct FakeBatch(u64);

impl Batch for FakeBatch {
    fn events(&self) -> u64 {
        self.0
    }

    fn bytes(&self) -> Option<u64> {
        Some(100 * self.0)
    }

    fn memory(&self) -> usize {
        self.0 as usize
    }

    fn without(self, taken: u64) -> Self {
        Self(self.0 - taken)
    }
}

impl Exporter for Fake {
    type Batch = FakeBatch;

    fn describe(&mut self, resource: &Resource) {
        self.described.lock().unwrap().push((self.open, resource.service_name.clone()));
    }

    fn add(&mut self, event: Event) -> Result<Added, String> {
        let Event::Metrics(record) = &event else { unreachable!("{event:?}") };
        match record.timestamp {
            666 => return Err("the devil is in it".into()),
            667 => panic!("his neighbour is in it"),
            668 => return Ok(Added::Unsupported),
            _ => {}
        }
        self.open += 1;
        Ok(Added::Taken)
    }

    fn is_full(&self) -> bool {
        self.open >= self.full_at
    }

    fn close(&mut self) -> Option<FakeBatch> {
        (self.open > 0).then(|| FakeBatch(std::mem::take(&mut self.open)))
    }

    fn send(&self, batch: &FakeBatch) -> impl Future<Output = Delivery> + Send + 'static {
        self.sent.lock().unwrap().push(batch.0);
        let answer = self.script.lock().unwrap().pop_front();
        let (delivered, events) = (self.delivered.clone(), batch.0);
        async move {
            tokio::task::yield_now().await;
            answer.unwrap_or_else(|| {
                delivered.fetch_add(events, SeqCst);
                Delivery::Decided { rejected: 0, reasons: Vec::new() }
            })
        }
    }
}

struct Rig {
    queue: Queue,
    worker: Worker,
    sent: Arc<Mutex<Vec<u64>>>,
    /// For each service name that the exporter received: the number of events in the open batch, and the name.
    described: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Rig {
    fn new(full_at: u64, script: impl IntoIterator<Item = Delivery>) -> Self {
        Self::preparing(full_at, script, None)
    }

    fn preparing(full_at: u64, script: impl IntoIterator<Item = Delivery>, preparing: Option<Preparing>) -> Self {
        Self::with(full_at, script, preparing, None)
    }

    fn with(
        full_at: u64,
        script: impl IntoIterator<Item = Delivery>,
        preparing: Option<Preparing>,
        measuring: Option<Measuring>,
    ) -> Self {
        let queue = Queue::new(10_000, usize::MAX);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let fake = Fake {
            open: 0,
            full_at,
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            sent: sent.clone(),
            delivered: Arc::default(),
            described: Arc::default(),
        };
        let described = fake.described.clone();
        let settings = WorkerSettings { max_age: FOREVER, max_backlog_bytes: usize::MAX, measuring };
        let worker = Worker::start(queue.clone(), fake, settings, preparing, std::future::ready(())).unwrap();
        Self { queue, worker, sent, described }
    }

    fn record(&self, events: usize) {
        (0..events).for_each(|_| self.queue.push(event(0)));
    }

    fn sent(&self) -> Vec<u64> {
        self.sent.lock().unwrap().clone()
    }
}

fn event(timestamp: u64) -> Event {
    Event::Metrics(Box::new(MetricsRecord { timestamp, samples: Vec::new(), labels: Vec::new(), breakdown: None }))
}

fn failed(is_server_error: bool) -> Delivery {
    let cause = if is_server_error { FailureCause::ServerError } else { FailureCause::REFUSED };
    Delivery::Failed { reason: "refused".into(), cause }
}

fn rejected(events: u64) -> Delivery {
    Delivery::Decided { rejected: events, reasons: vec![Rejection { message: "no".into() }] }
}

/// Any executor will do: this one has no timers and no threads.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
