//! One attempt at a batch: its spans, and then what is beside them, which never holds them up.

use std::{future::Future, ops::Range, time::Duration};

use super::{
    batch::Contents,
    divide::{self, Refused},
    pause::Taken,
    signal::Beside,
};
use crate::pipeline::{Delivery, Rejection};

/// With a server that takes spans, they wait so long for what is beside them: those of the same batch to be counted, those
/// of the next one to be sent.
const GRACE: Duration = Duration::from_secs(3);

/// What is decided of a batch.
#[derive(Default)]
struct Decided {
    rejected: u64,
    given_up: u64,
    reasons: Vec<Rejection>,
    why: Vec<String>,
}

impl Decided {
    fn give_up(&mut self, events: u64, why: String) {
        self.given_up += events;
        self.why.push(why);
    }

    fn delivery(self) -> Delivery {
        match self.given_up {
            0 => Delivery::Decided { rejected: self.rejected, reasons: self.reasons },
            given_up => {
                Delivery::GivenUp { rejected: self.rejected, given_up, reasons: self.reasons, why: self.why.join("; ") }
            }
        }
    }
}

/// Delivers spans by the rules of all events. What is beside them is tried once where spans come through: with a server
/// that takes those, waiting for another attempt would hold them up. `send` sends a part of the contents with so many
/// events.
pub(super) async fn deliver<F>(
    contents: &Contents,
    weights: &[u64],
    taken: &Taken,
    send: impl Fn(Range<usize>, u64) -> F,
) -> Delivery
where
    F: Future<Output = Result<Delivery, Refused>>,
{
    let spans = contents.spans();
    let has_spans = !spans.is_empty();
    let mut decided = Decided::default();
    if has_spans {
        match divide::deliver(weights, spans, &send).await {
            Delivery::Decided { rejected, reasons } => {
                taken.set_spans(true);
                (decided.rejected, decided.reasons) = (rejected, reasons);
            }
            other => {
                taken.set_spans(false);
                return other;
            }
        }
    }
    let mut is_first = !has_spans;
    for (kind, piece) in contents.beside() {
        let events: u64 = weights.get(piece.clone()).unwrap_or_default().iter().sum();
        if taken.is_paused(kind) {
            decided.give_up(events, format!("{} are not sent for now", kind.name()));
            continue;
        }
        let sending = divide::deliver(weights, piece, &send);
        let delivery = match taken.spans() {
            true => tokio::time::timeout(GRACE, sending).await.ok(),
            false => Some(sending.await),
        };
        let failure = match delivery {
            Some(Delivery::Decided { rejected, reasons }) => {
                taken.succeeded(kind);
                decided.rejected += rejected;
                decided.reasons.extend(named(kind, reasons));
                is_first = false;
                continue;
            }
            Some(Delivery::Failed { reason, .. }) => reason,
            Some(_) => "the server failed after a part of them".to_owned(),
            None => "no answer, while spans are taken".to_owned(),
        };
        let why = format!("{}: {failure}", kind.name());
        if is_first && !taken.spans() {
            // as far as is known the server takes nothing at all; but it may be only this
            return Delivery::Failed { reason: why, poisonous: true };
        }
        taken.failed(kind);
        decided.give_up(events, why);
    }
    decided.delivery()
}

fn named(kind: Beside, reasons: Vec<Rejection>) -> impl Iterator<Item = Rejection> {
    reasons.into_iter().map(move |Rejection { message }| Rejection { message: format!("{}: {message}", kind.name()) })
}
