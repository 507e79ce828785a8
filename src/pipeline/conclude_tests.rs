use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, RngSeed, TestRunner},
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
            Self::TakeUnknown(accepted) => Delivery::Unclear { accepted, rejected: 1, reasons, retry_after: None },
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
        assert!(self.is_packed, "what waits is packed");
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

    fn flush(&self, timeout: Duration) -> Result<(), crate::pipeline::Unsent> {
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
        assert!(began.elapsed() < SOON, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn backlog_keeps_events_of_an_outage_and_is_sent_in_order() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(200);
    until(|| rig.stats().backlog_events == 190);
    let stats = rig.stats();
    assert_eq!((stats.recorded, stats.waiting, stats.dropped.total()), (200, 200, 0), "{stats}");
    assert_eq!(stats.backlog_bytes, 190 * PACKED as u64);
    rig.change(|server| server.is_up = true);
    rig.flush(SOON).unwrap();
    assert_eq!(rig.settled(), (100..300).collect::<Vec<_>>());
    let stats = rig.stats();
    assert_eq!((stats.accepted, stats.waiting, stats.backlog_events, stats.backlog_bytes), (200, 0, 0, 0), "{stats}");
}

#[test]
fn full_backlog_leaves_events_in_the_queue_and_the_newest_are_dropped() {
    let mut rig = Rig::new(10, 20, 30);
    rig.change(|server| server.is_up = false);
    // a current batch, three in the backlog, one open
    rig.record_slowly(50);
    rig.record(33);
    let stats = rig.stats();
    assert_eq!((stats.backlog_events, stats.waiting, stats.dropped.queue_full), (30, 70, 13), "{stats}");
    rig.change(|server| server.is_up = true);
    rig.flush(SOON).unwrap();
    assert_eq!(rig.settled(), (100..170).collect::<Vec<_>>());
    assert_eq!(rig.stats().accepted, 70);
}

#[test]
fn without_a_backlog_events_stay_in_the_queue() {
    let mut rig = Rig::new(10, 20, 0);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(20);
    rig.record(25);
    assert_eq!((rig.stats().backlog_events, rig.stats().dropped.queue_full), (0, 5));
}

#[test]
fn shutdown_counts_undelivered_backlog_events() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(55);
    let unsent = rig.worker.shutdown_blocking(Duration::from_millis(50)).unwrap_err();
    assert_eq!(unsent.waiting, 55);
    let stats = rig.stats();
    assert_eq!((stats.dropped.shutdown, stats.waiting, stats.backlog_events, stats.backlog_bytes), (55, 0, 0, 0));
}

#[test]
fn shutdown_delivers_the_backlog_first() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(55);
    rig.change(|server| server.is_up = true);
    block_on(rig.worker.shutdown(SOON)).unwrap();
    assert_eq!(rig.settled(), (100..155).collect::<Vec<_>>());
}

#[test]
fn backlog_is_sent_before_the_backoff_ends_if_a_probe_succeeds() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(35);
    rig.fail_often();
    rig.change(|server| server.is_up = true);
    // the back-off takes 25 s at least
    until(|| rig.stats().accepted >= 30);
    assert_eq!(rig.settled()[..30], (100..130).collect::<Vec<_>>());
}

#[test]
fn probes_do_not_shorten_the_backoff_if_the_server_refuses_batches() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.script([Answer::Refuse; 100]);
    rig.record_slowly(10);
    // at 0, 0 and 1 s; then at 5 s
    until(|| rig.attempts().len() == 3);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(rig.attempts().len(), 3);
}

#[test]
fn flush_does_not_end_a_retry_after_wait() {
    let wait = Duration::from_millis(400);
    let mut rig = Rig::new(10, 20, 1000);
    rig.script([Answer::AskToWait(wait)]);
    rig.record(10);
    until(|| rig.attempts().len() == 1);
    rig.flush(Duration::from_millis(1)).unwrap_err();
    rig.flush(SOON).unwrap();
    let attempts = rig.attempts();
    assert_eq!(attempts.len(), 2);
    assert!(attempts[1].0 - attempts[0].0 >= wait);
}

