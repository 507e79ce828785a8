//! A batch that is refused as a whole goes again in halves: what is wrong with one span shall not cost the others.

use std::{future::Future, ops::Range};

use crate::pipeline::{Delivery, Rejection};

/// How often one batch is divided for a wrong span: enough to find two among four thousand. Where all of them are wrong, it
/// ends.
const MAX_DIVISIONS: usize = 24;
/// A batch that is too large is divided down to single spans. After so many that were refused in a row, the server is taken for
/// one that takes nothing, and the rest waits for the next attempt.
const MAX_TOO_LARGE_IN_A_ROW: usize = 32;

/// The server would not have these spans together, and does not say which of them are to blame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// The request was too large: halves of it may be taken.
    pub(super) is_too_large: bool,
}

/// Delivers one piece of a batch front to back. `weights` are the events that each part of the batch tells; `send` sends a
/// range of parts with so many events.
pub(super) async fn deliver<F>(weights: &[u64], piece: Range<usize>, send: impl Fn(Range<usize>, u64) -> F) -> Delivery
where
    F: Future<Output = Result<Delivery, Refused>>,
{
    let (mut accepted, mut rejected, mut reasons) = (0, 0, Vec::<Rejection>::new());
    let (mut divisions, mut too_large) = (0, 0);
    let mut pieces = Vec::from_iter([piece]);
    while let Some(piece) = pieces.pop() {
        let events = weights.get(piece.clone()).unwrap_or_default().iter().sum();
        match send(piece.clone(), events).await {
            Ok(Delivery::Decided { rejected: refused, reasons: more }) => {
                let refused = refused.min(events);
                rejected += refused;
                accepted += events - refused;
                too_large = 0;
                reasons.extend(more);
            }
            Err(refused) if piece.len() > 1 && (refused.is_too_large || divisions < MAX_DIVISIONS) => {
                divisions += usize::from(!refused.is_too_large);
                let middle = piece.start + piece.len() / 2;
                pieces.push(middle..piece.end);
                pieces.push(piece.start..middle);
            }
            Err(Refused { reason, is_too_large }) => {
                rejected += events;
                reasons.push(Rejection { message: reason });
                too_large += usize::from(is_too_large);
                if too_large == MAX_TOO_LARGE_IN_A_ROW && !pieces.is_empty() {
                    return Delivery::Partly { accepted, rejected, reasons, retry_after: None };
                }
            }
            Ok(other) if accepted + rejected == 0 => return other,
            Ok(Delivery::Failed { cause, .. }) => {
                return Delivery::Partly { accepted, rejected, reasons, retry_after: cause.retry_after() };
            }
            Ok(_) => return Delivery::Partly { accepted, rejected, reasons, retry_after: None },
        }
    }
    Delivery::Decided { rejected, reasons }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;

    use super::*;
    use crate::pipeline::FailureCause;

    fn delivered(spans: usize, bad: &[usize], fails_from: usize) -> (Delivery, usize) {
        delivered_to(usize::MAX, spans, bad, fails_from)
    }

    /// Delivers spans of one event each but the first, which tells three; `bad` ones are refused in any company, and
    /// more than `largest` ones are too large.
    fn delivered_to(largest: usize, spans: usize, bad: &[usize], fails_from: usize) -> (Delivery, usize) {
        let mut weights = vec![1; spans];
        weights[0] = 3;
        let sent = RefCell::new(0);
        let send = |piece: Range<usize>, events: u64| {
            assert_eq!(events, weights[piece.clone()].iter().sum::<u64>());
            *sent.borrow_mut() += 1;
            std::future::ready(if bad.iter().any(|span| piece.contains(span)) {
                Err(Refused { reason: format!("{} spans", piece.len()), is_too_large: false })
            } else if piece.len() > largest {
                Err(Refused { reason: "large".to_owned(), is_too_large: true })
            } else if piece.end > fails_from {
                Ok(Delivery::Failed { reason: "busy".to_owned(), cause: FailureCause::NoAnswer })
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
    fn rejected_span_does_not_lose_its_neighbours() {
        assert_eq!(delivered(1000, &[], usize::MAX), (decided(0, &[]), 1));
        assert_eq!(delivered(1, &[0], usize::MAX), (decided(3, &["1 spans"]), 1));
        let (delivery, sent) = delivered(1000, &[7, 700], usize::MAX);
        assert_eq!(delivery, decided(2, &["1 spans", "1 spans"]));
        assert!(sent < 50, "{sent}");
        assert_eq!(delivered(8, &[0], usize::MAX).0, decided(3, &["1 spans"]));
    }

    #[test]
    fn bisection_is_limited_if_every_span_is_rejected() {
        let all: Vec<_> = (0..1000).collect();
        let (delivery, sent) = delivered(1000, &all, usize::MAX);
        assert!(matches!(delivery, Delivery::Decided { rejected: 1002, .. }), "{delivery:?}");
        assert_eq!(sent, 1 + 2 * MAX_DIVISIONS);
    }

    #[test]
    fn too_large_otlp_batch_is_divided_down_to_single_spans() {
        let (delivery, sent) = delivered_to(4, 1024, &[], usize::MAX);
        assert_eq!((delivery, sent), (decided(0, &[]), 256 + 255));
    }

    #[test]
    fn divide_stops_if_every_span_is_too_large() {
        let (delivery, sent) = delivered_to(0, 1000, &[], usize::MAX);
        let Delivery::Partly { accepted: 0, rejected, retry_after: None, .. } = delivery else {
            panic!("{delivery:?}")
        };
        // the first span carries three events
        assert_eq!(rejected, MAX_TOO_LARGE_IN_A_ROW as u64 + 2);
        assert!(sent < 3 * MAX_TOO_LARGE_IN_A_ROW, "{sent}");
    }

    #[test]
    fn failed_bisection_is_retried_without_accepted_spans() {
        let (delivery, _) = delivered(8, &[1], 4);
        let reasons = vec![Rejection { message: "1 spans".to_owned() }];
        assert_eq!(delivery, Delivery::Partly { accepted: 5, rejected: 1, reasons, retry_after: None });
        assert_eq!(
            delivered(8, &[], 4).0,
            Delivery::Failed { reason: "busy".to_owned(), cause: FailureCause::NoAnswer }
        );
    }
}
