//! How the agent itself fares: what became of events, how full the queue was, what was sent (agent-spec 10.5).

use super::{Named, counter, gauge, text};
use crate::{
    pipeline::{Health, Requests},
    record::{EventKind, Label, LabelValue},
};

/// Samples under one label. What did not happen is not told.
pub(super) fn samples(health: &Health) -> Vec<(Label, Vec<Named>)> {
    let mut told = Vec::new();
    let mut tell = |label: Label, samples: Vec<Named>| told.push((label, samples));
    for (kind, count) in EventKind::ALL.into_iter().zip(health.offered).filter(|(_, count)| *count > 0) {
        tell(text("event_type", kind.as_str()), vec![counter("agent.events.total", count)]);
    }
    for (reason, count) in [("queue", health.refused), ("error", health.lost)].into_iter().filter(|(_, n)| *n > 0) {
        tell(text("reason", reason), vec![counter("agent.events.dropped", count)]);
    }
    let fill = [
        gauge("agent.events.queue.min_size.pct", health.least_fill),
        gauge("agent.events.queue.max_size.pct", health.most_fill),
    ];
    tell(text("queue_name", "generic"), fill.into());
    if health.most_backlog > 0.0 {
        let fill = [
            gauge("agent.events.queue.min_size.pct", health.least_backlog),
            gauge("agent.events.queue.max_size.pct", health.most_backlog),
        ];
        tell(text("queue_name", "backlog"), fill.into());
    }
    for (success, Requests { count, bytes }) in [(true, health.succeeded), (false, health.failed)] {
        if count > 0 {
            let bytes = (bytes > 0).then(|| counter("agent.events.requests.bytes", bytes));
            let samples = [counter("agent.events.requests.count", count)].into_iter().chain(bytes).collect();
            tell(Label { key: "success".into(), value: LabelValue::Bool(success) }, samples);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(health: &Health) -> Vec<String> {
        let samples = samples(health).into_iter().flat_map(|(label, samples)| {
            let label = format!("{}={:?}", label.key, label.value);
            samples.into_iter().map(move |(name, sample)| format!("{name} {label} {sample:?}"))
        });
        samples.collect()
    }

    // spec: metrics-health.md
    #[test]
    fn health_metrics_have_labels() {
        let health = Health {
            offered: [1, 0, 2, 3, 9],
            refused: 4,
            lost: 5,
            least_fill: 0.25,
            most_fill: 1.0,
            least_backlog: 0.0,
            most_backlog: 0.5,
            succeeded: Requests { count: 6, bytes: 700 },
            failed: Requests { count: 8, bytes: 900 },
        };
        let want = [
            r#"agent.events.total event_type=Text("transaction") Counter(1.0)"#,
            r#"agent.events.total event_type=Text("error") Counter(2.0)"#,
            r#"agent.events.total event_type=Text("metricset") Counter(3.0)"#,
            r#"agent.events.total event_type=Text("log") Counter(9.0)"#,
            r#"agent.events.dropped reason=Text("queue") Counter(4.0)"#,
            r#"agent.events.dropped reason=Text("error") Counter(5.0)"#,
            r#"agent.events.queue.min_size.pct queue_name=Text("generic") Gauge(0.25)"#,
            r#"agent.events.queue.max_size.pct queue_name=Text("generic") Gauge(1.0)"#,
            r#"agent.events.queue.min_size.pct queue_name=Text("backlog") Gauge(0.0)"#,
            r#"agent.events.queue.max_size.pct queue_name=Text("backlog") Gauge(0.5)"#,
            "agent.events.requests.count success=Bool(true) Counter(6.0)",
            "agent.events.requests.bytes success=Bool(true) Counter(700.0)",
            "agent.events.requests.count success=Bool(false) Counter(8.0)",
            "agent.events.requests.bytes success=Bool(false) Counter(900.0)",
        ];
        assert_eq!(told(&health), want);
    }

    // spec: metrics-health.md
    #[test]
    fn health_counters_of_zero_are_not_sent() {
        let want = [
            r#"agent.events.queue.min_size.pct queue_name=Text("generic") Gauge(0.0)"#,
            r#"agent.events.queue.max_size.pct queue_name=Text("generic") Gauge(0.0)"#,
        ];
        assert_eq!(told(&Health::default()), want, "an empty queue is a state, and no event");
    }
}
