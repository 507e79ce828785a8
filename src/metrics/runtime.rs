//! Metrics of the Tokio runtime that serves requests, as far as Tokio measures them without `tokio_unstable`.

use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeMetrics};

use super::{Named, counter, gauge};

/// Values that are compared with those of the next report.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    /// The time in which workers ran tasks, summed up over all workers.
    busy: Duration,
    /// How often workers went to sleep because there was nothing to do.
    parked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Runtime {
    last: Option<Reading>,
}

impl Runtime {
    /// Returns the metrics since the last report. The first report has no times and counts.
    pub(super) fn read(&mut self, runtime: &Handle) -> Vec<Named> {
        let metrics = runtime.metrics();
        let workers = metrics.num_workers();
        let mut samples = vec![
            gauge("tokio.workers.count", workers as f64),
            gauge("tokio.tasks.alive", metrics.num_alive_tasks() as f64),
            gauge("tokio.global_queue.depth", metrics.global_queue_depth() as f64),
        ];
        if let Some(now) = reading(&metrics) {
            samples.extend(self.last.replace(now).into_iter().flat_map(|last| since(last, now, workers)));
        }
        samples
    }
}

/// Reads the counters that Tokio provides only on platforms with 64-bit atomics.
#[cfg(target_has_atomic = "64")]
fn reading(metrics: &RuntimeMetrics) -> Option<Reading> {
    let workers = 0..metrics.num_workers();
    Some(Reading {
        at: Instant::now(),
        busy: workers.clone().map(|worker| metrics.worker_total_busy_duration(worker)).sum(),
        parked: workers.map(|worker| metrics.worker_park_count(worker)).sum(),
    })
}

#[cfg(not(target_has_atomic = "64"))]
fn reading(_: &RuntimeMetrics) -> Option<Reading> {
    None
}

fn since(last: Reading, now: Reading, workers: usize) -> [Named; 2] {
    let available = now.at.saturating_duration_since(last.at).as_secs_f64() * workers as f64;
    let busy = now.busy.saturating_sub(last.busy).as_secs_f64();
    // a worker adds the time of a long turn at its end
    let share = if available > 0.0 { (busy / available).min(1.0) } else { 0.0 };
    [
        gauge("tokio.workers.busy.pct", share),
        counter("tokio.workers.park.count", now.parked.saturating_sub(last.parked)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_share_of_workers_is_between_0_and_1() {
        let at = Instant::now();
        let first = Reading { at, busy: Duration::from_secs(10), parked: 5 };
        let after = |seconds, busy, parked| Reading {
            at: at + Duration::from_secs(seconds),
            busy: Duration::from_secs(busy),
            parked,
        };
        let samples =
            |share, parked| [gauge("tokio.workers.busy.pct", share), counter("tokio.workers.park.count", parked)];
        assert_eq!(since(first, after(4, 12, 9), 2), samples(0.25, 4));
        assert_eq!(since(first, after(1, 100, 5), 2), samples(1.0, 0), "a long turn");
        assert_eq!(since(first, first, 2), samples(0.0, 0), "no time has passed");
    }

    #[test]
    fn first_report_has_no_times_and_counts() {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let mut runtime = Runtime::default();
        let first = runtime.read(tokio.handle());
        let names: Vec<_> = first.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["tokio.workers.count", "tokio.tasks.alive", "tokio.global_queue.depth"]);
        assert_eq!(first[0], gauge("tokio.workers.count", 2.0));
        assert_eq!(runtime.read(tokio.handle()).len(), 5);
    }
}
