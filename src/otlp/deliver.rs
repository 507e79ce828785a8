//! One attempt at a batch: its spans, or what is beside them, which never holds them up for long.

use std::{future::Future, ops::Range, time::Duration};

use super::{
    answer,
    batch::Contents,
    divide::{self, Refused},
    pause::Pauses,
    signal::Signal,
};
use crate::pipeline::{Delivery, FailureCause, Rejection};

/// Spans wait for one request of what is beside them no longer than this: after the spans of the same batch, in a batch of
/// its own, and where the original of a copy waits.
pub(super) const AFTER_SPANS: Duration = Duration::from_millis(1500);
pub(super) const ALONE: Duration = Duration::from_secs(5);
pub(super) const AS_COPY: Duration = Duration::from_millis(700);

/// Delivers the spans of a batch, by the rules of all events. The rest goes next.
pub(super) async fn spans<F>(contents: &Contents, weights: &[u64], send: impl Fn(Range<usize>, u64) -> F) -> Delivery
where
    F: Future<Output = Result<Delivery, Refused>>,
{
    let spans = contents.spans();
    let events = events_of(weights, &spans);
    match divide::deliver(weights, spans, send).await {
        Delivery::Decided { rejected, reasons } if contents.beside().next().is_some() => {
            Delivery::Front { events, rejected, reasons }
        }
        other => other,
    }
}

/// Delivers what is beside spans. With a server that takes those it is tried once: to wait for another attempt would hold
/// them up. `takes_spans` asks the server; otherwise what is beside them waits as they do.
pub(super) async fn beside<F, P>(
    contents: &Contents,
    weights: &[u64],
    pauses: &Pauses,
    limit: Duration,
    send: impl Fn(Range<usize>, u64) -> F,
    takes_spans: impl FnOnce() -> P,
) -> Delivery
where
    F: Future<Output = Result<Delivery, Refused>>,
    P: Future<Output = bool>,
{
    let attempt = async |kind: Signal| {
        let piece = contents.beside().find(|(of, _)| *of == kind)?.1;
        let events = events_of(weights, &piece);
        if pauses.is_paused(kind) {
            return Some(Attempt { kind, events, delivery: None });
        }
        let mut pause = PauseUnlessDone { pauses, kind: Some(kind) };
        let send = async |part, events| {
            let silent =
                |_| Ok(Delivery::Failed { reason: "no answer in time".to_owned(), cause: FailureCause::NoAnswer });
            tokio::time::timeout(limit, send(part, events)).await.unwrap_or_else(silent)
        };
        let delivery = divide::deliver(weights, piece, send).await;
        pause.kind = None;
        Some(Attempt { kind, events, delivery: Some(delivery) })
    };
    let (metrics, logs) = tokio::join!(attempt(Signal::Metrics), attempt(Signal::Logs));
    let attempts = [metrics, logs].map(|attempt| attempt.map(Attempt::conclude));
    // what was decided of one kind must not be sent again for the sake of the other
    let nothing_decided = attempts.iter().flatten().all(|one| one.is_paused || one.left == one.events);
    let failure = attempts.iter().flatten().find_map(|one| Some((one.kind, one.failure.clone()?)));
    if let Some((kind, (reason, cause))) = failure.filter(|_| nothing_decided && !contents.follows_spans())
        && !takes_spans().await
    {
        return Delivery::Failed { reason: kind.says(&reason), cause };
    }
    let mut all = Concluded::default();
    for one in attempts.into_iter().flatten() {
        let why = match (one.failure, one.is_paused) {
            (Some((failure, cause)), _) => {
                let pause = pauses.failed(one.kind, cause.retry_after()).as_secs();
                Some(format!("{}; none are sent for {pause} s", answer::without_hint(&failure)))
            }
            (None, true) => Some("not sent for now".to_owned()),
            (None, false) => {
                pauses.succeeded(one.kind);
                None
            }
        };
        all.why.extend(why.map(|why| one.kind.says(&why)));
        all.given_up += one.left;
        all.rejected += one.rejected;
        all.reasons.extend(one.reasons);
    }
    match all.given_up {
        0 => Delivery::Decided { rejected: all.rejected, reasons: all.reasons },
        given_up => {
            Delivery::GivenUp { rejected: all.rejected, given_up, reasons: all.reasons, why: all.why.join("; ") }
        }
    }
}

#[derive(Default)]
struct Concluded {
    rejected: u64,
    given_up: u64,
    reasons: Vec<Rejection>,
    why: Vec<String>,
}

/// One attempt at all of a kind; without a delivery where the kind is paused.
struct Attempt {
    kind: Signal,
    events: u64,
    delivery: Option<Delivery>,
}

/// What it comes to.
struct Outcome {
    kind: Signal,
    events: u64,
    rejected: u64,
    reasons: Vec<Rejection>,
    /// Not decided.
    left: u64,
    is_paused: bool,
    failure: Option<(String, FailureCause)>,
}

impl Attempt {
    fn conclude(self) -> Outcome {
        let Self { kind, events, delivery } = self;
        let is_paused = delivery.is_none();
        let (accepted, rejected, reasons, failure) = match delivery {
            None => (0, 0, Vec::new(), None),
            Some(Delivery::Decided { rejected, reasons }) => (events.saturating_sub(rejected), rejected, reasons, None),
            Some(Delivery::Partly { accepted, rejected, reasons, retry_after }) => {
                let failure = "the server failed after a part of them".to_owned();
                (accepted, rejected, reasons, Some((failure, FailureCause::Refused { retry_after })))
            }
            Some(Delivery::Failed { reason, cause }) => (0, 0, Vec::new(), Some((reason, cause))),
            Some(_) => (0, 0, Vec::new(), Some(("the server failed".to_owned(), FailureCause::ServerError))),
        };
        let named = |Rejection { message }| Rejection { message: kind.says(&message) };
        let reasons = reasons.into_iter().map(named).collect();
        let left = events.saturating_sub(accepted + rejected);
        Outcome { kind, events, rejected, reasons, left, is_paused, failure }
    }
}

/// An attempt that nobody waits for any longer has failed.
struct PauseUnlessDone<'a> {
    pauses: &'a Pauses,
    kind: Option<Signal>,
}

impl Drop for PauseUnlessDone<'_> {
    fn drop(&mut self) {
        if let Some(kind) = self.kind {
            self.pauses.failed(kind, None);
        }
    }
}

fn events_of(weights: &[u64], piece: &Range<usize>) -> u64 {
    weights.get(piece.clone()).unwrap_or_default().iter().sum()
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
