//! The requests that a batch is sent in: first the spans, then metrics and log lines.

use std::{io, ops::Range, sync::Arc, time::Duration};

use opentelemetry_proto::{
    tonic::{
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            trace::v1::ExportTraceServiceRequest,
        },
        common::v1::InstrumentationScope,
        resource::v1::Resource as Message,
    },
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{Resource as OtelResource, trace::SpanData};
use prost::Message as _;

use super::{
    answer,
    batch::{Body, Contents},
    deliver::{self, AFTER_SPANS, ALONE, AS_COPY},
    divide::Refused,
    grpc::Grpc,
    http::Http,
    pause::Pauses,
    project,
    resource::resource as projected,
    signal::{Payload, Sender, Signal},
};
use crate::{
    apm_server::ServerSettings,
    config::{Config, OtlpProtocol},
    error::BuildError,
    pipeline::{Delivery, Rejection},
    record::Resource,
};

/// Sends the parts of batches, each attempt with a clone of it.
#[derive(Clone)]
pub(super) struct Requests {
    transport: Transport,
    resource: Arc<OtelResource>,
    sender: Sender,
    pauses: Arc<Pauses>,
}

#[derive(Clone)]
enum Transport {
    Http(Http),
    Grpc(Grpc),
}

impl Transport {
    async fn export(self, resource: &OtelResource, spans: Vec<SpanData>, events: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.export(resource, spans, events).await,
            Transport::Grpc(grpc) => {
                let resource_spans = group_spans_by_resource_and_scope(spans, &resource.into());
                grpc.traces(ExportTraceServiceRequest { resource_spans }, events).await
            }
        }
    }

    async fn metrics(self, request: ExportMetricsServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.post(Signal::Metrics, request.encode_to_vec(), parts).await,
            Transport::Grpc(grpc) => grpc.metrics(request, parts).await,
        }
    }

    async fn logs(self, request: ExportLogsServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        match self {
            Transport::Http(http) => http.post(Signal::Logs, request.encode_to_vec(), parts).await,
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

impl Requests {
    pub(super) fn new(settings: &ServerSettings, config: &Config, resource: &Resource) -> Result<Self, BuildError> {
        let transport = match config.otlp_protocol {
            OtlpProtocol::HttpProtobuf => Transport::Http(Http::new(settings, config)?),
            OtlpProtocol::Grpc => Transport::Grpc(Grpc::new(settings)?),
        };
        let (resource, sender) = who(resource);
        Ok(Self { transport, resource, sender, pauses: Arc::default() })
    }

    pub(super) fn describe(&mut self, resource: &Resource) {
        (self.resource, self.sender) = who(resource);
    }

    /// None of this kind is sent now.
    pub(super) fn is_paused(&self, kind: Signal) -> bool {
        self.pauses.is_paused(kind)
    }

    /// One attempt: the spans, or where there are none what is beside them.
    pub(super) async fn send(self, body: Body, weights: Arc<[u64]>) -> Delivery {
        let contents = match body.contents() {
            Ok(contents) => contents,
            Err(error) => return unreadable(&weights, &error),
        };
        let delivery = match contents.spans().is_empty() {
            false => self.spans(&contents, &weights).await,
            true if contents.follows_spans() => self.beside(&contents, &weights, AFTER_SPANS).await,
            true => self.beside(&contents, &weights, ALONE).await,
        };
        delivery.map_words(|words| self.transport.hide_in(words))
    }

    /// One attempt at all of it.
    pub(super) async fn send_whole(self, body: Body, weights: Arc<[u64]>) -> Delivery {
        let contents = match body.contents() {
            Ok(contents) => contents,
            Err(error) => return unreadable(&weights, &error),
        };
        let delivery = match contents.spans().is_empty() {
            false => match self.spans(&contents, &weights).await {
                Delivery::Front { rejected, reasons, .. } => {
                    let (rest, gone) = contents.after_spans();
                    let weights = weights.get(gone..).unwrap_or_default();
                    after(rejected, reasons, self.beside(&rest, weights, AS_COPY).await)
                }
                other => other,
            },
            true => self.beside(&contents, &weights, AS_COPY).await,
        };
        delivery.map_words(|words| self.transport.hide_in(words))
    }

    /// Whether the server is there.
    pub(super) async fn probe(self) -> bool {
        match &self.transport {
            Transport::Http(http) => http.probe().await,
            Transport::Grpc(grpc) => grpc.probe().await,
        }
    }

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

/// A batch that was packed and cannot be unpacked, which is a fault of this crate.
fn unreadable(weights: &[u64], error: &io::Error) -> Delivery {
    let message = format!("a batch of the backlog cannot be read: {error}");
    Delivery::Decided { rejected: weights.iter().sum(), reasons: vec![Rejection { message }] }
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

fn who(resource: &Resource) -> (Arc<OtelResource>, Sender) {
    let projected = projected(resource);
    let attributes = ResourceAttributesWithSchema::from(&projected).attributes.0;
    let name = resource.framework.unwrap_or(project::SCOPE).to_owned();
    let sender = Sender {
        resource: Message { attributes, ..Message::default() },
        scope: InstrumentationScope { name, ..InstrumentationScope::default() },
    };
    (Arc::new(projected), sender)
}
