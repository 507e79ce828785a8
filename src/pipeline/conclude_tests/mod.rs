//! A worker with a scripted server: what the tests of this folder have in common.

mod account;
mod outage;

use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;
use crate::{
    pipeline::{Added, Queue, Stats, Worker, WorkerSettings},
    record::{Event, MetricsRecord, Resource},
};

const SOON: Duration = Duration::from_secs(10);
const FOREVER: Duration = Duration::from_secs(3600);
/// Events of this id cannot be encoded.
const UNENCODABLE: u64 = 13;
/// Bytes that an event takes in a batch that waits.
const PACKED: usize = 10;

/// What the server does with the events of a request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Take,
    Reject(u64),
    TakeFirst(u64),
    TakeUnknown(u64),
    Front(u64),
    GiveUp(u64),
    TooLarge,
    Refuse,
    AskToWait(Duration),
    Fail,
    Cut,
}

impl Answer {
    /// What an exporter makes of it. It may claim more than the batch has.
    fn delivery(self) -> Delivery {
        let reasons = Vec::new();
        let failed = |cause| Delivery::Failed { reason: format!("{cause:?}"), cause };
        match self {
            Self::Take => Delivery::Decided { rejected: 0, reasons },
            Self::Reject(rejected) => Delivery::Decided { rejected, reasons },
            Self::TakeFirst(accepted) => Delivery::Partly { accepted, rejected: 1, reasons, retry_after: None },
            Self::TakeUnknown(accepted) => {
                Delivery::OutcomeUnknown { accepted, rejected: 1, reasons, retry_after: None }
            }
            Self::Front(events) => Delivery::Front { events, rejected: 1, reasons },
            Self::GiveUp(given_up) => Delivery::GivenUp { rejected: 1, given_up, reasons, why: String::new() },
            Self::TooLarge => Delivery::TooLarge { reason: "large".to_owned() },
            Self::Refuse => failed(FailureCause::REFUSED),
            Self::AskToWait(wait) => failed(FailureCause::Refused { retry_after: Some(wait) }),
            Self::Fail => failed(FailureCause::ServerError),
            Self::Cut => failed(FailureCause::NoAnswer),
        }
    }

    /// How many events from the first on need not be sent again, of so many.
    fn settled(self, events: u64) -> u64 {
        match self {
            Self::Take | Self::Reject(_) | Self::TakeUnknown(_) | Self::GiveUp(_) => events,
            Self::TakeFirst(accepted) => (accepted + 1).min(events),
            Self::Front(front) => front.min(events),
            Self::TooLarge | Self::Refuse | Self::AskToWait(_) | Self::Fail | Self::Cut => 0,
        }
    }
}

/// Answers by a script first, then takes requests of up to `largest` events without a `huge` one, as long as it is up.
struct Server {
    script: VecDeque<Answer>,
    is_up: bool,
    largest: usize,
    huge: BTreeSet<u64>,
    /// When an attempt came, and with which events.
    attempts: Vec<(Instant, Vec<u64>)>,
    /// The events that need not be sent again, as they came.
    settled: Vec<u64>,
}

impl Server {
    fn answer(&mut self, ids: &[u64]) -> Answer {
        self.attempts.push((Instant::now(), ids.to_vec()));
        let is_too_large = ids.len() > self.largest || ids.iter().any(|id| self.huge.contains(id));
        let answer = match self.script.pop_front() {
            Some(answer) => answer,
            None if !self.is_up => Answer::Cut,
            None if is_too_large => Answer::TooLarge,
            None => Answer::Take,
        };
        self.settled.extend(&ids[..answer.settled(ids.len() as u64) as usize]);
        answer
    }
}

struct Fake {
    open: Vec<u64>,
    full_at: usize,
    server: Arc<Mutex<Server>>,
}

struct FakeBatch {
    ids: Vec<u64>,
    is_packed: bool,
}

