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
        let mut left = events;
        let failure = match delivery {
            Some(Delivery::Decided { rejected, reasons }) => {
                taken.succeeded(kind);
                decided.rejected += rejected;
                decided.reasons.extend(named(kind, reasons));
                is_first = false;
                continue;
            }
            Some(Delivery::Failed { reason, .. }) => reason,
            Some(Delivery::Partly { accepted, rejected, reasons }) => {
                left = events.saturating_sub(accepted + rejected);
                decided.rejected += rejected;
                decided.reasons.extend(named(kind, reasons));
                is_first = false;
                "the server failed after a part of them".to_owned()
            }
            Some(_) => "the server failed".to_owned(),
            None => "no answer, while spans are taken".to_owned(),
        };
        let why = format!("{}: {failure}", kind.name());
        if is_first && !taken.spans() {
            // as far as is known the server takes nothing at all; but it may be only this
            return Delivery::Failed { reason: why, poisonous: true };
        }
        taken.failed(kind);
        decided.give_up(left, why);
    }
    decided.delivery()
}

fn named(kind: Beside, reasons: Vec<Rejection>) -> impl Iterator<Item = Rejection> {
    reasons.into_iter().map(move |Rejection { message }| Rejection { message: format!("{}: {message}", kind.name()) })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        otlp::batch::OpenBatch,
        pipeline::Batch,
        record::{SpanId, TraceId},
    };

    fn failed() -> Result<Delivery, Refused> {
        Ok(Delivery::Failed { reason: "busy".to_owned(), poisonous: false })
    }

    fn decided() -> Result<Delivery, Refused> {
        Ok(Delivery::Decided { rejected: 0, reasons: Vec::new() })
    }

    fn given_up(given_up: u64, why: &str) -> Delivery {
        Delivery::GivenUp { rejected: 0, given_up, reasons: Vec::new(), why: why.to_owned() }
    }

    /// Delivers so many spans, and two lines; `answers` says what becomes of a range. What was asked for comes with it.
    fn delivered(
        spans: u64,
        taken: &Taken,
        answer: impl Fn(Range<usize>) -> Result<Delivery, Refused>,
    ) -> (Delivery, Vec<Range<usize>>) {
        let mut open = OpenBatch::default();
        for id in 1..=spans {
            let (trace, id) = (TraceId(7), SpanId(id));
            open.add_span((trace, id), crate::otlp::project::carrier(trace, SpanId(99), id, 0, None));
        }
        [(); 2].iter().for_each(|()| open.add_line(Default::default()));
        let batch = open.close(None).unwrap();
        assert_eq!(batch.events(), spans + 2);
        let asked = RefCell::new(Vec::new());
        let send = |part: Range<usize>, _| {
            asked.borrow_mut().push(part.clone());
            std::future::ready(answer(part))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _runtime = runtime.enter();
        let delivery = deliver(&batch.contents, &batch.weights, taken, send).now_or_never().unwrap();
        (delivery, asked.into_inner())
    }

    #[test]
    fn what_is_beside_spans_that_are_not_taken_waits_with_them() {
        let taken = Taken::default();
        assert_eq!(delivered(3, &taken, |_| failed()), (failed().unwrap(), vec![0..3]));
        assert!(!taken.is_paused(Beside::Logs));
        assert_eq!(delivered(3, &taken, |_| decided()), (decided().unwrap(), vec![0..3, 3..5]));
    }

    #[test]
    fn what_fails_while_spans_are_taken_is_given_up_and_paused() {
        let taken = Taken::default();
        let answer = |part: Range<usize>| if part.start < 3 { decided() } else { failed() };
        assert_eq!(delivered(3, &taken, answer), (given_up(2, "log lines: busy"), vec![0..3, 3..5]));
        let paused = given_up(2, "log lines are not sent for now");
        assert_eq!(delivered(3, &taken, |_| decided()), (paused.clone(), vec![0..3]));
        assert_eq!(delivered(0, &taken, |_| decided()), (paused, vec![]));
    }

    #[test]
    fn by_itself_it_is_tried_again_until_it_is_known_that_spans_are_taken() {
        let taken = Taken::default();
        let again = Delivery::Failed { reason: "log lines: busy".to_owned(), poisonous: true };
        assert_eq!(delivered(0, &taken, |_| failed()), (again, vec![0..2]));
        taken.set_spans(true);
        assert_eq!(delivered(0, &taken, |_| failed()).0, given_up(2, "log lines: busy"));
    }

    #[test]
    fn of_what_fails_midway_the_rest_is_given_up() {
        let refused = || Err(Refused { reason: "large".to_owned() });
        let answer = |part: Range<usize>| match (part.start, part.len()) {
            (0, _) | (3, 1) => decided(),
            (3, _) => refused(),
            _ => failed(),
        };
        let why = "log lines: the server failed after a part of them";
        let (delivery, asked) = delivered(3, &Taken::default(), answer);
        assert_eq!((delivery, asked), (given_up(1, why), vec![0..3, 3..5, 3..4, 4..5]));
    }
}
