//! Two exporters behind one queue: the one that counts, and one that gets a copy of everything.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    Added, Batch, Delivery, Exporter, FailureCause, Losses, Queue, backoff::Backoff, log_limit::LogLimit,
    recovery::MAX_RETRY_AFTER, stats::SecondaryStats,
};
use crate::record::{Event, Resource};

/// A copy that is still under way when the original has arrived gets this long.
const GRACE: Duration = Duration::from_secs(1);

/// Everything that the worker does follows from what `first` says. A copy is sent once: when it fails it is dropped and
/// counted, and further ones are dropped unsent until a back-off is over, so that a second server that is down or slow
/// costs the first one next to nothing.
#[derive(Debug)]
pub(crate) struct WithCopy<F, C> {
    first: F,
    copies: C,
    pause: Arc<Mutex<Pause>>,
    queue: Queue,
}

#[derive(Debug, Default)]
struct Pause {
    backoff: Backoff,
    until: Option<Instant>,
    log: LogLimit,
}

/// The same events twice, but for those that only one of both has a use for.
#[derive(Debug)]
pub(crate) struct Pair<F, C> {
    first: Option<F>,
    copy: Option<C>,
    copied: AtomicBool,
}

impl<F: Exporter, C: Exporter> WithCopy<F, C> {
    pub(crate) fn new(first: F, copies: C, queue: Queue) -> Self {
        Self { first, copies, pause: Arc::default(), queue }
    }
}

impl<F: Exporter, C: Exporter> Exporter for WithCopy<F, C> {
    type Batch = Pair<F::Batch, C::Batch>;

    fn describe(&mut self, resource: &Resource) {
        self.first.describe(resource);
        self.copies.describe(resource);
    }

    fn add(&mut self, event: Event) -> Result<Added, String> {
        // what the second protocol has no words for is no copy that was given up: it arrives by the first
        if matches!(self.copies.add(event.clone()), Err(_) | Ok(Added::Paused)) {
            self.queue.counters().copied(SecondaryStats { dropped: 1, ..SecondaryStats::default() });
        }
        self.first.add(event)
    }

    fn probe(&self) -> impl Future<Output = bool> + Send + 'static {
        self.first.probe()
    }

    /// Those of the copies are not told: they are of the same events.
    fn losses(&mut self) -> Losses {
        self.copies.losses();
        self.first.losses()
    }

    fn is_full(&self) -> bool {
        self.first.is_full() || self.copies.is_full()
    }

    fn close(&mut self) -> Option<Self::Batch> {
        let (first, copy) = (self.first.close(), self.copies.close());
        (first.is_some() || copy.is_some()).then(|| Pair { first, copy, copied: AtomicBool::new(false) })
    }

    fn send(&self, batch: &Self::Batch) -> impl Future<Output = Delivery> + Send + 'static {
        let first = batch.first.as_ref().map(|first| self.first.send(first));
        let copy = batch.copy.as_ref().filter(|_| !batch.copied.swap(true, Relaxed));
        let copy = copy.map(|copy| (copy.events(), self.pause.is_over().then(|| self.copies.send_whole(copy))));
        let (pause, queue) = (self.pause.clone(), self.queue.clone());
        async move {
            let mut first = pin!(async {
                match first {
                    Some(first) => first.await,
                    None => Delivery::Decided { rejected: 0, reasons: Vec::new() },
                }
            });
            let Some((events, copy)) = copy else { return first.await };
            let Some(copy) = copy else {
                queue.counters().copied(SecondaryStats { dropped: events, ..SecondaryStats::default() });
                return first.await;
            };
            let mut copy = pin!(copy);
            let (delivery, copied) = tokio::select! {
                delivery = &mut first => {
                    let copied = tokio::time::timeout(GRACE, copy).await.unwrap_or_else(|_| Delivery::Failed {
                        reason: "no answer by the time the original had long arrived".to_owned(),
                        cause: FailureCause::NoAnswer,
                    });
                    (delivery, copied)
                }
                copied = &mut copy => (first.await, copied),
            };
            queue.counters().copied(pause.conclude(copied, events));
            delivery
        }
    }
}

trait Pausing {
    fn is_over(&self) -> bool;
    fn conclude(&self, delivery: Delivery, events: u64) -> SecondaryStats;
}

impl Pausing for Mutex<Pause> {
    fn is_over(&self) -> bool {
        let pause = self.lock().unwrap_or_else(PoisonError::into_inner);
        pause.until.is_none_or(|until| until <= Instant::now())
    }

    /// What became of the copies of `events` events.
    fn conclude(&self, delivery: Delivery, events: u64) -> SecondaryStats {
        let mut pause = self.lock().unwrap_or_else(PoisonError::into_inner);
        let (accepted, rejected, failure) = match delivery {
            Delivery::Decided { rejected, reasons } => {
                pause.log.rejections(&reasons);
                let rejected = rejected.min(events);
                (events - rejected, rejected, None)
            }
            Delivery::Front { events: accepted, rejected, reasons } => {
                pause.log.rejections(&reasons);
                (accepted, rejected, Some(("the server failed after a part of a batch".to_owned(), None)))
            }
            Delivery::Partly { accepted, rejected, reasons, retry_after }
            | Delivery::OutcomeUnknown { accepted, rejected, reasons, retry_after } => {
                pause.log.rejections(&reasons);
                (accepted, rejected, Some(("the server failed after a part of a batch".to_owned(), retry_after)))
            }
            Delivery::GivenUp { rejected, given_up, reasons, why } => {
                pause.log.rejections(&reasons);
                pause.log.warn("copies of events were given up", &why);
                (events.saturating_sub(given_up + rejected), rejected, None)
            }
            Delivery::Disabled => (0, 0, None),
            Delivery::TooLarge { reason } => (0, 0, Some((reason, None))),
            Delivery::Failed { reason, cause } => (0, 0, Some((reason, cause.retry_after()))),
        };
        match failure {
            None => {
                pause.backoff = Backoff::default();
                pause.until = None;
            }
            Some((reason, retry_after)) => {
                let wait = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER).max(pause.backoff.after_failure());
                pause.until = Some(Instant::now() + wait);
                pause.log.warn("copies of events were given up", &reason);
            }
        }
        SecondaryStats { accepted, rejected, dropped: events.saturating_sub(accepted + rejected) }
    }
}

impl<F: Batch, C: Batch> Batch for Pair<F, C> {
    fn events(&self) -> u64 {
        self.first.as_ref().map_or(0, Batch::events)
    }

    /// Of the first: its requests are the ones that count.
    fn bytes(&self) -> Option<u64> {
        self.first.as_ref().and_then(Batch::bytes)
    }

    fn memory(&self) -> usize {
        self.first.as_ref().map_or(0, Batch::memory) + self.copy.as_ref().map_or(0, Batch::memory)
    }

    fn without(mut self, taken: u64) -> Self {
        self.first = self.first.map(|first| first.without(taken));
        self
    }

    fn pack(self) -> Self {
        Self { first: self.first.map(Batch::pack), copy: self.copy.map(Batch::pack), copied: self.copied }
    }

    /// A copy is sent whole, with the first attempt: it stays with the first half.
    fn split(self) -> (Self, Option<Self>) {
        let (first, rest) = self.first.map_or((None, None), |first| {
            let (first, rest) = first.split();
            (Some(first), rest)
        });
        let rest = rest.map(|rest| Self { first: Some(rest), copy: None, copied: AtomicBool::new(true) });
        (Self { first, ..self }, rest)
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
