//! Metrics that the worker collects.

use super::*;

/// So many metric sets at each call; None: it is broken.
struct Gauges(Option<usize>);

impl MetricSource for Gauges {
    fn observe(&mut self, _: &TransactionRecord) {}

    fn collect(&mut self, _: &Health) -> Vec<MetricsRecord> {
        let metrics = |_| MetricsRecord { timestamp: 0, samples: Vec::new(), labels: Vec::new(), breakdown: None };
        (0..self.0.expect("it works")).map(metrics).collect()
    }
}

fn measuring(gauges: Option<usize>, interval: Duration) -> Option<Measuring> {
    Some(Measuring::new(Gauges(gauges), interval))
}

#[test]
fn shutdown_sends_the_last_metrics() {
    for preparing in [None, Some(Box::pin(std::future::pending()) as Preparing)] {
        let rig = Rig::with(100, [], preparing, measuring(Some(2), FOREVER));
        rig.record(3);
        block_on(rig.worker.shutdown(Duration::from_secs(1))).unwrap();
        let stats = rig.queue.stats();
        assert_eq!((stats.recorded, stats.accepted, stats.waiting), (5, 5, 0), "{stats}");
    }
}

#[test]
fn metrics_are_collected_each_interval() {
    let rig = Rig::with(1, [], None, measuring(Some(1), Duration::from_millis(1)));
    let began = Instant::now();
    while rig.sent().len() < 3 {
        assert!(began.elapsed() < SOON);
        std::thread::yield_now();
    }
}

/// Keeps the reported health of the worker.
struct Watching(Arc<Mutex<Vec<Health>>>);

impl MetricSource for Watching {
    fn observe(&mut self, _: &TransactionRecord) {}

    fn collect(&mut self, health: &Health) -> Vec<MetricsRecord> {
        self.0.lock().unwrap().push(health.clone());
        Vec::new()
    }
}

// spec: metrics-health.md
#[test]
fn worker_reports_health_metrics() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let rig = Rig::with(100, [failed(false), rejected(1)], None, Some(Measuring::new(Watching(told.clone()), FOREVER)));
    rig.record(3);
    rig.queue.push(event(666));
    block_on(rig.worker.flush(SOON)).unwrap();
    rig.record(2);
    block_on(rig.worker.flush(SOON)).unwrap();
    block_on(rig.worker.shutdown(SOON)).unwrap();
    let told = told.lock().unwrap();
    let [health] = &told[..] else { panic!("{told:?}") };
    assert_eq!((health.offered, health.refused, health.lost), ([0, 0, 0, 6, 0], 0, 2));
    assert_eq!(health.failed, Requests { count: 2, bytes: 600 }, "each attempt counts");
    assert_eq!(health.succeeded, Requests { count: 1, bytes: 200 });
    assert_eq!(health.least_fill, 0.0);
    assert!((1e-4..=4e-4).contains(&health.most_fill), "{health:?}");
}

#[test]
fn panicking_metric_source_does_not_stop_the_worker() {
    let rig = Rig::with(100, [], None, measuring(None, Duration::from_millis(1)));
    rig.record(1);
    block_on(rig.worker.flush(SOON)).unwrap();
    block_on(rig.worker.shutdown(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!((stats.recorded, stats.accepted), (1, 1));
}
