//! A batch that is refused as a whole goes again in halves: what is wrong with one span shall not cost the others.

use std::{future::Future, ops::Range};

use crate::pipeline::{Delivery, Rejection};

/// How often one batch is divided: enough to find two spans among four thousand. Where all of them are wrong, it ends.
const MAX_DIVISIONS: usize = 24;

/// The server would not have these spans together, and does not say which of them are to blame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: String,
}

/// Delivers one piece of a batch front to back. `weights` are the events that each part of the batch tells; `send` sends a
/// range of parts with so many events.
pub(super) async fn deliver<F>(weights: &[u64], piece: Range<usize>, send: impl Fn(Range<usize>, u64) -> F) -> Delivery
where
    F: Future<Output = Result<Delivery, Refused>>,
{
    let (mut accepted, mut rejected, mut reasons) = (0, 0, Vec::<Rejection>::new());
    let mut divisions = 0;
    let mut pieces = Vec::from_iter([piece]);
    while let Some(piece) = pieces.pop() {
        let events = weights.get(piece.clone()).unwrap_or_default().iter().sum();
        match send(piece.clone(), events).await {
            Ok(Delivery::Decided { rejected: refused, reasons: more }) => {
                let refused = refused.min(events);
                rejected += refused;
                accepted += events - refused;
                reasons.extend(more);
            }
            Err(_) if piece.len() > 1 && divisions < MAX_DIVISIONS => {
                divisions += 1;
                let middle = piece.start + piece.len() / 2;
                pieces.push(middle..piece.end);
                pieces.push(piece.start..middle);
            }
            Err(Refused { reason }) => {
                rejected += events;
                reasons.push(Rejection { message: reason });
            }
            Ok(other) if accepted + rejected == 0 => return other,
            Ok(_) => return Delivery::Partly { accepted, rejected, reasons },
        }
    }
    Delivery::Decided { rejected, reasons }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;

    use super::*;

    /// Delivers spans of one event each but the first, which tells three; `bad` ones are refused in any company.
    fn delivered(spans: usize, bad: &[usize], fails_from: usize) -> (Delivery, usize) {
        let mut weights = vec![1; spans];
        weights[0] = 3;
        let sent = RefCell::new(0);
        let send = |piece: Range<usize>, events: u64| {
            assert_eq!(events, weights[piece.clone()].iter().sum::<u64>());
            *sent.borrow_mut() += 1;
            std::future::ready(if bad.iter().any(|span| piece.contains(span)) {
                Err(Refused { reason: format!("{} spans", piece.len()) })
            } else if piece.end > fails_from {
                Ok(Delivery::Failed { reason: "busy".to_owned(), poisonous: false })
            } else {
                Ok(Delivery::Decided { rejected: 0, reasons: Vec::new() })
            })
        };
        let delivery = deliver(&weights, 0..spans, send).now_or_never().unwrap();
        (delivery, sent.into_inner())
    }

    fn decided(rejected: u64, reasons: &[&str]) -> Delivery {
        let reasons = reasons.iter().map(|reason| Rejection { message: (*reason).to_owned() });
        Delivery::Decided { rejected, reasons: reasons.collect() }
    }

    #[test]
    fn a_neighbour_s_event_is_not_lost() {
        assert_eq!(delivered(1000, &[], usize::MAX), (decided(0, &[]), 1));
        assert_eq!(delivered(1, &[0], usize::MAX), (decided(3, &["1 spans"]), 1));
        let (delivery, sent) = delivered(1000, &[7, 700], usize::MAX);
        assert_eq!(delivery, decided(2, &["1 spans", "1 spans"]));
        assert!(sent < 50, "{sent}");
        assert_eq!(delivered(8, &[0], usize::MAX).0, decided(3, &["1 spans"]));
    }

    #[test]
    fn a_server_that_wants_none_of_it_is_not_asked_forever() {
        let all: Vec<_> = (0..1000).collect();
        let (delivery, sent) = delivered(1000, &all, usize::MAX);
        assert!(matches!(delivery, Delivery::Decided { rejected: 1002, .. }), "{delivery:?}");
        assert_eq!(sent, 1 + 2 * MAX_DIVISIONS);
    }

    #[test]
    fn what_fails_midway_is_sent_again_without_what_was_taken() {
        let (delivery, _) = delivered(8, &[1], 4);
        let reasons = vec![Rejection { message: "1 spans".to_owned() }];
        assert_eq!(delivery, Delivery::Partly { accepted: 5, rejected: 1, reasons });
        assert_eq!(delivered(8, &[], 4).0, Delivery::Failed { reason: "busy".to_owned(), poisonous: false });
    }
}
