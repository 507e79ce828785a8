//! The worker thread's task: it moves events from the queue into a batch, sends the batch, and retries if the server did not
//! accept it. Meanwhile further batches wait in the backlog.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Added, Delivery, Exporter, Losses, Queue,
    backlog::{Backlog, Entry},
    flush::{Done, Flush},
    log_limit::LogLimit,
    metrics::Measuring,
    recovery::{PROBE_TIMEOUT, Recovery},
    stats::{DropReason, Dropped},
};
use crate::record::{Event, MetricsRecord, Resource, follow_wall_clock};

/// The worker looks into the queue this often when nothing wakes it.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Events encoded in one go, before the connection gets its turn.
const SLICE: usize = 512;
/// Attempts on a batch that the server itself fails on.
pub(super) const MAX_SERVER_ERRORS: u32 = 5;
/// Stands for the last metrics in what a shutdown waits for, until it is known how many they are.
const TO_BE_MEASURED: u64 = 1;
/// What is left when the last handle of an agent is dropped without a shutdown gets this long.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

pub(crate) struct WorkerSettings {
    /// A batch goes at the latest this long after its first event was taken into it.
    pub(crate) max_age: Duration,
    /// Bytes of memory for closed batches behind the one that is being sent.
    pub(crate) max_backlog_bytes: usize,
    pub(crate) measuring: Option<Measuring>,
}

pub(super) enum Command {
    Flush { deadline: Instant, done: Done },
    Shutdown { deadline: Instant, done: Done },
}

/// `Instant` cannot hold every sum; a year is forever here.
pub(super) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 24 * 3600))
}

/// Completes what is known of the sender.
pub(super) type Preparing = Pin<Box<dyn Future<Output = Resource> + Send>>;

type Sending = Pin<Box<dyn Future<Output = Delivery> + Send>>;

type Probing = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The batch that is being sent, or waits for its next attempt.
pub(super) struct Current<B> {
    pub(super) batch: B,
    /// Events that were skipped after its first one.
    pub(super) skipped: u64,
    /// Attempts that the server itself has failed on.
    pub(super) server_errors: u32,
    pub(super) sending: Option<Sending>,
}

impl<B> Current<B> {
    pub(super) fn new(Entry { batch, skipped }: Entry<B>) -> Self {
        Self { batch, skipped, server_errors: 0, sending: None }
    }
}

pub(super) struct State<E: Exporter> {
    pub(super) queue: Queue,
    exporter: E,
    pub(super) settings: WorkerSettings,
    preparing: Option<Preparing>,
    /// How long events wait for it; None: to its end.
    patience: Option<Instant>,
    pub(super) current: Option<Current<E::Batch>>,
    /// Closed batches behind the current one.
    pub(super) backlog: Backlog<E::Batch>,
    /// When the first event came into the open batch.
    opened: Option<Instant>,
    /// Events that were skipped since then.
    skipped: u64,
    pub(super) recovery: Recovery,
    probing: Option<Probing>,
    /// Single events in a row that were too large for the server.
    pub(super) too_large: u32,
    pub(super) log: LogLimit,
    flushes: Vec<Flush>,
    /// Events taken from the queue, and how many of the first of them are settled: delivered, or dropped and counted.
    popped: u64,
    pub(super) concluded: u64,
}

