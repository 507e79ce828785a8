//! The exporter itself: maps, projects and sends.

use std::{future::Future, sync::Arc};

use opentelemetry::KeyValue;

use super::{
    batch::{OpenBatch, OtlpBatch},
    messages, project,
    requests::Requests,
    signal::Signal,
};
use crate::{
    apm_server::ServerSettings,
    config::{Config, LiveConfig},
    elastic::{IndexChecks, map},
    error::BuildError,
    pipeline::{Added, Delivery, Exporter, Losses},
    record::{Context, Event, Resource},
    sanitize::Sanitizer,
    stack,
};

/// Bytes of a batch, uncompressed: a gRPC server takes 4 MiB, and the last event of a batch comes on top.
const MAX_BATCH: usize = 2 * 1024 * 1024;

/// Tells events to an APM Server or a Collector.
pub(crate) struct OtlpExporter {
    requests: Requests,
    /// OTLP has no place for anything but spans.
    spans_only: bool,
    /// Sets of metrics so far.
    sets: u64,
    framework: Option<&'static str>,
    live: LiveConfig,
    /// The options that `sanitizer` was made from.
    config: Arc<Config>,
    sanitizer: Sanitizer,
    checks: IndexChecks,
    /// Values left out since they were last asked for.
    dropped_values: u64,
    open: OpenBatch,
    limit: usize,
}

impl OtlpExporter {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// Names the option that cannot be used. That the server cannot be reached is none.
    pub(crate) fn new(live: LiveConfig, gzip: Option<bool>, resource: &Resource) -> Result<Self, BuildError> {
        let config = live.snapshot();
        let settings = ServerSettings::for_otlp(&config, gzip);
        let requests = Requests::new(&settings, &config, resource)?;
        let mut checks = IndexChecks::default();
        checks.global_labels(&resource.labels);
        Ok(Self {
            requests,
            spans_only: config.otlp_is_of_traces(),
            sets: 0,
            framework: resource.framework,
            live,
            sanitizer: Sanitizer::of(&config),
            checks,
            dropped_values: 0,
            open: OpenBatch::default(),
            limit: config.api_request_size.min(MAX_BATCH),
            config,
        })
    }

    /// Follows a change of the options.
    fn refresh(&mut self) {
        let now = self.live.load();
        if !Arc::ptr_eq(&now, &self.config) {
            self.sanitizer = Sanitizer::of(&now);
            self.config = now.clone();
        }
    }
}

impl std::fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpExporter").finish_non_exhaustive()
    }
}

impl Exporter for OtlpExporter {
    type Batch = OtlpBatch;

    fn describe(&mut self, resource: &Resource) {
        self.requests.describe(resource);
        self.framework = resource.framework;
    }

    fn add(&mut self, event: Event) -> Result<Added, String> {
        self.refresh();
        let Self { sanitizer, config, checks, dropped_values, open, framework, requests, sets, .. } = self;
        match event {
            // OTLP tells sampled ones only
            Event::Transaction(record) if !record.sampled => return Ok(Added::Unwanted),
            Event::Transaction(record) => {
                let told = map::transaction(&record, sanitizer);
                let span = project::transaction(&record, &told, *framework);
                watch(checks, &record.context, &span.attributes);
                *dropped_values += u64::from(span.dropped_attributes_count);
                open.add_span((record.trace_id, record.id), span);
            }
            Event::Span(mut record) => {
                let frames = map::frames(&mut record, frames_limit(&self.config));
                let told = map::span(&record, &frames, sanitizer);
                let span = project::span(&record, &told, *framework);
                checks.attributes(&span.attributes);
                open.add_span((record.trace_id, record.id), span);
            }
            Event::Error(mut record) => {
                let frames = stack::resolve(record.take_stack(), frames_limit(&self.config));
                let told = project::error(&record, &frames, sanitizer);
                watch(checks, &record.context, &told.attributes);
                *dropped_values += u64::from(told.dropped_attributes_count);
                open.add_error(record.parent.as_ref(), record.timestamp, told);
            }
            // where the time of transactions goes has no place in OTLP
            Event::Metrics(record) if record.breakdown.is_some() => return Ok(Added::Unsupported),
            Event::Metrics(_) | Event::Log(_) if self.spans_only => return Ok(Added::Unsupported),
            Event::Metrics(_) if requests.is_paused(Signal::Metrics) => return Ok(Added::Paused),
            Event::Log(_) if requests.is_paused(Signal::Logs) => return Ok(Added::Paused),
            Event::Metrics(mut record) => {
                checks.metrics(&mut record);
                let metrics = messages::metrics(&record, sets, &config.disable_metrics, sanitizer);
                if metrics.is_empty() {
                    return Err("a metricset holds no sample that the server takes".to_owned());
                }
                checks.labels(&record.labels);
                checks.tags(&map::field_tags(&record.labels, sanitizer));
                open.add_metrics(metrics);
            }
            Event::Log(record) => {
                let told = map::log(&record, &config.service_name, sanitizer);
                checks.labels(&record.labels);
                checks.tags(&told.labels);
                open.add_line(messages::line(&told));
            }
        }
        Ok(Added::Taken)
    }

    fn losses(&mut self) -> Losses {
        Losses {
            keys: self.checks.take_lost_keys(),
            values: std::mem::take(&mut self.dropped_values),
            ..Losses::default()
        }
    }

    fn is_full(&self) -> bool {
        self.open.size() >= self.limit
    }

    fn close(&mut self) -> Option<OtlpBatch> {
        self.open.close(self.framework)
    }

    fn send(&self, batch: &OtlpBatch) -> impl Future<Output = Delivery> + Send + 'static {
        self.requests.clone().send(batch.body(), batch.weights.clone())
    }

    fn send_whole(&self, batch: &OtlpBatch) -> impl Future<Output = Delivery> + Send + 'static {
        self.requests.clone().send_whole(batch.body(), batch.weights.clone())
    }

    fn probe(&self) -> impl Future<Output = bool> + Send + 'static {
        self.requests.clone().probe()
    }
}

/// Negative: all.
fn frames_limit(config: &Config) -> usize {
    usize::try_from(config.stack_trace_limit).unwrap_or(usize::MAX)
}

/// Labels are also what was made of users, custom context and headers.
fn watch(checks: &mut IndexChecks, record: &Context, attributes: &[KeyValue]) {
    checks.labels(&record.labels);
    checks.custom(&record.custom);
    checks.attributes(attributes);
}

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
