//! Metrics of the service: where the time of transactions goes, the processor, the memory, the Tokio runtime, and the
//! agent's own health (agent-spec 10).
//!
//! Everything here runs on the worker's thread, but for what comes from OpenTelemetry's SDK, on its reader's.

mod breakdown;
mod cgroup;
mod health;
#[cfg(feature = "sdk")]
mod otel;
mod overhead;
mod process;
mod runtime;
mod system;

use std::{borrow::Cow, sync::Arc};

#[cfg(feature = "sdk")]
pub use self::otel::{ApmMeterProvider, ApmMetricExporter};
use self::{breakdown::Breakdowns, overhead::Overhead, runtime::Runtime, system::CpuTimes};
use crate::{
    config::Config,
    pipeline::{Health, MetricSource},
    record::{Label, LabelValue, MetricsRecord, Monotonic, Sample, TransactionRecord},
    transaction::Recorder,
};

/// The metrics of one agent.
#[derive(Debug)]
pub(crate) struct Metrics {
    recorder: Arc<Recorder>,
    breakdowns: Breakdowns,
    cpu: Option<CpuTimes>,
    overhead: Overhead,
    runtime: Runtime,
}

type Named = (Cow<'static, str>, Sample);

impl Metrics {
    /// Takes the first readings, which later ones are compared with.
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self {
            recorder,
            breakdowns: Breakdowns::default(),
            cpu: CpuTimes::read(),
            overhead: Overhead::default(),
            runtime: Runtime::default(),
        }
    }

    /// Returns the available metrics of the processor, the memory and the runtime, and the load of the agent's own
    /// thread if its option is on.
    fn host(&mut self, config: &Config) -> [Option<MetricsRecord>; 3] {
        let now = CpuTimes::read();
        let both = now.zip(self.cpu);
        let cpu = both.map(|(now, before)| now.since(before));
        let overhead = both.filter(|_| config.agent_background_overhead_metrics);
        // the one group that `disable_metrics` says nothing of: it has an option of its own
        let overhead = overhead.map(|(now, before)| self.overhead.read(now, before));
        self.cpu = now.or(self.cpu);
        let runtime = self.recorder.runtime().map(|runtime| self.runtime.read(runtime)).unwrap_or_default();
        let samples = [cpu.unwrap_or_default(), system::memory(), process::memory(), cgroup::memory()];
        let samples = wanted(samples.into_iter().flatten(), config);
        [
            labelled(Vec::new(), samples),
            // a separate set, because a name that the server does not know moves the whole set to another data stream
            labelled(Vec::new(), wanted(runtime, config)),
            labelled(vec![text("task", overhead::TASK)], overhead.unwrap_or_default()),
        ]
    }
}

impl MetricSource for Metrics {
    fn observe(&mut self, transaction: &TransactionRecord) {
        self.breakdowns.add(transaction);
    }

    fn collect(&mut self, health: &Health) -> Vec<MetricsRecord> {
        let config = self.recorder.snapshot();
        let host = self.host(&config);
        let breakdowns = self.breakdowns.take();
        if !are_sent(&config) {
            return Vec::new();
        }
        let breakdowns = breakdowns.filter_map(|(breakdown, samples)| {
            let samples = wanted(samples, &config);
            let breakdown = Some(Box::new(breakdown));
            (!samples.is_empty()).then(|| MetricsRecord { samples, breakdown, ..record() })
        });
        let health = health::samples(health).into_iter();
        let health = health.filter_map(|(label, samples)| labelled(vec![label], wanted(samples, &config)));
        host.into_iter().flatten().chain(breakdowns).chain(health).collect()
    }
}

/// Whether there is an exporter for metrics at all, and somebody who wants them: no option that can change while the
/// service runs says so.
pub(crate) fn can_be_sent(config: &Config) -> bool {
    !config.metrics_interval.is_zero() && !config.sends_spans_only() && !config.disable_send
}

/// Whether metrics are sent now.
fn are_sent(config: &Config) -> bool {
    can_be_sent(config) && config.enabled && config.recording && !config.context_propagation_only
}

/// Without those that `disable_metrics` names.
fn wanted(samples: impl IntoIterator<Item = Named>, config: &Config) -> Vec<Named> {
    let is_disabled = |name: &str| config.disable_metrics.iter().any(|pattern| pattern.matches(name));
    samples.into_iter().filter(|(name, _)| !is_disabled(name)).collect()
}

/// None without a sample.
fn labelled(labels: Vec<Label>, samples: Vec<Named>) -> Option<MetricsRecord> {
    (!samples.is_empty()).then(|| MetricsRecord { samples, labels, ..record() })
}

fn text(key: &'static str, value: &'static str) -> Label {
    Label { key: key.into(), value: LabelValue::Text(value.into()) }
}

fn record() -> MetricsRecord {
    let timestamp = Monotonic::now().wall_micros();
    MetricsRecord { timestamp, samples: Vec::new(), labels: Vec::new(), breakdown: None }
}

fn gauge(name: &'static str, value: f64) -> Named {
    (Cow::Borrowed(name), Sample::Gauge(value))
}

/// What was added since the last report.
fn counter(name: &'static str, value: u64) -> Named {
    (Cow::Borrowed(name), Sample::Counter(value as f64))
}

/// A file of the kernel's; None where there is none.
fn kernel(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number in a line such as `MemTotal:  24602136 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
