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
    /// The events that were in the open batch when the exporter was told a service's name, and that name.
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

#[test]
fn section_2_7_a_flush_delivers_what_was_recorded_before_it() {
    let rig = Rig::new(100, []);
    rig.record(10);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [10]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.waiting), (10, 0));
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [10], "nothing is sent for nothing");
}

#[test]
fn section_2_3_batches_close_by_size() {
    let rig = Rig::new(4, []);
    rig.record(10);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [4, 4, 2]);
}

#[test]
fn what_was_not_taken_is_sent_again() {
    let rig = Rig::new(100, [failed(false)]);
    rig.record(3);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [3, 3]);
    assert_eq!(rig.queue.stats().accepted, 3);
}

#[test]
fn a_partly_taken_batch_goes_on_behind_what_was_taken() {
    let partly = Delivery::Partly { accepted: 4, rejected: 1, reasons: Vec::new(), retry_after: None };
    let rig = Rig::new(100, [partly]);
    rig.record(7);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [7, 2]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.waiting), (6, 1, 0));
}

#[test]
fn the_rest_of_a_batch_goes_next_and_what_is_given_up_is_counted() {
    let front = |events, rejected| Delivery::Front { events, rejected, reasons: Vec::new() };
    let rest = |given_up| Delivery::GivenUp { rejected: 1, given_up, reasons: Vec::new(), why: "no".into() };
    // the second batch's answers claim too much
    let rig = Rig::new(100, [front(6, 2), rest(3), front(7, 99), rest(99)]);
    for _ in 0..2 {
        rig.record(10);
        block_on(rig.worker.flush(SOON)).unwrap();
    }
    assert_eq!(rig.sent(), [10, 4, 10, 3]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.unsupported), (4, 2 + 1 + 7, 3 + 3), "{stats}");
    assert_eq!(stats.waiting, 0);
}

#[test]
fn what_nobody_knows_is_counted_and_not_sent_again() {
    let unclear = Delivery::Unclear { accepted: 2, rejected: 5, reasons: Vec::new(), retry_after: None };
    let rig = Rig::new(100, [unclear]);
    rig.record(10);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [10]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.unclear), (2, 5, 3));
}

#[test]
fn rejected_and_unencodable_events_are_counted() {
    let rig = Rig::new(100, [rejected(2)]);
    rig.record(5);
    rig.queue.push(event(666));
    block_on(rig.worker.flush(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.unencodable, stats.waiting), (3, 2, 1, 0));
}

#[test]
fn a_panic_costs_the_event_and_not_the_worker() {
    let rig = Rig::new(100, []);
    for round in 1..=2 {
        rig.record(1);
        rig.queue.push(event(667));
        rig.record(1);
        block_on(rig.worker.flush(SOON)).unwrap();
        let stats = rig.queue.stats();
        assert_eq!((stats.accepted, stats.dropped.unencodable, stats.waiting), (2 * round, round, 0));
    }
    assert_eq!(rig.sent(), [2, 2]);
}

