//! OTLP over HTTP: `opentelemetry-otlp`'s exporter, with our client below it.

use std::{
    future::Future,
    io::Write,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};

use super::{
    answer,
    divide::Refused,
    signal::Signal,
    wire::{compression, user_agent},
};
use crate::{
    apm_server::{Answer, ServerClient, ServerSettings},
    config::Config,
    error::BuildError,
    pipeline::{Delivery, FailureCause},
};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Where the exporter believes to send; the client below it knows better. Nothing of it reaches the wire.
const NOWHERE: &str = "http://otlp.invalid/v1/traces";

/// Sends batches over HTTP. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http {
    client: ServerClient,
    path: &'static str,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(settings: &ServerSettings, config: &Config) -> Result<Self, BuildError> {
        Ok(Self {
            client: ServerClient::new(settings)?,
            path: if config.otlp_is_of_traces() { "" } else { "/v1/traces" },
            timeout: settings.server_timeout,
        })
    }

    /// One attempt with what the exporter cannot be given: a message of so many parts.
    pub(super) async fn post(self, kind: Signal, message: Vec<u8>, parts: u64) -> Result<Delivery, Refused> {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, PROTOBUF)]);
        let body = if self.client.gzip() {
            headers.insert(CONTENT_ENCODING, GZIP);
            compressed(&message)
        } else {
            message
        };
        match self.client.post_with(kind.path(), self::headers(&headers), body.into()).await {
            Err(reason) => Ok(Delivery::Failed { reason, cause: FailureCause::NoAnswer }),
            Ok(answer) => answer::of_http(&self.without_wait_for_others(answer), parts),
        }
    }

    /// One attempt.
    pub(super) async fn export(
        self,
        resource: &Resource,
        spans: Vec<SpanData>,
        events: u64,
    ) -> Result<Delivery, Refused> {
        let wire = Arc::new(Wire { http: self.clone(), answer: Mutex::default() });
        let failure = match exporter(wire.clone(), resource) {
            Ok(exporter) => exporter.export(spans).await.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        // the exporter hides what came back
        match (wire.answer(), failure) {
            (Some(Ok(answer)), _) => answer::of_http(&self.without_wait_for_others(answer), events),
            (Some(Err(reason)), _) => Ok(Delivery::Failed { reason, cause: FailureCause::NoAnswer }),
            (None, Some(reason)) => Ok(Delivery::Failed { reason, cause: FailureCause::ServerError }),
            (None, None) => {
                let reason = "OTLP was not sent".to_owned();
                Ok(Delivery::Failed { reason, cause: FailureCause::ServerError })
            }
        }
    }

    pub(super) async fn probe(&self) -> bool {
        self.client.probe().await
    }

    /// Removes the `Retry-After` wait if the next attempt goes to another server.
    fn without_wait_for_others(&self, mut answer: Answer) -> Answer {
        if self.client.has_several() {
            answer.headers.remove(RETRY_AFTER);
        }
        answer
    }

    pub(super) fn hide_in(&self, text: &str) -> String {
        self.client.hide_in(text)
    }
}

fn exporter(wire: Arc<Wire>, resource: &Resource) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(NOWHERE)
        .with_timeout(wire.http.timeout)
        // the worker does that
        .with_retry_policy(RetryPolicy::default().with_max_retries(0));
    let builder = match compression(wire.http.client.gzip()) {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    };
    let mut exporter = builder.with_shared_http_client(wire).build()?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Carries one request, and remembers what came back.
struct Wire {
    http: Http,
    answer: Mutex<Option<Result<Answer, String>>>,
}

impl Wire {
    fn answer(&self) -> Option<Result<Answer, String>> {
        self.answer.lock().map_or(None, |mut answer| answer.take())
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    // what `#[async_trait]` would make of an `async fn`
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        Self: 'async_trait,
        'life0: 'async_trait,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let sent = self.http.client.post_with(self.http.path, headers(&head.headers), body).await;
            let response = match &sent {
                Ok(answer) => {
                    let body = Bytes::copy_from_slice(&answer.body);
                    Response::builder().status(answer.status).body(body).map_err(HttpError::from)
                }
                Err(reason) => Err(reason.as_str().into()),
            };
            if let Ok(mut answer) = self.answer.lock() {
                *answer = Some(sent);
            }
            response
        })
    }
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // memory does not fail
    encoder.write_all(message).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Of the exporter's headers those that describe the body: others come out of the process's environment, which is not
/// where this agent has its options from.
fn headers(theirs: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = theirs.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let their_agent = theirs.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(agent) = HeaderValue::try_from(user_agent(their_agent)) {
        headers.insert(USER_AGENT, agent);
    }
    headers
}
