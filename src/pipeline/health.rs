//! What the worker sees of its own work between two reports: how the agent fares (agent-spec 10.5).

use super::{
    Delivery, Queue,
    stats::{ByKind, Stats},
};

/// Of one interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Health {
    /// Events that were offered to the queue.
    pub(crate) offered: ByKind,
    /// Events that found no place in it.
    pub(crate) refused: u64,
    /// Events that were lost later. What is left out on purpose is not lost.
    pub(crate) lost: u64,
    /// How full the queue was, from 0 to 1.
    pub(crate) least_fill: f64,
    pub(crate) most_fill: f64,
    /// The same of the backlog.
    pub(crate) least_backlog: f64,
    pub(crate) most_backlog: f64,
    /// Requests that the server answered with 2xx.
    pub(crate) succeeded: Requests,
    pub(crate) failed: Requests,
}

/// Attempts, and the bytes of their bodies as they are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// The least and the most that was seen, and what was seen last.
#[derive(Debug, Default)]
struct Range {
    least: f64,
    most: f64,
    last: f64,
}

/// What was seen since the last report, and the sums as they were then.
#[derive(Debug, Default)]
pub(super) struct Watch {
    offered: ByKind,
    refused: u64,
    lost: u64,
    /// The least and the most.
    fill: Option<(f64, f64)>,
    backlog: Range,
    succeeded: Requests,
    failed: Requests,
}

impl Watch {
    /// The queue is longest before the worker takes events out, and shortest after.
    pub(super) fn look(&mut self, queue: &Queue) {
        let now = queue.fill();
        let (least, most) = self.fill.unwrap_or((now, now));
        self.fill = Some((least.min(now), most.max(now)));
    }

    /// `fill` is how full the backlog is, from 0 to 1.
    pub(super) fn look_at_backlog(&mut self, fill: f64) {
        let Range { least, most, .. } = self.backlog;
        self.backlog = Range { least: least.min(fill), most: most.max(fill), last: fill };
    }

    /// `bytes` where they are known.
    pub(super) fn attempted(&mut self, bytes: Option<u64>, delivery: &Delivery) {
        let requests = match delivery {
            Delivery::Disabled => return,
            // an answer other than 2xx has reasons
            Delivery::Decided { rejected: 0, reasons } | Delivery::Front { rejected: 0, reasons, .. }
                if reasons.is_empty() =>
            {
                &mut self.succeeded
            }
            _ => &mut self.failed,
        };
        requests.count += 1;
        requests.bytes += bytes.unwrap_or_default();
    }

    /// Of the interval that ends now.
    pub(super) fn take(&mut self, queue: &Queue) -> Health {
        self.look(queue);
        let (offered, stats) = (queue.counters().recorded_by_kind(), queue.stats());
        let (refused, lost) = (refused(&stats), lost(&stats));
        let now = queue.fill();
        let (least, most) = self.fill.replace((now, now)).unwrap_or_default();
        let mut delta = offered;
        delta.iter_mut().zip(self.offered).for_each(|(now, before)| *now -= before);
        let was_full = refused > self.refused;
        let Range { least: least_backlog, most: most_backlog, last } = self.backlog;
        self.backlog = Range { least: last, most: last, last };
        let health = Health {
            offered: delta,
            refused: refused - self.refused,
            lost: lost - self.lost,
            least_fill: least,
            most_fill: if was_full { 1.0 } else { most },
            least_backlog,
            most_backlog,
            succeeded: std::mem::take(&mut self.succeeded),
            failed: std::mem::take(&mut self.failed),
        };
        (self.offered, self.refused, self.lost) = (offered, refused, lost);
        health
    }
}

fn refused(stats: &Stats) -> u64 {
    stats.dropped.queue_full + stats.dropped.queue_bytes
}