#[test]
fn shutdown_makes_one_attempt_if_retry_after_exceeds_its_timeout() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.script([Answer::AskToWait(FOREVER)]);
    rig.record(10);
    until(|| rig.attempts().len() == 1);
    block_on(rig.worker.shutdown(Duration::from_secs(5))).unwrap();
    assert_eq!((rig.attempts().len(), rig.stats().accepted), (2, 10));
}

#[test]
fn too_large_batch_is_halved_and_too_large_event_is_dropped() {
    let mut rig = Rig::new(100, 1000, 1000);
    rig.change(|server| (server.largest, server.huge) = (7, BTreeSet::from([100, 133, 134, 199])));
    rig.record(100);
    rig.flush(SOON).unwrap();
    let stats = rig.stats();
    assert_eq!((stats.accepted, stats.dropped.too_large, stats.waiting), (96, 4, 0), "{stats}");
    let want: Vec<_> = (100..200).filter(|id| ![100, 133, 134, 199].contains(id)).collect();
    assert_eq!(rig.settled(), want);
}

#[test]
fn backoff_applies_if_every_event_is_too_large() {
    let mut rig = Rig::new(1000, 10_000, 1000);
    rig.change(|server| server.largest = 0);
    rig.record(1000);
    // 32 events are dropped without a wait, 32 after the first one of 0 s, and then 1 s has to pass
    until(|| rig.stats().dropped.too_large == 64);
    assert!(rig.attempts().len() < 200);
    rig.change(|server| server.largest = 1);
    rig.flush(SOON).unwrap();
    assert_eq!((rig.stats().accepted, rig.stats().dropped.too_large), (936, 64));
}

#[test]
fn connection_failures_do_not_count_as_server_errors_of_a_batch() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record(10);
    rig.fail_often();
    rig.script([Answer::Fail; 4]);
    rig.change(|server| server.is_up = true);
    for _ in 0..4 {
        let _ = rig.flush(Duration::from_millis(50));
    }
    rig.flush(SOON).unwrap();
    assert_eq!((rig.stats().accepted, rig.stats().dropped.unclear), (10, 0));
}

#[test]
fn flush_waits_for_pending_events_if_later_events_are_skipped() {
    let mut rig = Rig::new(10, 100, 1000);
    rig.change(|server| server.is_up = false);
    rig.record(15);
    until(|| rig.attempts().len() >= 2 && rig.queue.len() == 0);
    let attempts = rig.attempts().len();
    let flush = rig.worker.flush(Duration::from_millis(500));
    // the worker has heard of it
    until(|| rig.attempts().len() > attempts);
    (0..60).for_each(|_| rig.push(UNENCODABLE));
    until(|| rig.stats().dropped.unencodable == 60);
    assert_eq!(block_on(flush).unwrap_err().waiting, 15);
    rig.worker.shutdown_blocking(Duration::from_millis(20)).unwrap_err();
    let stats = rig.stats();
    assert_eq!((stats.dropped.shutdown, stats.dropped.unencodable, stats.waiting), (15, 60, 0), "{stats}");
}

/// One thing that happens to a worker.
#[derive(Debug, Clone)]
enum Step {
    Record(u64),
    RecordUnencodable,
    Answer(Answer),
    Up(bool),
    Largest(usize),
    Huge(u64),
    Flush,
    /// Events are recorded while somebody waits for those before.
    FlushAndRecord(u64),
}

fn answer() -> impl Strategy<Value = Answer> {
    let few = 0_u64..30;
    prop_oneof![
        Just(Answer::Take),
        few.clone().prop_map(Answer::Reject),
        few.clone().prop_map(Answer::TakeFirst),
        few.clone().prop_map(Answer::TakeUnknown),
        few.clone().prop_map(Answer::Front),
        few.prop_map(Answer::GiveUp),
        Just(Answer::TooLarge),
        Just(Answer::Refuse),
        (0_u64..20).prop_map(|wait| Answer::AskToWait(Duration::from_millis(wait))),
        Just(Answer::Fail),
        Just(Answer::Cut),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u64..40).prop_map(Step::Record),
        1 => Just(Step::RecordUnencodable),
        6 => answer().prop_map(Step::Answer),
        2 => any::<bool>().prop_map(Step::Up),
        1 => (1_usize..20).prop_map(Step::Largest),
        1 => (100_u64..300).prop_map(Step::Huge),
        2 => Just(Step::Flush),
        2 => (1_u64..20).prop_map(Step::FlushAndRecord),
    ]
}

