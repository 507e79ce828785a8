//! The exporter itself: maps, projects and sends.

use std::{future::Future, ops::Range, sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_proto::{
    tonic::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
        common::v1::InstrumentationScope,
        resource::v1::Resource as Message,
    },
    transform::common::tonic::ResourceAttributesWithSchema,
};
use opentelemetry_sdk::{Resource as OtelResource, trace::SpanData};
use prost::Message as _;

use super::{
    answer,
    batch::{Contents, OpenBatch, OtlpBatch},
    deliver::{self, AFTER_SPANS, ALONE, AS_COPY},
    divide::Refused,
    grpc::Grpc,
    http::Http,
    messages,
    pause::Pauses,
    project,
    resource::resource as projected,
    signal::{Beside, Payload, Sender},
};
use crate::{
    apm_server::ServerSettings,
    config::{Config, LiveConfig, OtlpProtocol},
    error::BuildError,
    intake::{self, Traps},
    pipeline::{Added, Delivery, Exporter, Losses, Rejection},
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
    sender: Sender,
    /// OTLP has no place for anything but spans.
    spans_only: bool,
    pauses: Arc<Pauses>,
    /// Sets of metrics so far.
    sets: u64,
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
        let projected = projected(resource);
        Ok(Self {
            transport,
            sender: sender(&projected, resource.framework),
            resource: Arc::new(projected),
            spans_only: config.otlp_endpoint.as_ref().is_some_and(|endpoint| endpoint.is_of_traces),
            pauses: Arc::default(),
            sets: 0,
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

    fn sending(&self) -> Sending {
        Sending {
            transport: self.transport.clone(),
            resource: self.resource.clone(),
            sender: self.sender.clone(),
            pauses: self.pauses.clone(),
        }
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
        let projected = projected(resource);
        self.sender = sender(&projected, resource.framework);
        self.resource = Arc::new(projected);
        self.framework = resource.framework;
    }

    fn add(&mut self, event: Event) -> Result<Added, String> {
        self.refresh();
        let Self { sanitizer, config, traps, lost_values, open, framework, pauses, sets, .. } = self;
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
            // where the time of transactions goes has no place in OTLP
            Event::Metrics(record) if record.breakdown.is_some() => return Ok(Added::Unsupported),
            Event::Metrics(_) | Event::Log(_) if self.spans_only => return Ok(Added::Unsupported),
            Event::Metrics(_) if pauses.is_paused(Beside::Metrics) => return Ok(Added::Paused),
            Event::Log(_) if pauses.is_paused(Beside::Logs) => return Ok(Added::Paused),
            Event::Metrics(mut record) => {
                traps.metrics(&mut record);
                let metrics = messages::metrics(&record, sets, &config.disable_metrics);
                if metrics.is_empty() {
                    return Err("a metricset holds no sample that the server takes".to_owned());
                }
                traps.labels(&record.labels);
                traps.tags(&intake::tags(&record.labels));
                open.add_metrics(metrics);
            }
            Event::Log(record) => {
                let told = intake::log(&record, &config.service_name, sanitizer.max_characters());
                traps.labels(&record.labels);
                traps.tags(&told.labels);
                open.add_line(messages::line(&told));
            }
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
        let (sending, contents, weights) = (self.sending(), batch.contents.clone(), batch.weights.clone());
        async move {
            let delivery = match contents.spans().is_empty() {
                false => sending.spans(&contents, &weights).await,
                true if contents.follows_spans() => sending.beside(&contents, &weights, AFTER_SPANS).await,
                true => sending.beside(&contents, &weights, ALONE).await,
            };
            delivery.map_words(|words| sending.transport.hide_in(words))
        }
    }

    fn send_whole(&self, batch: &OtlpBatch) -> impl Future<Output = Delivery> + Send + 'static {
        let (sending, contents, weights) = (self.sending(), batch.contents.clone(), batch.weights.clone());
        async move {
            let delivery = match contents.spans().is_empty() {
                false => match sending.spans(&contents, &weights).await {
                    Delivery::Front { rejected, reasons, .. } => {
                        let (rest, gone) = contents.after_spans();
                        let weights = weights.get(gone..).unwrap_or_default();
                        after(rejected, reasons, sending.beside(&rest, weights, AS_COPY).await)
                    }
                    other => other,
                },
                true => sending.beside(&contents, &weights, AS_COPY).await,
            };
            delivery.map_words(|words| sending.transport.hide_in(words))
        }
    }
}

/// What has become of a batch of which the first part was decided on before.
fn after(before: u64, mut first: Vec<Rejection>, rest: Delivery) -> Delivery {
    match rest {
        Delivery::Decided { rejected, reasons } => {
            first.extend(reasons);
            Delivery::Decided { rejected: before + rejected, reasons: first }
        }
        Delivery::GivenUp { rejected, given_up, reasons, why } => {
            first.extend(reasons);
            Delivery::GivenUp { rejected: before + rejected, given_up, reasons: first, why }
        }
        other => other,
    }
}

/// One attempt: what it needs of the exporter.
struct Sending {
    transport: Transport,
    resource: Arc<OtelResource>,
    sender: Sender,
    pauses: Arc<Pauses>,
}

impl Sending {
    async fn spans(&self, contents: &Contents, weights: &[u64]) -> Delivery {
        deliver::spans(contents, weights, |part, events| self.part(contents, part, events)).await
    }

    async fn beside(&self, contents: &Contents, weights: &[u64], limit: Duration) -> Delivery {
        let send = |part, events| self.part(contents, part, events);
        // a request without spans: a server that takes it would take some
        let takes_spans = || async {
            let asked = self.transport.clone().export(&self.resource, Vec::new(), 0);
            let answer = tokio::time::timeout(ALONE, asked).await;
            matches!(answer, Ok(Err(_) | Ok(Delivery::Decided { .. })))
        };
        deliver::beside(contents, weights, &self.pauses, limit, send, takes_spans).await
    }

    async fn part(&self, contents: &Contents, part: Range<usize>, events: u64) -> Result<Delivery, Refused> {
        let (parts, transport) = (part.len() as u64, self.transport.clone());
        match contents.payload(part) {
            Payload::Traces(spans) => transport.export(&self.resource, spans, events).await,
            Payload::Metrics(metrics) => {
                let answer = transport.metrics(self.sender.clone().metrics(metrics), parts).await;
                answer::of_points(answer, parts, events)
            }
            Payload::Logs(lines) => transport.logs(self.sender.clone().logs(lines), parts).await,
        }
    }
}

/// Negative: all.
fn frames_limit(config: &Config) -> usize {
    usize::try_from(config.stack_trace_limit).unwrap_or(usize::MAX)
}

fn sender(resource: &OtelResource, framework: Option<&'static str>) -> Sender {
    let attributes = ResourceAttributesWithSchema::from(resource).attributes.0;
    Sender {
        resource: Message { attributes, ..Message::default() },
        scope: InstrumentationScope {
            name: framework.unwrap_or(project::SCOPE).to_owned(),
            ..InstrumentationScope::default()
        },
    }
}

impl Transport {
    async fn export(self, resource: &OtelResource, spans: Vec<SpanData>, events: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.export(resource, spans, events).await,
            Transport::Grpc(grpc) => grpc.export(resource, spans).await,
        }
    }

    async fn metrics(self, request: ExportMetricsServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.post(Beside::Metrics, request.encode_to_vec(), parts).await,
            Transport::Grpc(grpc) => grpc.metrics(request, parts).await,
        }
    }

    async fn logs(self, request: ExportLogsServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.post(Beside::Logs, request.encode_to_vec(), parts).await,
            Transport::Grpc(grpc) => grpc.logs(request, parts).await,
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