/// A shutdown is the last thing that happens: what is lost in it, no report can tell any more.
fn lost(stats: &Stats) -> u64 {
    stats.rejected + stats.dropped.unencodable + stats.dropped.too_large + stats.dropped.outcome_unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pipeline::{DropReason, FailureCause, Rejection},
        record::{Event, MetricsRecord},
    };

    fn event() -> Event {
        Event::Metrics(Box::new(MetricsRecord {
            timestamp: 0,
            samples: Vec::new(),
            labels: Vec::new(),
            breakdown: None,
        }))
    }

    // spec: metrics-health.md
    #[test]
    fn health_report_resets_the_counters() {
        let (queue, mut watch) = (Queue::new(4, usize::MAX), Watch::default());
        (0..2).for_each(|_| queue.push(event()));
        watch.look(&queue);
        while queue.pop().is_some() {}
        queue.push(event());
        let health = watch.take(&queue);
        assert_eq!((health.offered, health.refused, health.lost), ([0, 0, 0, 3, 0], 0, 0));
        assert_eq!((health.least_fill, health.most_fill), (0.25, 0.5));

        let health = watch.take(&queue);
        assert_eq!(health, Health { least_fill: 0.25, most_fill: 0.25, ..Health::default() }, "the queue as it is");
    }

    // spec: metrics-health.md
    #[test]
    fn dropped_event_reports_a_full_queue() {
        let (queue, mut watch) = (Queue::new(2, usize::MAX), Watch::default());
        (0..5).for_each(|_| queue.push(event()));
        while queue.pop().is_some() {}
        let health = watch.take(&queue);
        assert_eq!((health.offered[3], health.refused, health.most_fill), (5, 3, 1.0), "though nobody looked then");
        assert_eq!(watch.take(&queue).most_fill, 0.0);
    }

    // spec: metrics-health.md
    #[test]
    fn intentionally_dropped_events_are_not_counted_as_lost() {
        let (queue, mut watch) = (Queue::new(2, usize::MAX), Watch::default());
        let counters = queue.counters();
        for reason in [DropReason::Unsampled, DropReason::Unsupported, DropReason::SendDisabled] {
            counters.dropped(reason, 1);
        }
        assert_eq!(watch.take(&queue), Health::default());
        counters.dropped(DropReason::Unencodable, 1);
        counters.dropped(DropReason::OutcomeUnknown, 2);
        counters.dropped(DropReason::TooLarge, 1);
        counters.rejected(4);
        assert_eq!(watch.take(&queue), Health { lost: 8, ..Health::default() });
    }

    // spec: metrics-health.md
    #[test]
    fn health_report_contains_the_backlog_of_its_interval() {
        let (queue, mut watch) = (Queue::new(2, usize::MAX), Watch::default());
        [0.5, 0.75, 0.25].into_iter().for_each(|fill| watch.look_at_backlog(fill));
        let health = watch.take(&queue);
        assert_eq!((health.least_backlog, health.most_backlog), (0.0, 0.75));
        watch.look_at_backlog(0.5);
        let health = watch.take(&queue);
        assert_eq!((health.least_backlog, health.most_backlog), (0.25, 0.5));
    }

    // spec: metrics-health.md
    #[test]
    fn each_delivery_attempt_counts_as_a_request() {
        let (queue, mut watch) = (Queue::new(2, usize::MAX), Watch::default());
        let reasons = vec![Rejection { message: "no".to_owned() }];
        let failed = Delivery::Failed { reason: "refused".to_owned(), cause: FailureCause::NoAnswer };
        for delivery in [
            failed,
            Delivery::Partly { accepted: 1, rejected: 0, reasons: Vec::new(), retry_after: None },
            Delivery::OutcomeUnknown { accepted: 1, rejected: 0, reasons: Vec::new(), retry_after: None },
            Delivery::Decided { rejected: 1, reasons: reasons.clone() },
            // a 400 that refuses nothing
            Delivery::Decided { rejected: 0, reasons },
        ] {
            watch.attempted(Some(10), &delivery);
        }
        watch.attempted(Some(7), &Delivery::Decided { rejected: 0, reasons: Vec::new() });
        watch.attempted(None, &Delivery::Front { events: 1, rejected: 0, reasons: Vec::new() });
        watch.attempted(Some(99), &Delivery::Disabled);
        let health = watch.take(&queue);
        assert_eq!(health.failed, Requests { count: 5, bytes: 50 });
        assert_eq!(health.succeeded, Requests { count: 2, bytes: 7 });
        assert_eq!(watch.take(&queue).failed, Requests::default());
    }
}
