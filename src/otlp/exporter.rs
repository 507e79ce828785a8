//! The exporter itself: maps, projects and sends.

use std::{future::Future, ops::Range, sync::Arc};

use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource as OtelResource, trace::SpanData};

use super::{
    batch::{OpenBatch, OtlpBatch},
    divide::{self, Refused},
    grpc::Grpc,
    http::Http,
    project,
    resource::resource as projected,
};
use crate::{
    apm_server::ServerSettings,
    config::{Config, LiveConfig, OtlpProtocol},
    error::BuildError,
    intake::{self, Traps},
    pipeline::{Added, Delivery, Exporter, Losses},
    record::{Context, Event, Resource},
    sanitize::Sanitizer,
    stack,
};

/// Bytes of a batch, uncompressed: a gRPC server takes 4 MiB, and the last event of a batch comes on top.
const MAX_BATCH: usize = 2 * 1024 * 1024;

/// Tells events to an APM Server or a Collector.
pub(crate) struct OtlpExporter {
    transport: Transport,
    resource: Arc<OtelResource>,
    framework: Option<&'static str>,
    live: LiveConfig,
    /// The options that `sanitizer` was made from.
    config: Arc<Config>,
    sanitizer: Sanitizer,
    traps: Traps,
    /// Values left out since they were last asked for.
    lost_values: u64,
    open: OpenBatch,
    limit: usize,
}

#[derive(Clone)]
enum Transport {
    Http(Http),
    Grpc(Grpc),
}

impl OtlpExporter {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// Names the option that cannot be used. That the server cannot be reached is none.
    pub(crate) fn new(live: LiveConfig, gzip: Option<bool>, resource: &Resource) -> Result<Self, BuildError> {
        let config = live.snapshot();
        let settings = ServerSettings::for_otlp(&config, gzip);
        let transport = match config.otlp_protocol {
            OtlpProtocol::HttpProtobuf => Transport::Http(Http::new(&settings, &config)?),
            OtlpProtocol::Grpc => Transport::Grpc(Grpc::new(&settings)?),
        };
        let mut traps = Traps::default();
        traps.global_labels(&resource.labels);
        Ok(Self {
            transport,
            resource: Arc::new(projected(resource)),
            framework: resource.framework,
            live,
            sanitizer: Sanitizer::of(&config),
            traps,
            lost_values: 0,
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
        self.resource = Arc::new(projected(resource));
        self.framework = resource.framework;
    }

    fn add(&mut self, event: Event) -> Result<Added, String> {
        self.refresh();
        let Self { sanitizer, traps, lost_values, open, framework, .. } = self;
        match event {
            // OTLP tells sampled ones only
            Event::Transaction(record) if !record.sampled => return Ok(Added::Unwanted),
            Event::Transaction(record) => {
                let told = intake::transaction(&record, sanitizer);
                let span = project::transaction(&record, &told, *framework);
                watch(traps, &record.context, &span.attributes);
                *lost_values += u64::from(span.dropped_attributes_count);
                open.add_span((record.trace_id, record.id), span);
            }
            Event::Span(mut record) => {
                let frames = intake::frames(&mut record, frames_limit(&self.config));
                let told = intake::span(&record, &frames, sanitizer);
                let span = project::span(&record, &told, *framework);
                traps.attributes(&span.attributes);
                open.add_span((record.trace_id, record.id), span);
            }
            Event::Error(mut record) => {
                let stack = record.exception.as_mut().map(|exception| std::mem::take(&mut exception.stack));
                let frames = stack::resolve(stack.unwrap_or_default(), frames_limit(&self.config));
                let told = project::error(&record, &frames, sanitizer);
                watch(traps, &record.context, &told.attributes);
                *lost_values += u64::from(told.dropped_attributes_count);
                open.add_error(record.parent.as_ref(), record.timestamp, told);
            }
            // the SDK lets nobody but itself make what its exporters of metrics take
            Event::Metrics(_) | Event::Log(_) => return Ok(Added::Unsupported),
        }
        Ok(Added::Taken)
    }

    fn losses(&mut self) -> Losses {
        Losses { keys: self.traps.take_lost_keys(), values: std::mem::take(&mut self.lost_values), ..Losses::default() }
    }

    fn is_full(&self) -> bool {
        self.open.size() >= self.limit
    }

    fn close(&mut self) -> Option<OtlpBatch> {
        self.open.close(self.framework)
    }

    fn send(&self, batch: &OtlpBatch) -> impl Future<Output = Delivery> + Send + 'static {
        let (transport, resource) = (self.transport.clone(), self.resource.clone());
        let (spans, weights) = (batch.spans.clone(), batch.weights.clone());
        async move {
            let send = |piece: Range<usize>, events| {
                let spans = spans.get(piece).unwrap_or_default().to_vec();
                transport.clone().export(resource.clone(), spans, events)
            };
            let delivery = divide::deliver(&weights, send).await;
            delivery.map_words(|words| transport.hide_in(words))
        }
    }
}

/// Negative: all.
fn frames_limit(config: &Config) -> usize {
    usize::try_from(config.stack_trace_limit).unwrap_or(usize::MAX)
}

impl Transport {
    async fn export(self, resource: Arc<OtelResource>, spans: Vec<SpanData>, events: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.export(&resource, spans, events).await,
            Transport::Grpc(grpc) => grpc.export(&resource, spans).await,
        }
    }

    fn hide_in(&self, words: &str) -> String {
        match self {
            Transport::Http(http) => http.hide_in(words),
            Transport::Grpc(grpc) => grpc.hide_in(words),
        }
    }
}

/// Labels are also what was made of users, custom context and headers.
fn watch(traps: &mut Traps, record: &Context, attributes: &[KeyValue]) {
    traps.labels(&record.labels);
    traps.custom(&record.custom);
    traps.attributes(attributes);
}

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
