//! The one thread that turns queued events into delivered batches.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Mutex,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::Context;
use tokio::sync::{mpsc, oneshot};

use super::{
    Batch, Delivery, Exporter, Queue,
    backoff::Backoff,
    log_limit::LogLimit,
    stats::DropReason,
};
use crate::record::follow_wall_clock;

/// The worker looks into the queue this often when nothing wakes it.
const TICK: Duration = Duration::from_secs(1);
/// Events encoded in one go, before the connection gets its turn.
const SLICE: usize = 512;
/// Attempts on a batch that the server itself fails on.
const MAX_POISONOUS_ATTEMPTS: u32 = 5;
/// What is left when the last handle of an agent is dropped without a shutdown gets this long.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// Not everything was delivered within the time given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} events were not delivered in time")]
pub struct Unsent {
    /// Events that were still waiting.
    pub waiting: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerSettings {
    /// A batch goes at the latest this long after its first event was taken into it.
    pub(crate) max_age: Duration,
}

type Done = Box<dyn FnOnce(Result<(), Unsent>) + Send>;

enum Command {
    Flush { deadline: Instant, done: Done },
    Shutdown { deadline: Instant, done: Done },
}

/// The handle of the worker's thread. When it is dropped, the thread makes one last, short attempt and ends.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    queue: Queue,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Worker {
    pub(crate) fn start<E: Exporter>(queue: Queue, exporter: E, settings: WorkerSettings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let state = State::new(queue.clone(), exporter, settings);
        let thread = thread::Builder::new().name("tower-apm".into()).spawn(move || {
            // everything that the HTTP client does on this thread stays untraced
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            runtime.block_on(state.run(receiver));
        })?;
        Ok(Self { commands, queue, thread: Mutex::new(Some(thread)) })
    }

    /// Delivers all that was recorded before the call. The worker watches the deadline, so any executor will do.
    pub(crate) fn flush(&self, timeout: Duration) -> impl Future<Output = Result<(), Unsent>> + Send + 'static {
        self.ask(timeout, |deadline, done| Command::Flush { deadline, done })
    }

    /// Stops recording, delivers what waits, ends the thread.
    pub(crate) fn shutdown(&self, timeout: Duration) -> impl Future<Output = Result<(), Unsent>> + Send + 'static {
        self.queue.close();
        self.ask(timeout, |deadline, done| Command::Shutdown { deadline, done })
    }

    /// [`shutdown`](Self::shutdown) for destructors: blocks the calling thread, at most for `timeout` and a moment.
    pub(crate) fn shutdown_blocking(&self, timeout: Duration) -> Result<(), Unsent> {
        self.queue.close();
        let (sender, receiver) = sync_channel(1);
        let done: Done = Box::new(move |result| drop(sender.try_send(result)));
        if self.commands.send(Command::Shutdown { deadline: deadline(timeout), done }).is_err() {
            return ended(&self.queue);
        }
        let result = match receiver.recv_timeout(timeout.saturating_add(TICK)) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => ended(&self.queue),
            Err(RecvTimeoutError::Timeout) => return Err(Unsent { waiting: self.queue.stats().waiting }),
        };
        let thread = self.thread.lock().map_or(None, |mut thread| thread.take());
        if let Some(thread) = thread {
            drop(thread.join());
        }
        result
    }

    fn ask(
        &self,
        timeout: Duration,
        command: impl FnOnce(Instant, Done) -> Command,
    ) -> impl Future<Output = Result<(), Unsent>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        let done: Done = Box::new(move |result| drop(sender.send(result)));
        let sent = self.commands.send(command(deadline(timeout), done)).is_ok();
        let queue = self.queue.clone();
        async move {
            match receiver.await {
                Ok(result) if sent => result,
                _ => ended(&queue),
            }
        }
    }
}

/// `Instant` cannot hold every sum; a year is forever here.
fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 24 * 3600))
}

fn ended(queue: &Queue) -> Result<(), Unsent> {
    match queue.stats().waiting {
        0 => Ok(()),
        waiting => Err(Unsent { waiting }),
    }
}

