//! The exporter itself: maps, encodes and sends.

use std::{future::Future, sync::Arc};

use http::header::RETRY_AFTER;

use super::{
    answer::delivery,
    encode::{Encoder, IntakeBatch},
};
use crate::{
    apm_server::{ServerClient, ServerVersion},
    config::{Config, LiveConfig},
    elastic::{
        IndexChecks, map,
        model::{self, Line},
    },
    error::BuildError,
    pipeline::{Added, Batch, Delivery, Exporter, FailureCause, Losses},
    record::{Context, Event, Resource},
    sanitize::Sanitizer,
    stack,
};

/// Tells events to an APM Server.
pub(crate) struct IntakeExporter {
    encoder: Encoder,
    client: ServerClient,
    server: ServerVersion,
    live: LiveConfig,
    /// The options that `sanitizer` was made from.
    config: Arc<Config>,
    sanitizer: Sanitizer,
    request_size: usize,
    checks: IndexChecks,
    losses: Losses,
    /// That the server takes no log lines was said.
    told_of_logs: bool,
}

impl IntakeExporter {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// Names the option that cannot be used. That the server cannot be reached is none.
    pub(crate) fn new(
        client: ServerClient,
        server: ServerVersion,
        live: LiveConfig,
        resource: &Resource,
    ) -> Result<Self, BuildError> {
        let encoder = Encoder::new(&metadata(resource, &server), client.gzip());
        let config = live.snapshot();
        let mut checks = IndexChecks::default();
        checks.global_labels(&resource.labels);
        Ok(Self {
            encoder: encoder.map_err(|source| BuildError::Client { source: source.into() })?,
            client,
            server,
            sanitizer: Sanitizer::of(&config),
            live,
            request_size: config.api_request_size,
            config,
            checks,
            losses: Losses::default(),
            told_of_logs: false,
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

impl std::fmt::Debug for IntakeExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntakeExporter").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Exporter for IntakeExporter {
    type Batch = IntakeBatch;

    fn describe(&mut self, resource: &Resource) {
        self.encoder.describe(&metadata(resource, &self.server));
    }

    fn add(&mut self, event: Event) -> Result<Added, String> {
        self.refresh();
        let Self { encoder, sanitizer, checks, .. } = self;
        let added = match event {
            Event::Transaction(record) if !record.sampled && !self.server.takes_unsampled() => {
                return Ok(Added::Unwanted);
            }
            Event::Transaction(record) => {
                let transaction = map::transaction(&record, sanitizer);
                watch(checks, &record.context, transaction.context.as_deref());
                encoder.add(&mut Line::Transaction(transaction))
            }
            Event::Span(mut record) => {
                let frames = map::frames(&mut record, frames_limit(&self.config));
                let span = map::span(&record, &frames, sanitizer);
                span.context.iter().for_each(|context| checks.tags(&context.tags));
                encoder.add(&mut Line::Span(span))
            }
            Event::Error(mut record) => {
                let frames = stack::resolve(record.take_stack(), frames_limit(&self.config));
                let error = map::error(&record, &frames, sanitizer);
                watch(checks, &record.context, error.context.as_deref());
                encoder.add(&mut Line::Error(error))
            }
            Event::Metrics(mut record) => {
                checks.metrics(&mut record);
                match map::metricset(&record, sanitizer) {
                    Some(metricset) => {
                        checks.labels(&record.labels);
                        checks.tags(&metricset.tags);
                        encoder.add(&mut Line::Metricset(metricset))
                    }
                    None => Err("a metricset holds no sample that the server takes".to_owned()),
                }
            }
            Event::Log(_) if !self.server.takes_logs() => {
                if !std::mem::replace(&mut self.told_of_logs, true) {
                    tracing::warn!(target: "tower_apm", "log_sending needs an APM Server from 8.6 on: no lines are sent");
                }
                return Ok(Added::Unsupported);
            }
            Event::Log(record) => {
                let log = map::log(&record, &self.config.service_name, &self.sanitizer);
                checks.labels(&record.labels);
                checks.tags(&log.labels);
                encoder.add(&mut Line::Log(log))
            }
        };
        if let Some(cut) = added? {
            self.losses.truncated += 1;
            self.losses.cut = cut;
        }
        Ok(Added::Taken)
    }

    fn losses(&mut self) -> Losses {
        Losses { keys: self.checks.take_lost_keys(), ..std::mem::take(&mut self.losses) }
    }

    fn is_full(&self) -> bool {
        self.encoder.size() >= self.request_size
    }

    fn close(&mut self) -> Option<IntakeBatch> {
        self.encoder.close()
    }

    fn send(&self, batch: &IntakeBatch) -> impl Future<Output = Delivery> + Send + 'static {
        let client = self.client.clone();
        let ((body, gzip), events) = (batch.request(), batch.events());
        async move {
            match client.post("/intake/v2/events", "application/x-ndjson", body, gzip).await {
                Ok(mut answer) => {
                    // the next attempt goes to another server
                    if client.has_several() {
                        answer.headers.remove(RETRY_AFTER);
                    }
                    delivery(&answer, events).map_words(|words| client.hide_in(words))
                }
                Err(reason) => Delivery::Failed { reason, cause: FailureCause::NoAnswer },
            }
        }
    }

    fn probe(&self) -> impl Future<Output = bool> + Send + 'static {
        let client = self.client.clone();
        async move { client.probe().await }
    }
}

fn metadata<'a>(resource: &'a Resource, server: &ServerVersion) -> Line<'a> {
    let mut metadata = map::metadata(resource);
    if !server.takes_activation_method() {
        metadata.service.agent.activation_method = None;
    }
    Line::Metadata(Box::new(metadata))
}

/// Negative: all.
fn frames_limit(config: &Config) -> usize {
    usize::try_from(config.stack_trace_limit).unwrap_or(usize::MAX)
}

fn watch(checks: &mut IndexChecks, record: &Context, mapped: Option<&model::Context<'_>>) {
    checks.labels(&record.labels);
    checks.custom(&record.custom);
    checks.body(record, mapped);
    mapped.into_iter().for_each(|context| checks.tags(&context.tags));
}
