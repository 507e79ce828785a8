//! What the outcome of an attempt means: for the account of events, and for the batch.

use std::time::Instant;

use super::{
    Batch, Delivery, Exporter, Rejection,
    stats::DropReason,
    work::{Current, MAX_POISONOUS_ATTEMPTS, State},
};

impl<E: Exporter> State<E> {
    /// An attempt is over.
    pub(super) fn conclude(&mut self, delivery: Delivery) {
        let Some(mut current) = self.current.take() else { return };
        current.sending = None;
        let events = current.batch.events();
        if let Some(measuring) = &mut self.settings.measuring {
            let bytes = current.batch.bytes();
            if bytes.is_some() || events > 0 {
                measuring.watch.attempted(bytes, &delivery);
            }
        }
        let counters = self.queue.counters();
        match delivery {
            Delivery::Decided { rejected, reasons } => self.decided(current, events, rejected, &reasons),
            Delivery::Front { events: front, rejected, reasons } => self.decided(current, front, rejected, &reasons),
            Delivery::GivenUp { rejected, given_up, reasons, why } => {
                let given_up = given_up.min(events);
                let rejected = rejected.min(events - given_up);
                counters.accepted(events - given_up - rejected);
                counters.rejected(rejected);
                counters.dropped(DropReason::Unsupported, given_up);
                self.concluded += events;
                self.backoff.after_success();
                self.log.rejections(&reasons);
                self.log.warn("events were given up that the server does not take, although it takes others", &why);
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
            Delivery::Disabled => {
                counters.dropped(DropReason::SendDisabled, events);
                self.concluded += events;
            }
            Delivery::Failed { reason, poisonous } => {
                let poisonous = poisonous && current.attempts >= MAX_POISONOUS_ATTEMPTS;
                self.again(current, &reason, poisonous);
            }
        }
    }

    /// The server has decided on the first `events` events of a batch; the rest goes next.
    fn decided(&mut self, current: Current<E::Batch>, events: u64, rejected: u64, reasons: &[Rejection]) {
        let all = current.batch.events();
        let events = events.min(all);
        let rejected = rejected.min(events);
        let counters = self.queue.counters();
        counters.accepted(events - rejected);
        counters.rejected(rejected);
        self.concluded += events;
        self.backoff.after_success();
        self.log.rejections(reasons);
        if events < all {
            let batch = current.batch.without(events);
            self.current = Some(Current { batch, attempts: 0, sending: None, at: Instant::now() });
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
}