impl<E: Exporter> State<E> {
    pub(super) fn new(queue: Queue, exporter: E, settings: WorkerSettings, preparing: Option<Preparing>) -> Self {
        Self {
            queue,
            exporter,
            preparing,
            patience: None,
            current: None,
            backlog: Backlog::new(settings.max_backlog_bytes),
            settings,
            opened: None,
            skipped: 0,
            recovery: Recovery::default(),
            probing: None,
            too_large: 0,
            log: LogLimit::default(),
            flushes: Vec::new(),
            popped: 0,
            concluded: 0,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut followed = Instant::now();
        loop {
            if followed.elapsed() >= TICK {
                followed = Instant::now();
                follow_wall_clock();
            }
            self.measure();
            let held = self.is_held();
            self.look_at_queue();
            let mut more = !held && self.fill();
            self.look_at_queue();
            self.count_losses();
            more |= self.advance() && !held;
            self.send_if_due();
            self.probe_if_due();
            if self.is_over() {
                break;
            }
            self.answer_flushes();
            let next = tokio::time::Instant::from_std(self.next_look());
            tokio::select! {
                delivery = sending(&mut self.current) => self.conclude(delivery),
                is_reached = probed(&mut self.probing) => {
                    self.probing = None;
                    self.recovery.probed(is_reached, Instant::now());
                }
                resource = prepared(&mut self.preparing) => {
                    self.preparing = None;
                    self.exporter.describe(&resource);
                }
                command = commands.recv(), if !self.is_ending() => self.obey(command),
                () = self.queue.filled(), if !more && !held && !self.exporter.is_full() => {}
                () = tokio::time::sleep_until(next), if !more => {}
                () = tokio::task::yield_now(), if more => {}
            }
        }
        self.give_up();
    }

    /// Events stay in the queue: what goes before them is not known yet.
    fn is_held(&self) -> bool {
        self.preparing.is_some() && self.patience.is_none_or(|patience| Instant::now() < patience)
    }

    /// Moves events from the queue into the open batch; true when there are more to be moved at once.
    fn fill(&mut self) -> bool {
        for _ in 0..SLICE {
            if self.exporter.is_full() {
                return false;
            }
            let Some(event) = self.next_event() else { return false };
            self.popped += 1;
            let add = || {
                if let (Event::Transaction(record), Some(measuring)) = (&event, &mut self.settings.measuring) {
                    measuring.source.observe(record);
                }
                self.exporter.add(event)
            };
            // the reason is not the panic's message, which may quote the event
            let added =
                catch_unwind(AssertUnwindSafe(add)).unwrap_or_else(|_| Err("a panic while it was encoded".to_owned()));
            match added {
                Ok(Added::Taken) => {
                    self.opened.get_or_insert_with(Instant::now);
                }
                Ok(Added::Unwanted) => {
                    self.skip(DropReason::Unsampled);
                }
                Ok(Added::Unsupported | Added::Paused) => {
                    self.skip(DropReason::Unsupported);
                }
                Err(reason) => {
                    self.skip(DropReason::Unencodable);
                    self.log.warn("an event could not be encoded", &reason);
                }
            }
        }
        true
    }

    /// An event does not go into a batch. It is settled with the batch before it: a flush must not take it for an event that was
    /// recorded earlier and still waits.
    fn skip(&mut self, reason: DropReason) {
        self.queue.counters().dropped(reason, 1);
        let last = self.backlog.last_mut().map(|entry| &mut entry.skipped);
        let last = last.or(self.current.as_mut().map(|current| &mut current.skipped));
        match (self.opened, last) {
            (Some(_), _) => self.skipped += 1,
            (None, Some(last)) => *last += 1,
            (None, None) => self.concluded += 1,
        }
    }

    fn count_losses(&mut self) {
        let Losses { truncated, cut, keys, values } = self.exporter.losses();
        if truncated > 0 {
            self.queue.counters().truncated(truncated);
            self.log.warn("an event was over the server's limit for a line and went without a part of it", cut);
        }
        if keys > 0 {
            self.queue.counters().dropped_keys(keys);
        }
        if values > 0 {
            self.queue.counters().dropped_values(values);
        }
    }

    /// The next of the queue; at the end, when nothing more comes, what was measured meanwhile.
    fn next_event(&mut self) -> Option<Event> {
        self.queue.pop().or_else(|| {
            let is_ending = self.is_ending();
            let measuring = self.settings.measuring.as_mut().filter(|measuring| is_ending && !measuring.closed)?;
            let records = contained(|| measuring.close(&self.queue));
            let more = self.take_in(records);
            let last = self.flushes.iter_mut().filter(|flush| flush.is_shutdown);
            last.for_each(|flush| flush.target = flush.target - TO_BE_MEASURED + more);
            self.queue.pop()
        })
    }

    fn look_at_queue(&mut self) {
        if let Some(measuring) = &mut self.settings.measuring {
            measuring.watch.look(&self.queue);
        }
    }

    fn measure(&mut self) {
        if let Some(measuring) = &mut self.settings.measuring {
            let records = contained(|| measuring.due(Instant::now(), &self.queue));
            self.take_in(records);
        }
    }

    /// How many found a place in the queue.
    fn take_in(&self, records: Vec<MetricsRecord>) -> u64 {
        let admitted = records.into_iter().map(|record| self.queue.push_measured(Event::Metrics(Box::new(record))));
        admitted.map(u64::from).sum()
    }

    /// Makes the next batch the current one, or closes a full one behind it; true where events in the queue have a place
    /// now that they had not before.
    fn advance(&mut self) -> bool {
        let was_full = self.exporter.is_full();
        if self.current.is_none() {
            let next = self.backlog.pop_front().or_else(|| self.close_if_due());
            self.current = next.map(Current::new);
        }
        if self.current.is_some() && self.exporter.is_full() && self.backlog.has_room() {
            self.close().into_iter().for_each(|entry| self.backlog.push_back(entry));
        }
        self.queue.counters().set_backlog(self.backlog.events(), self.backlog.bytes());
        if let Some(measuring) = &mut self.settings.measuring {
            measuring.watch.look_at_backlog(self.backlog.fill());
        }
        was_full && !self.exporter.is_full() && self.queue.len() > 0
    }

    fn close_if_due(&mut self) -> Option<Entry<E::Batch>> {
        let opened = self.opened?;
        let wanted = self.flushes.iter().any(|flush| flush.target <= self.popped);
        if !wanted && !self.exporter.is_full() && opened.elapsed() < self.settings.max_age {
            return None;
        }
        self.close()
    }

    fn close(&mut self) -> Option<Entry<E::Batch>> {
        self.opened = None;
        let skipped = std::mem::take(&mut self.skipped);
        let batch = self.exporter.close();
        if batch.is_none() {
            self.concluded += skipped;
        }
        batch.map(|batch| Entry { batch, skipped })
    }

    fn send_if_due(&mut self) {
        if let Some(current) = &mut self.current
            && current.sending.is_none()
            && self.recovery.is_attempt_due(Instant::now())
        {
            self.probing = None;
            current.sending = Some(Box::pin(self.exporter.send(&current.batch)));
        }
    }

    fn probe_if_due(&mut self) {
        let waits = self.current.as_ref().is_some_and(|current| current.sending.is_none());
        if waits && self.recovery.take_due_probe(Instant::now()) {
            let probe = self.exporter.probe();
            let probe = async { tokio::time::timeout(PROBE_TIMEOUT, probe).await.unwrap_or(false) };
            self.probing = Some(Box::pin(probe));
        }
    }

    fn obey(&mut self, command: Option<Command>) {
        let (deadline, done, is_shutdown) = match command {
            Some(Command::Flush { deadline, done }) => (deadline, done, false),
            Some(Command::Shutdown { deadline, done }) => (deadline, done, true),
            None => {
                self.queue.close();
                (deadline(ORPHAN_GRACE), Box::new(drop) as Done, true)
            }
        };
        let now = Instant::now();
        self.recovery.hurry(now, deadline, is_shutdown);
        // half of the time is for sending
        let patience = now + deadline.saturating_duration_since(now) / 2;
        self.patience = Some(self.patience.map_or(patience, |earlier| earlier.min(patience)));
        let is_measured = is_shutdown && self.settings.measuring.as_ref().is_some_and(|measuring| !measuring.closed);
        let last = if is_measured { TO_BE_MEASURED } else { 0 };
        let target = self.popped + self.queue.len() as u64 + last;
        self.flushes.push(Flush { target, deadline, done, is_shutdown });
    }

    fn answer_flushes(&mut self) {
        let now = Instant::now();
        let (concluded, waiting) = (self.concluded, self.queue.stats().waiting);
        for flush in self.flushes.extract_if(.., |flush| flush.is_over(concluded, now)) {
            flush.answer(concluded, waiting);
        }
    }

    /// After a shutdown no more commands are taken.
    fn is_ending(&self) -> bool {
        self.flushes.iter().any(|flush| flush.is_shutdown)
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        self.flushes.iter().any(|flush| flush.is_shutdown && flush.is_over(self.concluded, now))
    }

    /// When there is something to do even if nothing happens.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let waiting = self.current.as_ref().filter(|current| current.sending.is_none());
        let retry = waiting.map(|_| self.recovery.next());
        let age = self.opened.filter(|_| self.current.is_none()).map(|opened| opened + self.settings.max_age);
        let flush = self.flushes.iter().map(|flush| flush.deadline).min();
        let patience = self.patience.filter(|_| self.preparing.is_some());
        let measured = self.settings.measuring.as_ref().filter(|measuring| !measuring.closed);
        let measured = measured.map(|measuring| measuring.next);
        [retry, age, flush, patience, measured].into_iter().flatten().fold(now + TICK, Instant::min).max(now)
    }

