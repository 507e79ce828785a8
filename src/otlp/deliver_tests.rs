use std::cell::RefCell;

use super::*;
use crate::{
    otlp::{batch::OpenBatch, project},
    pipeline::Batch,
    record::{SpanId, TraceId},
};

type Answer = Result<Delivery, Refused>;

const BEFORE: u64 = 3;

fn failed(is_server_error: bool) -> Answer {
    let cause = if is_server_error { FailureCause::ServerError } else { FailureCause::NoAnswer };
    Ok(Delivery::Failed { reason: "busy; check your key".to_owned(), cause })
}

fn decided() -> Answer {
    Ok(Delivery::Decided { rejected: 0, reasons: Vec::new() })
}

fn given_up(given_up: u64, why: &str) -> Delivery {
    Delivery::GivenUp { rejected: 0, given_up, reasons: Vec::new(), why: why.to_owned() }
}

/// Three spans, a set of two metrics, and two lines.
fn contents() -> (Contents, Vec<u64>) {
    let mut open = OpenBatch::default();
    for id in 1..=BEFORE {
        let (trace, id) = (TraceId(7), SpanId(id));
        open.add_span((trace, id), project::carrier(trace, SpanId(99), id, 0, None));
    }
    open.add_metrics(vec![Default::default(); 2]);
    [(); 2].iter().for_each(|()| open.add_line(Default::default()));
    let batch = open.close(None).unwrap();
    assert_eq!(batch.events(), BEFORE + 3);
    (batch.contents(), batch.weights.to_vec())
}

struct Rig {
    contents: Contents,
    weights: Vec<u64>,
    pauses: Pauses,
    /// What the server answers when it is asked for spans.
    takes_spans: bool,
    asked: RefCell<Vec<String>>,
}

impl Rig {
    /// What is beside spans, after them or by itself.
    fn beside(after_spans: bool, takes_spans: bool) -> Self {
        let (contents, weights) = contents();
        let (contents, gone) = match after_spans {
            true => contents.after_spans(),
            false => (contents.without_first(BEFORE as usize), BEFORE as usize),
        };
        let contents = if after_spans { contents } else { contents.alone() };
        Self {
            contents,
            weights: weights[gone..].to_vec(),
            pauses: Pauses::default(),
            takes_spans,
            asked: RefCell::default(),
        }
    }

    async fn deliver(&self, answer: impl Fn(Range<usize>) -> Answer) -> Delivery {
        let send = |part: Range<usize>, events: u64| {
            self.asked.borrow_mut().push(format!("{part:?} {events}"));
            std::future::ready(answer(part))
        };
        let takes_spans = || {
            self.asked.borrow_mut().push("spans?".to_owned());
            std::future::ready(self.takes_spans)
        };
        beside(&self.contents, &self.weights, &self.pauses, ALONE, send, takes_spans).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.take()
    }
}

const METRICS: Range<usize> = 0..2;
const LINES: Range<usize> = 2..4;

#[tokio::test]
async fn spans_are_delivered_before_metrics_and_logs() {
    let (contents, weights) = contents();
    let front = Delivery::Front { events: BEFORE, rejected: 0, reasons: Vec::new() };
    assert_eq!(spans(&contents, &weights, async |_, _| decided()).await, front);
    assert_eq!(spans(&contents, &weights, async |_, _| failed(false)).await, failed(false).unwrap());
}

#[tokio::test]
async fn failed_metrics_after_spans_are_dropped_and_logs_are_sent() {
    let rig = Rig::beside(true, false);
    let answer = |part: Range<usize>| if part == METRICS { failed(true) } else { decided() };
    assert_eq!(rig.deliver(answer).await, given_up(1, "metrics: busy; none are sent for 30 s"));
    assert_eq!(rig.asked(), ["0..2 1", "2..4 2"], "nobody is asked about spans that were just taken");
    assert_eq!(rig.deliver(answer).await, given_up(1, "metrics: not sent for now"));
    assert_eq!(rig.asked(), ["2..4 2"]);
}

#[tokio::test]
async fn metrics_only_batch_is_dropped_if_traces_are_accepted() {
    let rig = Rig::beside(false, true);
    let answer = |part: Range<usize>| if part == LINES { failed(false) } else { decided() };
    assert_eq!(rig.deliver(answer).await, given_up(2, "log lines: busy; none are sent for 30 s"));
    assert_eq!(rig.asked(), ["0..2 1", "2..4 2"]);
    assert!(rig.pauses.is_paused(Signal::Logs) && !rig.pauses.is_paused(Signal::Metrics));
    assert!(matches!(rig.deliver(|_| failed(false)).await, Delivery::GivenUp { given_up: 3, .. }));
    assert_eq!(rig.asked(), ["0..2 1", "spans?"]);
}

#[tokio::test]
async fn metrics_only_batch_is_retried_if_traces_are_refused() {
    let rig = Rig::beside(false, false);
    let reason = "metrics: busy; check your key".to_owned();
    assert_eq!(rig.deliver(|_| failed(false)).await, Delivery::Failed { reason, cause: FailureCause::NoAnswer });
    assert!(!rig.pauses.is_paused(Signal::Logs) && !rig.pauses.is_paused(Signal::Metrics));
}

#[tokio::test]
async fn decided_metrics_or_logs_are_not_sent_again() {
    for failing in [METRICS, LINES] {
        let rig = Rig::beside(false, false);
        let answer = |part: Range<usize>| if part == failing { failed(true) } else { decided() };
        let delivery = rig.deliver(answer).await;
        assert!(matches!(delivery, Delivery::GivenUp { rejected: 0, given_up: 1 | 2, .. }), "{delivery:?}");
        assert_eq!(rig.asked(), ["0..2 1", "2..4 2"]);
    }
}

#[tokio::test]
async fn rest_of_a_partly_sent_signal_is_dropped_after_a_failure() {
    let rig = Rig::beside(true, false);
    let answer = |part: Range<usize>| match (part.start, part.len()) {
        (2, 2) => Err(Refused { reason: "large".to_owned(), is_too_large: true }),
        (3, 1) => failed(true),
        _ => decided(),
    };
    assert_eq!(
        rig.deliver(answer).await,
        given_up(1, "log lines: the server failed after a part of them; none are sent for 30 s")
    );
    assert_eq!(rig.asked(), ["0..2 1", "2..4 2", "2..3 1", "3..4 1"]);
}

#[tokio::test]
async fn cancelled_attempt_counts_as_failed() {
    let rig = Rig::beside(true, false);
    let hangs = async |_: Range<usize>, _: u64| std::future::pending::<Answer>().await;
    let attempt = beside(&rig.contents, &rig.weights, &rig.pauses, ALONE, hangs, || std::future::ready(true));
    assert!(tokio::time::timeout(Duration::from_millis(1), attempt).await.is_err());
    assert!(rig.pauses.is_paused(Signal::Logs) && rig.pauses.is_paused(Signal::Metrics));
}

#[tokio::test]
async fn metrics_and_logs_are_dropped_at_the_time_limit() {
    let rig = Rig::beside(true, false);
    let hangs = async |_: Range<usize>, _: u64| std::future::pending::<Answer>().await;
    let limit = Duration::from_millis(1);
    let delivery = beside(&rig.contents, &rig.weights, &rig.pauses, limit, hangs, || std::future::ready(true)).await;
    assert_eq!(
        delivery,
        given_up(
            3,
            "metrics: no answer in time; none are sent for 30 s; log lines: no answer in time; none are sent for 30 s"
        )
    );
}
