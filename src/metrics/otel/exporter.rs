//! The exporter for OpenTelemetry's SDK.

use std::{
    fmt,
    future::{Future, ready},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};

use super::{
    super::are_sent,
    sets::{Sets, Told},
};
use crate::{
    config::LiveConfig,
    pipeline::Queue,
    record::{Event, catch},
};

/// Gives the metrics of an [`SdkMeterProvider`](opentelemetry_sdk::metrics::SdkMeterProvider) to the agent, which sends
/// them with its own events.
///
/// For a service that has a provider with exporters of its own: the metrics come from the one that is there. Others take
/// [`Agent::meter_provider`](crate::Agent::meter_provider). See the guide [`opentelemetry`](crate::docs::opentelemetry)
/// for what becomes of each instrument.
///
/// An export is an offer to the agent's bounded queue: it does not wait, and what finds no place is counted in
/// [`Stats`](crate::Stats). While nothing is recorded (`recording`, `enabled`, `context_propagation_only`,
/// `metrics_interval=0s`), and with an `exporter` that sends no metrics, nothing is offered.
pub struct ApmMetricExporter {
    queue: Queue,
    live: LiveConfig,
    told: Told,
    closed: AtomicBool,
}

impl ApmMetricExporter {
    pub(crate) fn new(queue: Queue, live: LiveConfig) -> Self {
        Self { queue, live, told: Told::default(), closed: AtomicBool::new(false) }
    }

    fn offer(&self, metrics: &ResourceMetrics) {
        let config = self.live.snapshot();
        if !are_sent(&config) {
            return;
        }
        for scope in metrics.scope_metrics() {
            let (records, excess_labels) = Sets::of(scope, &config.disable_metrics, &self.told);
            let counters = self.queue.counters();
            (0..excess_labels).for_each(|_| counters.excess_label());
            records.into_iter().for_each(|record| self.queue.push(Event::Metrics(Box::new(record))));
        }
    }
}

impl PushMetricExporter for ApmMetricExporter {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        ready(if self.closed.load(Relaxed) {
            Err(OTelSdkError::AlreadyShutdown)
        } else {
            // the reader's thread would end with a panic
            catch(|| self.offer(metrics)).ok_or_else(|| OTelSdkError::InternalFailure("a panic".to_owned()))
        })
    }

    /// It holds nothing: [`Agent::flush`](crate::Agent::flush) delivers what was exported.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        match self.closed.swap(true, Relaxed) {
            false => Ok(()),
            true => Err(OTelSdkError::AlreadyShutdown),
        }
    }

    /// Delta, which by OpenTelemetry's rules is cumulative for `UpDownCounter`s.
    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}

impl fmt::Debug for ApmMetricExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApmMetricExporter").field("closed", &self.closed).finish_non_exhaustive()
    }
}