    /// The end: whatever is left is counted, and then whoever waits is told, so that they see the whole account.
    fn give_up(self) {
        let waiting = self.queue.stats().waiting;
        let current = self.current.as_ref().map_or(0, |current| current.skipped);
        let counted = self.skipped + self.backlog.skipped() + current;
        let left = self.popped.saturating_sub(self.concluded + counted);
        self.queue.counters().dropped(DropReason::Shutdown, left);
        self.queue.counters().set_backlog(0, 0);
        self.queue.abandon();
        let stats = self.queue.stats();
        let Dropped { send_disabled, unsampled, unsupported, .. } = stats.dropped;
        if stats.dropped.total() - send_disabled - unsampled - unsupported + stats.rejected > 0 {
            tracing::warn!(target: "tower_apm", %stats, "shut down");
        } else {
            tracing::info!(target: "tower_apm", %stats, "shut down");
        }
        for flush in self.flushes {
            flush.answer(self.concluded, waiting);
        }
    }
}

/// A panic while something is measured costs what was to be measured.
fn contained(measure: impl FnOnce() -> Vec<MetricsRecord>) -> Vec<MetricsRecord> {
    catch_unwind(AssertUnwindSafe(measure)).unwrap_or_default()
}

/// What is known of the sender, once; never ready after that.
async fn prepared(preparing: &mut Option<Preparing>) -> Resource {
    match preparing {
        Some(preparing) => preparing.await,
        None => std::future::pending().await,
    }
}

/// The outcome of the attempt that is under way; never ready without one.
async fn sending<B>(current: &mut Option<Current<B>>) -> Delivery {
    match current.as_mut().and_then(|current| current.sending.as_mut()) {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// Whether the server was reached by the probe that is under way; never ready without one.
async fn probed(probing: &mut Option<Probing>) -> bool {
    match probing {
        Some(probing) => probing.await,
        None => std::future::pending().await,
    }
}