type Sending = Pin<Box<dyn Future<Output = Delivery> + Send>>;

/// A closed batch on its way.
struct Current<B> {
    batch: B,
    attempts: u32,
    sending: Option<Sending>,
    /// When to try (again).
    at: Instant,
}

struct Flush {
    /// Done when this many of the events taken from the queue have met their fate.
    target: u64,
    deadline: Instant,
    done: Done,
}

struct State<E: Exporter> {
    queue: Queue,
    exporter: E,
    settings: WorkerSettings,
    current: Option<Current<E::Batch>>,
    /// When the first event came into the open batch.
    opened: Option<Instant>,
    backoff: Backoff,
    log: LogLimit,
    flushes: Vec<Flush>,
    /// Events taken from the queue, and how many of them have met their fate; both in the queue's order.
    popped: u64,
    concluded: u64,
    shutdown: bool,
}

impl<E: Exporter> State<E> {
    fn new(queue: Queue, exporter: E, settings: WorkerSettings) -> Self {
        Self {
            queue,
            exporter,
            settings,
            current: None,
            opened: None,
            backoff: Backoff::default(),
            log: LogLimit::default(),
            flushes: Vec::new(),
            popped: 0,
            concluded: 0,
            shutdown: false,
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut followed = Instant::now();
        loop {
            if followed.elapsed() >= TICK {
                followed = Instant::now();
                follow_wall_clock();
            }
            let more = self.fill();
            self.close_if_due();
            self.send_if_due();
            self.answer_flushes();
            if self.shutdown && self.flushes.is_empty() {
                break;
            }
            let next = tokio::time::Instant::from_std(self.next_look());
            tokio::select! {
                delivery = sending(&mut self.current) => self.conclude(delivery),
                command = commands.recv(), if !self.shutdown => self.obey(command),
                () = self.queue.filled(), if !more && !self.exporter.is_full() => {}
                () = tokio::time::sleep_until(next), if !more => {}
                () = tokio::task::yield_now(), if more => {}
            }
        }
        self.give_up();
    }

    /// Moves events from the queue into the open batch; true when there are more to be moved at once.
    fn fill(&mut self) -> bool {
        for _ in 0..SLICE {
            if self.exporter.is_full() {
                return false;
            }
            let Some(event) = self.queue.pop() else { return false };
            self.popped += 1;
            if let Err(reason) = self.exporter.add(event) {
                self.queue.counters().dropped(DropReason::Unencodable, 1);
                self.concluded += 1;
                self.log.warn("an event could not be encoded", &reason);
            } else {
                self.opened.get_or_insert_with(Instant::now);
            }
        }
        true
    }

    fn close_if_due(&mut self) {
        let Some(opened) = self.opened.filter(|_| self.current.is_none()) else { return };
        let wanted = self.flushes.iter().any(|flush| flush.target <= self.popped);
        if !wanted && !self.exporter.is_full() && opened.elapsed() < self.settings.max_age {
            return;
        }
        self.opened = None;
        self.current = self.exporter.close().map(|batch| Current {
            batch,
            attempts: 0,
            sending: None,
            at: Instant::now(),
        });
    }

    fn send_if_due(&mut self) {
        if let Some(current) = &mut self.current
            && current.sending.is_none()
            && current.at <= Instant::now()
        {
            current.attempts += 1;
            current.sending = Some(Box::pin(self.exporter.send(&current.batch)));
        }
    }

    fn conclude(&mut self, delivery: Delivery) {
        let Some(mut current) = self.current.take() else { return };
        current.sending = None;
        let events = current.batch.events();
        let counters = self.queue.counters();
        match delivery {
            Delivery::Decided { rejected, reasons } => {
                let rejected = rejected.min(events);
                counters.accepted(events - rejected);
                counters.rejected(rejected);
                self.concluded += events;
                self.backoff.after_success();
                self.log.rejections(&reasons);
            }
            Delivery::Partly { accepted, rejected, reasons } => {
                let taken = (accepted + rejected).min(events);
                counters.accepted(taken - rejected.min(taken));
                counters.rejected(rejected.min(taken));
                self.concluded += taken;
                self.log.rejections(&reasons);
                if taken == events {
                    return self.backoff.after_success();
                }
                if taken > 0 {
                    current.attempts = 0;
                }
                let poisonous = current.attempts >= MAX_POISONOUS_ATTEMPTS;
                current.batch = current.batch.without(taken);
                self.again(current, "the server failed after a part of a batch", poisonous);
            }
            Delivery::Unclear { accepted, rejected, reasons } => {
                let rejected = rejected.min(events);
                let accepted = accepted.min(events - rejected);
                counters.accepted(accepted);
                counters.rejected(rejected);
                counters.dropped(DropReason::Unclear, events - accepted - rejected);
                self.concluded += events;
                self.log.rejections(&reasons);
                self.log.warn("the server failed after it had taken an unknown part of a batch", "");
                // the next batch waits as after any failure
                self.backoff.after_failure();
            }
            Delivery::Failed { reason, poisonous } => {
                let poisonous = poisonous && current.attempts >= MAX_POISONOUS_ATTEMPTS;
                self.again(current, &reason, poisonous);
            }
        }
    }

    /// Keeps a batch for another attempt, unless it is known to kill the server.
    fn again(&mut self, mut current: Current<E::Batch>, reason: &str, poisonous: bool) {
        let wait = self.backoff.after_failure();
        if poisonous {
            let events = current.batch.events();
            self.queue.counters().dropped(DropReason::Unclear, events);
            self.concluded += events;
            self.log.warn("a batch was given up: the server keeps failing on it", reason);
            return;
        }
        self.log.warn("sending failed, the events are kept and sent again", reason);
        current.at = Instant::now() + wait;
        self.current = Some(current);
    }

    fn obey(&mut self, command: Option<Command>) {
        let (deadline, done) = match command {
            Some(Command::Flush { deadline, done }) => (deadline, done),
            Some(Command::Shutdown { deadline, done }) => {
                self.shutdown = true;
                (deadline, done)
            }
            None => {
                self.queue.close();
                self.shutdown = true;
                (deadline(ORPHAN_GRACE), Box::new(drop) as Done)
            }
        };
        // somebody waits: the back-off ends now
        if let Some(current) = &mut self.current {
            current.at = current.at.min(Instant::now());
        }
        let target = self.popped + self.queue.len() as u64;
        self.flushes.push(Flush { target, deadline, done });
    }

    fn answer_flushes(&mut self) {
        let now = Instant::now();
        let (concluded, waiting) = (self.concluded, self.queue.stats().waiting);
        let over = |flush: &mut Flush| flush.target <= concluded || flush.deadline <= now;
        for flush in self.flushes.extract_if(.., over) {
            let delivered = flush.target <= concluded;
            (flush.done)(if delivered { Ok(()) } else { Err(Unsent { waiting }) });
        }
    }

    /// When there is something to do even if nothing happens.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let retry = self.current.as_ref().filter(|current| current.sending.is_none()).map(|current| current.at);
        let age = self.opened.filter(|_| self.current.is_none()).map(|opened| opened + self.settings.max_age);
        let flush = self.flushes.iter().map(|flush| flush.deadline).min();
        [retry, age, flush].into_iter().flatten().fold(now + TICK, Instant::min).max(now)
    }

    /// The end: whatever is left is counted.
    fn give_up(self) {
        let mut left = self.popped - self.concluded;
        while self.queue.pop().is_some() {
            left += 1;
        }
        self.queue.counters().dropped(DropReason::Shutdown, left);
        let stats = self.queue.stats();
        if stats.dropped.total() + stats.rejected > 0 {
            tracing::warn!(target: "tower_apm", %stats, "shut down");
        } else {
            tracing::info!(target: "tower_apm", %stats, "shut down");
        }
    }
}

/// The outcome of the attempt that is under way; never ready without one.
async fn sending<B>(current: &mut Option<Current<B>>) -> Delivery {
    match current.as_mut().and_then(|current| current.sending.as_mut()) {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