/// How a worker ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Shutdown,
    ShutdownInAnOutage,
    Drop,
}

fn live(steps: Vec<Step>, sizes: (usize, usize, usize), end: End) {
    let mut rig = Rig::new(sizes.0, sizes.1, sizes.2);
    // attempts up to the end of a flush, and the first event that was recorded after its beginning
    let mut delivered = Vec::new();
    for step in steps {
        match step {
            Step::Record(events) => rig.record(events),
            Step::RecordUnencodable => rig.push(UNENCODABLE),
            Step::Answer(answer) => rig.script([answer]),
            Step::Up(is_up) => rig.change(|server| server.is_up = is_up),
            Step::Largest(largest) => rig.change(|server| server.largest = largest),
            Step::Huge(id) => rig.change(|server| server.huge.extend([id])),
            Step::Flush => {
                if rig.flush(Duration::from_millis(5)).is_ok() {
                    assert_eq!(rig.stats().waiting, 0);
                }
            }
            Step::FlushAndRecord(events) => {
                let first_later = rig.next;
                let flush = rig.worker.flush(Duration::from_millis(5));
                (0..events).for_each(|_| rig.push(UNENCODABLE));
                rig.record(events);
                if block_on(flush).is_ok() {
                    delivered.push((rig.attempts().len(), first_later));
                }
            }
        }
        rig.stats();
    }
    rig.change(|server| {
        server.script.clear();
        server.is_up = true;
    });
    // each flush ends a back-off, and the attempt under way may still fail
    until(|| rig.flush(Duration::from_millis(100)).is_ok());
    let is_up = !matches!(end, End::ShutdownInAnOutage);
    rig.change(|server| server.is_up = is_up);
    rig.record(sizes.1.min(25) as u64);
    let Rig { queue, worker, server, .. } = rig;
    let drops_before = queue.stats().dropped.shutdown;
    match end {
        End::Shutdown => block_on(worker.shutdown(SOON)).unwrap(),
        End::ShutdownInAnOutage => drop(worker.shutdown_blocking(Duration::from_millis(20))),
        End::Drop => {
            drop(worker);
            until(|| queue.stats().waiting == 0);
        }
    }
    let (stats, server) = (queue.stats(), server.lock().unwrap());
    let Stats { recorded, accepted, rejected, dropped, waiting, backlog_events, .. } = stats;
    assert_eq!((waiting, backlog_events, recorded), (0, 0, accepted + rejected + dropped.total()), "{stats}");
    assert!(server.settled.is_sorted_by(|before, after| before < after), "once, and in order: {:?}", server.settled);
    for (attempts, first_later) in delivered {
        let later = server.attempts[attempts..].iter().flat_map(|(_, ids)| ids).min();
        assert!(later.is_none_or(|id| *id >= first_later), "{later:?} was sent after a flush that succeeded");
    }
    let never_sent = dropped.queue_full + dropped.unencodable + dropped.too_large + dropped.shutdown;
    let given_up_by_the_worker = recorded - never_sent - server.settled.len() as u64;
    assert!(given_up_by_the_worker <= dropped.unclear, "{stats}");
    if is_up {
        assert_eq!(dropped.shutdown, drops_before, "{stats}");
    }
}

#[test]
fn stats_account_for_every_event_under_any_server_behaviour() {
    let config = Config { cases: 150, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let sizes = (1_usize..30, 1_usize..100, 0_usize..200);
    let end = prop_oneof![Just(End::Shutdown), Just(End::ShutdownInAnOutage), Just(End::Drop)];
    let tested = TestRunner::new(config).run(&(vec(step(), 0..30), sizes, end), |(steps, sizes, end)| {
        live(steps, sizes, end);
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
