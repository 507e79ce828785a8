//! What the outcome of an attempt means: for the account of events, and for the batch.

use std::time::Instant;

use super::{
    Batch, Delivery, Exporter, FailureCause, Rejection,
    backlog::Entry,
    stats::DropReason,
    work::{Current, MAX_SERVER_ERRORS, State},
};

/// After this many consecutive single events that are too large, the worker backs off as after a failure.
const MAX_TOO_LARGE_IN_A_ROW: u32 = 32;

impl<E: Exporter> State<E> {
    /// An attempt is over.
    pub(super) fn conclude(&mut self, delivery: Delivery) {
        let Some(mut current) = self.current.take() else { return };
        current.sending = None;
        let (events, skipped) = (current.batch.events(), current.skipped);
        if let Some(measuring) = &mut self.settings.measuring {
            let bytes = current.batch.bytes();
            if bytes.is_some() || events > 0 {
                measuring.watch.attempted(bytes, &delivery);
            }
        }
        match delivery {
            Delivery::Decided { rejected, reasons } => self.decided(current, events, rejected, &reasons),
            Delivery::Front { events: front, rejected, reasons } => self.decided(current, front, rejected, &reasons),
            Delivery::GivenUp { rejected, given_up, reasons, why } => {
                let given_up = given_up.min(events);
                self.settle(events - given_up, rejected);
                self.drop_events(DropReason::Unsupported, given_up);
                self.succeeded();
                self.log.rejections(&reasons);
                self.log.warn("events were given up that the server does not take, although it takes others", &why);
            }
            Delivery::Partly { accepted, rejected, reasons, retry_after } => {
                let taken = accepted.saturating_add(rejected).min(events);
                self.settle(taken, rejected);
                self.log.rejections(&reasons);
                if taken < events {
                    if taken > 0 {
                        current.server_errors = 0;
                    }
                    current.batch = current.batch.without(taken);
                    let cause = match retry_after {
                        Some(_) => FailureCause::Refused { retry_after },
                        None => FailureCause::ServerError,
                    };
                    self.again(current, "the server failed after a part of a batch", cause);
                } else {
                    self.succeeded();
                }
            }
            Delivery::OutcomeUnknown { accepted, rejected, reasons, retry_after } => {
                let rejected = rejected.min(events);
                let accepted = accepted.min(events - rejected);
                self.settle(accepted + rejected, rejected);
                self.drop_events(DropReason::OutcomeUnknown, events - accepted - rejected);
                self.log.rejections(&reasons);
                self.log.warn("the server failed after it had taken an unknown part of a batch", "");
                self.failed(FailureCause::Refused { retry_after });
            }
            Delivery::TooLarge { reason } => self.divide(current, &reason),
            Delivery::Disabled => self.drop_events(DropReason::SendDisabled, events),
            Delivery::Failed { reason, cause } => self.again(current, &reason, cause),
        }
        if self.current.is_none() {
            self.concluded += skipped;
        }
    }

    /// The server has decided on the first `events` events of a batch; the rest goes next.
    fn decided(&mut self, current: Current<E::Batch>, events: u64, rejected: u64, reasons: &[Rejection]) {
        let all = current.batch.events();
        let events = events.min(all);
        self.settle(events, rejected);
        self.succeeded();
        self.log.rejections(reasons);
        if events < all {
            let batch = current.batch.without(events);
            self.current = Some(Current::new(Entry { batch, skipped: current.skipped }));
        }
    }

    /// Divides a batch that is too large for the server. A single event that is too large is dropped.
    fn divide(&mut self, current: Current<E::Batch>, reason: &str) {
        match current.batch.split() {
            (first, Some(rest)) => {
                self.backlog.push_front(Entry { batch: rest, skipped: current.skipped });
                self.current = Some(Current::new(Entry { batch: first, skipped: 0 }));
            }
            (single, None) => {
                self.drop_events(DropReason::TooLarge, single.events());
                self.log.warn("an event was dropped: it is too large for the server", reason);
                self.too_large += 1;
                if self.too_large.is_multiple_of(MAX_TOO_LARGE_IN_A_ROW) {
                    self.failed(FailureCause::REFUSED);
                }
            }
        }
    }

    /// Keeps a batch for another attempt, unless the server has failed on it repeatedly.
    fn again(&mut self, mut current: Current<E::Batch>, reason: &str, cause: FailureCause) {
        self.failed(cause);
        if cause == FailureCause::ServerError {
            current.server_errors += 1;
            if current.server_errors >= MAX_SERVER_ERRORS {
                self.drop_events(DropReason::OutcomeUnknown, current.batch.events());
                return self.log.warn("a batch was dropped: the server failed on it repeatedly", reason);
            }
        }
        self.log.warn("sending failed, the events are kept and sent again", reason);
        current.batch = current.batch.pack();
        self.current = Some(current);
    }

    fn succeeded(&mut self) {
        self.recovery.after_success();
        self.too_large = 0;
    }

    fn failed(&mut self, cause: FailureCause) {
        self.recovery.after_failure(cause, Instant::now());
    }

    /// Counts `events` events that the server has decided on; it may claim to have rejected more.
    fn settle(&mut self, events: u64, rejected: u64) {
        let rejected = rejected.min(events);
        let counters = self.queue.counters();
        counters.accepted(events - rejected);
        counters.rejected(rejected);
        self.concluded += events;
    }

    fn drop_events(&mut self, reason: DropReason, events: u64) {
        self.queue.counters().dropped(reason, events);
        self.concluded += events;
    }
}

#[cfg(test)]
#[path = "conclude_tests/mod.rs"]
mod tests;
