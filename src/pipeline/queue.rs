//! The bounded queue between the request path and the worker.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::{
    process::Process,
    stats::{Counters, DropReason, Stats},
};
use crate::record::{Event, EventKind};

/// Spans and log lines may fill this share of the queue, by events and by bytes. The rest is kept for transactions, errors
/// and metrics, because one request can record any number of spans.
const SHARE_OF_DETAILS: (usize, usize) = (3, 4);
/// The worker is woken when this many events wait; fewer wait for its next look.
const WAKE: usize = 512;

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    /// No queue takes the events of this thread.
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread one whose events no queue takes: a panic of the worker that were reported would have to be
/// mapped by the worker, might panic again, and so on without an end.
pub(super) fn this_thread_is_the_worker() {
    IS_WORKER.set(true);
    IS_SILENT.set(true);
}

/// Returns true on the agent's own thread, which must not wait for itself.
pub(crate) fn is_worker_thread() -> bool {
    IS_WORKER.get()
}

/// Runs code of the service on the agent's thread. Events that the code records are accepted. It must not panic.
pub(crate) fn for_service<T>(work: impl FnOnce() -> T) -> T {
    let before = IS_SILENT.replace(false);
    let result = work();
    IS_SILENT.set(before);
    result
}

/// Cheap to clone; every clone is the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    events: ArrayQueue<Event>,
    /// The limits for spans and log lines.
    max_details: usize,
    max_detail_bytes: usize,
    wake_at: usize,
    bytes: AtomicUsize,
    max_bytes: usize,
    closed: AtomicBool,
    /// Nobody takes events out any more.
    abandoned: AtomicBool,
    /// A wake-up is on its way: one is enough for all that are pushed meanwhile.
    woken: AtomicBool,
    wake: Notify,
    counters: Counters,
    process: Process,
}