#[test]
fn an_answer_that_claims_too_much_breaks_no_account() {
    let partly = Delivery::Partly { accepted: 1000, rejected: 7, reasons: Vec::new(), retry_after: None };
    let rig = Rig::new(100, [rejected(1000), partly]);
    rig.record(5);
    block_on(rig.worker.flush(SOON)).unwrap();
    rig.record(5);
    block_on(rig.worker.flush(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!(stats.recorded, stats.accepted + stats.rejected);
}

#[test]
fn a_flush_gives_up_at_its_deadline_and_the_events_stay() {
    let rig = Rig::new(100, (0..100).map(|_| failed(false)));
    rig.record(2);
    let unsent = block_on(rig.worker.flush(Duration::from_millis(50))).unwrap_err();
    assert_eq!(unsent.waiting, 2);
    assert_eq!(rig.queue.stats().waiting, 2);
}

#[test]
fn a_shutdown_counts_what_it_leaves_behind() {
    let rig = Rig::new(100, (0..100).map(|_| failed(false)));
    rig.record(2);
    let unsent = rig.worker.shutdown_blocking(Duration::from_millis(50)).unwrap_err();
    assert_eq!(unsent.waiting, 2);
    rig.record(1);
    let stats = rig.queue.stats();
    assert_eq!((stats.recorded, stats.dropped.shutdown, stats.waiting), (3, 3, 0));
    assert!(rig.worker.shutdown_blocking(SOON).is_ok(), "a second shutdown has nothing to do");
    assert!(block_on(rig.worker.flush(SOON)).is_ok());
}

#[test]
fn the_account_is_closed_before_anybody_hears_of_the_shutdown() {
    let rig = Rig::new(100, (0..100).map(|_| failed(false)));
    rig.record(2);
    let (sender, heard) = sync_channel(2);
    let done = || -> Done {
        let (queue, sender) = (rig.queue.clone(), sender.clone());
        Box::new(move |result| sender.send((result, queue.stats())).unwrap())
    };
    // an older flush with more patience does not outlive the shutdown
    let commands = [
        Command::Flush { deadline: deadline(FOREVER), done: done() },
        Command::Shutdown { deadline: deadline(Duration::from_millis(50)), done: done() },
    ];
    commands.into_iter().for_each(|command| assert!(rig.worker.commands.send(command).is_ok()));
    for _ in 0..2 {
        let (result, stats) = heard.recv_timeout(SOON).unwrap();
        assert_eq!(result, Err(Unsent { waiting: 2 }));
        assert_eq!((stats.dropped.shutdown, stats.waiting), (2, 0));
    }
}

#[test]
fn a_batch_that_kills_the_server_does_not_block_the_others() {
    let attempts = 2 * MAX_SERVER_ERRORS as usize;
    let rig = Rig::new(100, (0..attempts).map(|_| failed(true)));
    rig.record(1);
    // every flush ends the back-off
    let given_up = || rig.queue.stats().dropped.unclear == 1;
    for _ in 0..attempts {
        if given_up() {
            break;
        }
        let _ = block_on(rig.worker.flush(Duration::from_millis(100)));
    }
    assert!(given_up(), "{}", rig.queue.stats());
}

fn service(name: &str) -> Resource {
    Resource { service_name: name.to_owned(), ..Resource::default() }
}

#[tokio::test]
async fn section_2_3_events_wait_for_what_goes_before_them() {
    let (tell, told) = oneshot::channel();
    let rig = Rig::preparing(1, [], Some(Box::pin(async { told.await.unwrap() })));
    rig.record(3);
    let flushed = rig.worker.flush(Duration::from_secs(60));
    assert_eq!(rig.queue.stats().waiting, 3);
    tell.send(service("shop")).unwrap();
    flushed.await.unwrap();
    assert_eq!(*rig.described.lock().unwrap(), [(0, "shop".to_owned())], "told before the first event");
    assert_eq!(rig.sent(), [1, 1, 1]);
}

#[tokio::test]
async fn who_cannot_wait_for_it_has_his_events_sent_without() {
    let (tell, told) = oneshot::channel();
    let rig = Rig::preparing(1, [], Some(Box::pin(async { told.await.unwrap() })));
    rig.record(1);
    rig.worker.flush(Duration::from_millis(100)).await.unwrap();
    assert_eq!((rig.sent(), rig.described.lock().unwrap().len()), (vec![1], 0));
    tell.send(service("shop")).unwrap();
    rig.record(1);
    rig.worker.flush(SOON).await.unwrap();
    while rig.described.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.worker.shutdown(SOON).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_it_to_the_end() {
    let rig = Rig::preparing(9, [], Some(Box::pin(std::future::pending())));
    rig.record(2);
    rig.worker.shutdown(Duration::from_millis(200)).await.unwrap();
    assert_eq!(rig.sent(), [2]);
}

#[test]
fn what_the_exporter_cannot_tell_is_counted_for_itself() {
    let rig = Rig::new(100, []);
    rig.queue.push(event(668));
    rig.record(1);
    block_on(rig.worker.flush(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.dropped.unsupported, stats.waiting), (1, 1, 0));
}

/// So many metric sets at each call; None: it is broken.
struct Gauges(Option<usize>);

impl MetricSource for Gauges {
    fn observe(&mut self, _: &TransactionRecord) {}

    fn collect(&mut self, _: &Health) -> Vec<MetricsRecord> {
        let metrics = |_| MetricsRecord { timestamp: 0, samples: Vec::new(), labels: Vec::new(), breakdown: None };
        (0..self.0.expect("it works")).map(metrics).collect()
    }
}

fn measuring(gauges: Option<usize>, interval: Duration) -> Option<Measuring> {
    Some(Measuring::new(Gauges(gauges), interval))
}

#[test]
fn the_end_tells_what_was_measured_up_to_it() {
    for preparing in [None, Some(Box::pin(std::future::pending()) as Preparing)] {
        let rig = Rig::with(100, [], preparing, measuring(Some(2), FOREVER));
        rig.record(3);
        block_on(rig.worker.shutdown(Duration::from_secs(1))).unwrap();
        let stats = rig.queue.stats();
        assert_eq!((stats.recorded, stats.accepted, stats.waiting), (5, 5, 0), "{stats}");
    }
}

#[test]
fn it_is_measured_each_interval() {
    let rig = Rig::with(1, [], None, measuring(Some(1), Duration::from_millis(1)));
    let began = Instant::now();
    while rig.sent().len() < 3 {
        assert!(began.elapsed() < SOON);
        std::thread::yield_now();
    }
}

/// Keeps what it is told of the worker.
struct Watching(Arc<Mutex<Vec<Health>>>);

impl MetricSource for Watching {
    fn observe(&mut self, _: &TransactionRecord) {}

    fn collect(&mut self, health: &Health) -> Vec<MetricsRecord> {
        self.0.lock().unwrap().push(health.clone());
        Vec::new()
    }
}

#[test]
fn section_10_5_the_worker_tells_how_it_fares() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let rig = Rig::with(100, [failed(false), rejected(1)], None, Some(Measuring::new(Watching(told.clone()), FOREVER)));
    rig.record(3);
    rig.queue.push(event(666));
    block_on(rig.worker.flush(SOON)).unwrap();
    rig.record(2);
    block_on(rig.worker.flush(SOON)).unwrap();
    block_on(rig.worker.shutdown(SOON)).unwrap();
    let told = told.lock().unwrap();
    let [health] = &told[..] else { panic!("{told:?}") };
    assert_eq!((health.offered, health.refused, health.lost), ([0, 0, 0, 6, 0], 0, 2));
    assert_eq!(health.failed, Requests { count: 2, bytes: 600 }, "each attempt counts");
    assert_eq!(health.succeeded, Requests { count: 1, bytes: 200 });
    assert_eq!(health.least_fill, 0.0);
    assert!((1e-4..=4e-4).contains(&health.most_fill), "{health:?}");
}

#[test]
fn a_source_that_panics_harms_nobody() {
    let rig = Rig::with(100, [], None, measuring(None, Duration::from_millis(1)));
    rig.record(1);
    block_on(rig.worker.flush(SOON)).unwrap();
    block_on(rig.worker.shutdown(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!((stats.recorded, stats.accepted), (1, 1));
}

/// Name resolution is such a thread's work: `getaddrinfo` blocks while DNS is silent.
#[test]
fn blocked_resolver_thread_does_not_delay_shutdown() {
    let (started, starts) = std::sync::mpsc::channel();
    let (_release, silent) = std::sync::mpsc::channel::<()>();
    let resolving = async move {
        let resolve = move || {
            started.send(()).unwrap();
            let _ = silent.recv();
        };
        let _ = tokio::task::spawn_blocking(resolve).await;
    };
    let queue = Queue::new(10, usize::MAX);
    let settings = WorkerSettings { max_age: FOREVER, max_backlog_bytes: usize::MAX, measuring: None };
    let worker = Worker::start(queue, Discard::default(), settings, None, resolving).unwrap();
    starts.recv().unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let stopping = std::thread::spawn(move || {
        worker.shutdown_blocking(SOON).unwrap();
        let thread_is_over = worker.thread.lock().unwrap().is_none();
        done.send(thread_is_over).unwrap();
    });
    assert!(is_done.recv_timeout(Duration::from_secs(60)).expect("the shutdown waits for the blocked thread"));
    stopping.join().unwrap();
}

/// The worker waits for a lock that the test holds, whatever it does next.
#[test]
fn flush_and_shutdown_end_in_time_while_the_worker_is_stuck() {
    let rig = Rig::new(1, []);
    let stuck = rig.sent.lock().unwrap();
    rig.record(3);
    let timeout = Duration::from_millis(20);
    assert_eq!(block_on(rig.worker.flush(timeout)), Err(Unsent { waiting: 3 }));
    assert_eq!(block_on(rig.worker.shutdown(timeout)), Err(Unsent { waiting: 3 }));
    assert_eq!(rig.worker.shutdown_blocking(timeout), Err(Unsent { waiting: 3 }));
    rig.worker.flusher().flush_blocking(timeout);
    drop(stuck);
}

#[test]
fn flush_and_shutdown_return_if_the_worker_has_panicked() {
    let rig = Rig::new(1, []);
    let sent = rig.sent.clone();
    // the exporter panics on a poisoned lock
    thread::spawn(move || {
        let _held = sent.lock().unwrap();
        panic!("poisons the lock");
    })
    .join()
    .unwrap_err();
    rig.record(3);
    assert!(block_on(rig.worker.flush(FOREVER)).is_err());
    assert!(block_on(rig.worker.shutdown(FOREVER)).is_err());
    assert!(rig.worker.shutdown_blocking(FOREVER).is_err());
    rig.worker.flusher().flush_blocking(FOREVER);
    while rig.queue.stats().dropped.shutdown == 0 {
        // the thread has seen the panic, and abandons the queue
        thread::yield_now();
    }
    rig.record(3);
    assert_eq!((rig.queue.len(), rig.queue.stats().recorded), (0, 6));
}

#[test]
fn forked_child_returns_at_once_and_logs_the_reason_once() {
    let rig = Rig::new(100, []);
    let logged = crate::logged::Logged::default();
    tracing::subscriber::with_default(logged.subscriber(), || {
        rig.record(3);
        rig.queue.pretend_fork();
        rig.worker.flusher().flush_blocking(FOREVER);
        assert_eq!(logged.text(), "", "a panic hook logs nothing");
        assert_eq!(block_on(rig.worker.flush(FOREVER)), Err(Unsent { waiting: 3 }));
        assert!(block_on(rig.worker.shutdown(FOREVER)).is_err());
        assert!(rig.worker.shutdown_blocking(FOREVER).is_err());
    });
    let text = logged.text();
    assert_eq!(text.matches("this process was forked after the agent had started").count(), 1, "{text}");
    rig.record(3);
    assert_eq!((rig.queue.len(), rig.queue.stats().waiting), (0, 0));
    // this thread is still there: it ends when the handle of its commands is dropped
    let Rig { worker, .. } = rig;
    drop(worker);
}

#[test]
fn flush_on_the_worker_thread_returns_at_once() {
    let rig = Rig::new(100, []);
    rig.record(1);
    thread::scope(|scope| {
        let on_worker = scope.spawn(|| {
            this_thread_is_the_worker();
            rig.worker.flusher().flush_blocking(FOREVER);
            let results = [block_on(rig.worker.flush(FOREVER)), block_on(rig.worker.shutdown(FOREVER))];
            (results, rig.worker.shutdown_blocking(FOREVER))
        });
        let failed = Err(Unsent { waiting: 1 });
        assert_eq!(on_worker.join().unwrap(), ([failed, failed], failed));
    });
}