impl Batch for FakeBatch {
    fn events(&self) -> u64 {
        self.ids.len() as u64
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn memory(&self) -> usize {
        assert!(self.is_packed, "waiting events are packed");
        self.ids.len() * PACKED
    }

    fn without(mut self, taken: u64) -> Self {
        self.ids.drain(..taken as usize);
        Self { is_packed: false, ..self }
    }

    fn pack(self) -> Self {
        Self { is_packed: true, ..self }
    }

    fn split(mut self) -> (Self, Option<Self>) {
        let half = self.ids.len() / 2;
        let rest = (half > 0).then(|| Self { ids: self.ids.split_off(half), is_packed: false });
        (Self { is_packed: false, ..self }, rest)
    }
}

impl Exporter for Fake {
    type Batch = FakeBatch;

    fn describe(&mut self, _: &Resource) {}

    fn add(&mut self, event: Event) -> Result<Added, String> {
        let Event::Metrics(record) = &event else { unreachable!("{event:?}") };
        if record.timestamp == UNENCODABLE {
            return Err("unlucky".to_owned());
        }
        self.open.push(record.timestamp);
        Ok(Added::Taken)
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.full_at
    }

    fn close(&mut self) -> Option<FakeBatch> {
        let ids = std::mem::take(&mut self.open);
        (!ids.is_empty()).then_some(FakeBatch { ids, is_packed: false })
    }

    fn send(&self, batch: &FakeBatch) -> impl Future<Output = Delivery> + Send + 'static {
        let delivery = self.server.lock().unwrap().answer(&batch.ids).delivery();
        async move {
            tokio::task::yield_now().await;
            delivery
        }
    }

    fn probe(&self) -> impl Future<Output = bool> + Send + 'static {
        std::future::ready(self.server.lock().unwrap().is_up)
    }
}

struct Rig {
    queue: Queue,
    worker: Worker,
    server: Arc<Mutex<Server>>,
    next: u64,
}

impl Rig {
    /// Batches of `full_at` events, a queue for `max_events`, and a backlog for `max_backlog`.
    fn new(full_at: usize, max_events: usize, max_backlog: usize) -> Self {
        let server = Arc::new(Mutex::new(Server {
            script: VecDeque::new(),
            is_up: true,
            largest: usize::MAX,
            huge: BTreeSet::new(),
            attempts: Vec::new(),
            settled: Vec::new(),
        }));
        let queue = Queue::new(max_events, usize::MAX);
        let fake = Fake { open: Vec::new(), full_at, server: server.clone() };
        let settings = WorkerSettings { max_age: FOREVER, max_backlog_bytes: max_backlog * PACKED, measuring: None };
        let worker = Worker::start(queue.clone(), fake, settings, None, std::future::ready(())).unwrap();
        Self { queue, worker, server, next: 100 }
    }

    fn change(&self, change: impl FnOnce(&mut Server)) {
        change(&mut self.server.lock().unwrap());
    }

    fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.change(|server| server.script.extend(answers));
    }

    fn push(&self, id: u64) {
        let record = MetricsRecord { timestamp: id, samples: Vec::new(), labels: Vec::new(), breakdown: None };
        self.queue.push(Event::Metrics(Box::new(record)));
    }

    fn record(&mut self, events: u64) {
        for _ in 0..events {
            self.push(self.next);
            self.next += 1;
        }
    }

    /// Records events no faster than the worker takes them. Ten wake it.
    fn record_slowly(&mut self, events: u64) {
        let mut left = events;
        while left > 0 {
            let now = left.min(10);
            self.record(now);
            left -= now;
            until(|| self.queue.len() == 0);
        }
    }

    fn flush(&self, timeout: Duration) -> Result<(), crate::pipeline::FlushTimeout> {
        block_on(self.worker.flush(timeout))
    }

    /// Lets the server be away for so long that the next attempt is 16 s away or more.
    fn fail_often(&self) {
        for _ in 0..8 {
            self.flush(Duration::from_millis(20)).unwrap_err();
        }
    }

    fn settled(&self) -> Vec<u64> {
        self.server.lock().unwrap().settled.clone()
    }

    fn attempts(&self) -> Vec<(Instant, Vec<u64>)> {
        self.server.lock().unwrap().attempts.clone()
    }

    fn stats(&self) -> Stats {
        let stats = self.queue.stats();
        assert_eq!(stats.recorded, stats.accepted + stats.rejected + stats.dropped.total() + stats.waiting);
        stats
    }
}

/// Polls: a fixed time would be too short on a slow machine. The worker looks into the queue once a second.
#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "the condition was not met in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