impl Queue {
    /// A queue of at most `max_events` events that hold at most `max_bytes` of memory together.
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> Self {
        let max_events = max_events.max(1);
        let (part, whole) = SHARE_OF_DETAILS;
        let shared = Shared {
            events: ArrayQueue::new(max_events),
            max_details: (max_events * part).div_ceil(whole),
            max_detail_bytes: max_bytes / whole * part,
            wake_at: WAKE.min(max_events.div_ceil(2)),
            bytes: AtomicUsize::new(0),
            max_bytes,
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            wake: Notify::new(),
            counters: Counters::default(),
            process: Process::current(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Offers an event. Never blocks; an event that finds no place is dropped and counted.
    pub(crate) fn push(&self, event: Event) {
        if IS_SILENT.get() {
            return;
        }
        self.shared.counters.recorded(event.kind());
        if self.shared.closed.load(Relaxed) {
            return self.dropped(DropReason::Shutdown);
        }
        self.admit(event);
    }

    /// What the worker itself has measured. It may come after the queue was closed: it tells of what came before. False
    /// where there is no place.
    pub(super) fn push_measured(&self, event: Event) -> bool {
        self.shared.counters.recorded(event.kind());
        self.admit(event)
    }

    fn admit(&self, event: Event) -> bool {
        let shared = &*self.shared;
        let size = event.size();
        let is_detail = matches!(event.kind(), EventKind::Span | EventKind::Log);
        let max_bytes = if is_detail { shared.max_detail_bytes } else { shared.max_bytes };
        let bytes = shared.bytes.fetch_add(size, Relaxed).saturating_add(size);
        if bytes > max_bytes {
            shared.bytes.fetch_sub(size, Relaxed);
            self.dropped(DropReason::QueueBytes);
            return false;
        }
        if is_detail && shared.events.len() >= shared.max_details || shared.events.push(event).is_err() {
            shared.bytes.fetch_sub(size, Relaxed);
            self.dropped(DropReason::QueueFull);
            return false;
        }
        // it was open a moment ago; either this sees that the worker is gone, or the worker's last look sees the event
        if shared.abandoned.load(SeqCst) {
            self.drop_all();
            return false;
        }
        // parallel pushes can step over any one length; the load spares a busy queue the write
        let is_filling = shared.events.len() >= shared.wake_at || bytes > shared.max_bytes / 2;
        if is_filling && !shared.woken.load(Relaxed) && !shared.woken.swap(true, Relaxed) {
            return self.wake();
        }
        true
    }

    /// Wakes the worker. False in a forked child, which has none: what waits is dropped.
    #[cold]
    fn wake(&self) -> bool {
        if self.abandon_if_forked() {
            return false;
        }
        self.shared.wake.notify_one();
        true
    }

    /// True in a process that was forked after the agent had started.
    pub(super) fn is_forked(&self) -> bool {
        self.shared.process.is_forked()
    }

    #[cfg(test)]
    pub(super) fn pretend_fork(&self) {
        self.shared.process.pretend_fork();
    }

    /// In a forked child drops what waits and whatever comes, and returns true.
    pub(super) fn abandon_if_forked(&self) -> bool {
        let is_forked = self.is_forked();
        if is_forked {
            self.abandon();
            self.shared.process.warn_forked();
        }
        is_forked
    }

    fn dropped(&self, reason: DropReason) {
        if self.shared.counters.dropped(reason, 1) {
            tracing::warn!(target: "tower_apm", ?reason, "an event was dropped; further ones are only counted");
        }
    }

    /// For the worker.
    pub(crate) fn pop(&self) -> Option<Event> {
        let event = self.shared.events.pop()?;
        self.shared.bytes.fetch_sub(event.size(), Relaxed);
        Some(event)
    }

    /// Events that wait now.
    pub(crate) fn len(&self) -> usize {
        self.shared.events.len()
    }

    /// How full it is, from 0 to 1, by the bound that is nearer.
    pub(super) fn fill(&self) -> f64 {
        let shared = &*self.shared;
        let events = shared.events.len() as f64 / shared.events.capacity() as f64;
        let bytes = shared.bytes.load(Relaxed) as f64 / shared.max_bytes as f64;
        // an event that is refused counts for a moment
        events.max(bytes).min(1.0)
    }

    /// Returns when enough events wait to be worth a look.
    pub(crate) async fn filled(&self) {
        self.shared.wake.notified().await;
        self.shared.woken.store(false, Relaxed);
    }

    /// From now on every event is dropped and counted.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Relaxed);
    }

    /// For the worker's end: what waits, and what is on its way in, is dropped and counted.
    pub(crate) fn abandon(&self) {
        self.close();
        self.shared.abandoned.store(true, SeqCst);
        self.drop_all();
    }

    fn drop_all(&self) {
        while self.pop().is_some() {
            self.shared.counters.dropped(DropReason::Shutdown, 1);
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn stats(&self) -> Stats {
        self.shared.counters.read()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use futures_util::FutureExt;

    use super::*;
    use crate::record::{LogRecord, MetricsRecord};

    const ROUNDS: usize = 20_000;

    fn event() -> Event {
        Event::Metrics(Box::new(MetricsRecord {
            timestamp: 0,
            samples: Vec::new(),
            labels: Vec::new(),
            breakdown: None,
        }))
    }

    #[test]
    fn dropped_events_are_counted_by_reason() {
        let queue = Queue::new(2, usize::MAX);
        (0..5).for_each(|_| queue.push(event()));
        let stats = queue.stats();
        assert_eq!((stats.recorded, stats.dropped.queue_full, stats.waiting), (5, 3, 2));

        let queue = Queue::new(100, event().size() * 2);
        (0..5).for_each(|_| queue.push(event()));
        assert_eq!(queue.stats().dropped.queue_bytes, 3);
        assert!(queue.pop().is_some());
        queue.push(event());
        assert_eq!(queue.stats().dropped.queue_bytes, 3, "room that was given back can be used");
        queue.close();
        queue.push(event());
        assert_eq!(queue.stats().dropped.shutdown, 1);
    }

    fn line() -> Event {
        Event::Log(Box::new(LogRecord {
            timestamp: 0,
            level: "info",
            message: String::new(),
            logger: "".into(),
            file: None,
            line: None,
            thread: None,
            place: None,
            error: None,
            error_id: None,
            labels: Vec::new(),
            is_own: false,
        }))
    }

    #[test]
    fn spans_and_log_lines_leave_a_quarter_of_the_queue_to_transactions_and_errors() {
        let by_count = Queue::new(8, usize::MAX);
        let by_bytes = Queue::new(100, line().size() * 8);
        for queue in [&by_count, &by_bytes] {
            (0..20).for_each(|_| queue.push(line()));
            assert_eq!(queue.len(), 6);
            (0..20).for_each(|_| queue.push(event()));
            assert!(queue.len() >= 8, "what is not a detail fills the rest");
            while queue.pop().is_some() {}
            (0..20).for_each(|_| queue.push(event()));
            let before = queue.len();
            queue.push(line());
            assert_eq!(queue.len(), before, "the share is of the whole queue, whatever is in it");
        }
        assert_eq!((by_count.stats().dropped.queue_full, by_count.stats().dropped.queue_bytes), (14 + 18 + 12 + 1, 0));
        assert_eq!(by_bytes.stats().dropped.queue_full, 0);
        let smallest = Queue::new(1, usize::MAX);
        smallest.push(line());
        assert_eq!(smallest.len(), 1);
    }

    #[test]
    fn forked_child_drops_and_counts_events() {
        let queue = Queue::new(8, usize::MAX);
        queue.pretend_fork();
        (0..8).for_each(|_| queue.push(event()));
        let stats = queue.stats();
        assert_eq!((stats.recorded, stats.dropped.shutdown, stats.waiting), (8, 8, 0));
        assert_eq!(queue.shared.bytes.load(Relaxed), 0);
    }

    #[test]
    fn user_code_on_the_worker_thread_is_recorded() {
        let queue = Queue::new(8, usize::MAX);
        thread::scope(|scope| {
            scope.spawn(|| {
                this_thread_is_the_worker();
                for_service(|| queue.push(event()));
                queue.push(event());
            });
        });
        assert_eq!(queue.stats().recorded, 1);
    }

    #[test]
    fn fill_is_that_of_the_nearer_limit() {
        let queue = Queue::new(4, usize::MAX);
        assert_eq!(queue.fill(), 0.0);
        (0..3).for_each(|_| queue.push(event()));
        assert_eq!(queue.fill(), 0.75);
        let queue = Queue::new(100, event().size() * 2);
        queue.push(event());
        assert_eq!(queue.fill(), 0.5);
    }

    #[test]
    fn events_of_the_worker_thread_are_not_recorded() {
        let queue = Queue::new(8, usize::MAX);
        thread::scope(|scope| {
            scope.spawn(|| {
                this_thread_is_the_worker();
                queue.push(event());
            });
        });
        queue.push(event());
        assert_eq!(queue.stats().recorded, 1);
    }

    #[test]
    fn event_pushed_during_abandon_is_counted() {
        let queue = Queue::new(8, usize::MAX);
        queue.push(event());
        queue.abandon();
        // as if it had been open when the push began
        queue.shared.closed.store(false, Relaxed);
        queue.push(event());
        let stats = queue.stats();
        assert_eq!((stats.recorded, stats.dropped.shutdown, stats.waiting), (2, 2, 0));
    }

    /// Whether the worker would be woken now.
    fn wakes(queue: &Queue) -> bool {
        queue.filled().now_or_never().is_some()
    }

    #[test]
    fn worker_is_woken_once_per_drain() {
        let queue = Queue::new(8, usize::MAX);
        (0..3).for_each(|_| queue.push(event()));
        assert!(!wakes(&queue));
        (0..3).for_each(|_| queue.push(event()));
        assert!(wakes(&queue));
        assert!(!wakes(&queue), "one wake-up for all that were pushed before it");
        queue.push(event());
        assert!(wakes(&queue), "still too many, and there are more of them");

        let queue = Queue::new(1000, event().size() * 4);
        (0..2).for_each(|_| queue.push(event()));
        assert!(!wakes(&queue));
        queue.push(event());
        assert!(wakes(&queue), "few, and large");
    }

    /// The length that each of them sees may hold what the others have pushed.
    #[test]
    fn concurrent_pushes_lose_no_wake_up() {
        let queue = Queue::new(4, usize::MAX);
        let round = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        round.wait();
                        (0..2).for_each(|_| queue.push(event()));
                        round.wait();
                    }
                });
            }
            let lost = (0..ROUNDS).filter(|_| {
                round.wait();
                round.wait();
                let lost = !wakes(&queue);
                while queue.pop().is_some() {}
                lost
            });
            assert_eq!(lost.count(), 0);
        });
    }
}
