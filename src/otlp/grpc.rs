//! OTLP over gRPC: `opentelemetry-otlp`'s exporter, with our connections below it.

use std::{
    sync::{Arc, OnceLock},
    task::{self, Poll},
    time::Duration,
};

use http::{
    Uri,
    uri::{Parts, PathAndQuery, Scheme},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::{Context, trace::FutureExt};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use prost::Message;
use tonic::{
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

use super::{
    answer,
    divide::Refused,
    size,
    wire::{compression, user_agent},
};
use crate::{
    apm_server::{ServerSettings, hide},
    config::Secret,
    error::BuildError,
    pipeline::Delivery,
};

/// What a server takes in one message, unless it was told otherwise.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
const USER_AGENT: &str = "user-agent";
const CONNECT: Duration = Duration::from_secs(10);

/// Sends batches over gRPC. Cheap to clone.
#[derive(Clone)]
pub(super) struct Grpc {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    connector: Connector,
    /// Made within the worker's runtime: it runs tasks.
    channel: OnceLock<Channel>,
    metadata: MetadataMap,
    secrets: Arc<[Secret]>,
    timeout: Duration,
    gzip: bool,
}

impl Inner {
    /// Who calls; `theirs` is what the library below says of itself.
    fn metadata_after(&self, theirs: &str) -> MetadataMap {
        let mut metadata = self.metadata.clone();
        if let Ok(agent) = user_agent(theirs).parse() {
            metadata.insert(USER_AGENT, agent);
        }
        metadata
    }
}

impl Grpc {
    pub(super) fn new(settings: &ServerSettings) -> Result<Self, BuildError> {
        let (headers, secrets) = settings.secret_headers().map_err(client_error)?;
        let url = settings.server_url.join("").parse::<Uri>().map_err(client_error)?;
        let origin = bare(&url)?;
        let tls = settings.server_url.is_https();
        // towards tonic it is cleartext: TLS is the connector's, with the same trust as the native way's
        let endpoint = Endpoint::from(with_scheme(origin.clone(), Scheme::HTTP).map_err(client_error)?)
            .origin(origin)
            .timeout(settings.server_timeout)
            .connect_timeout(settings.server_timeout.min(CONNECT));
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(settings.tls()?).https_or_http().enable_http2();
        let connector = Connector { https: https.wrap_connector(tcp), tls };
        let gzip = settings.gzip.unwrap_or(!settings.server_url.is_loopback());
        let metadata = MetadataMap::from_headers(headers);
        let (channel, timeout) = (OnceLock::new(), settings.server_timeout);
        Ok(Self { inner: Arc::new(Inner { endpoint, connector, channel, metadata, secrets, timeout, gzip }) })
    }

    /// One attempt.
    pub(super) async fn export(self, resource: &Resource, spans: Vec<SpanData>) -> Result<Delivery, Refused> {
        let is_large = spans.iter().map(size::span).sum::<usize>() >= MAX_MESSAGE;
        let failure = match self.exporter(resource) {
            Ok(exporter) => exporter.export(spans).await.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match failure {
            // whether it was a partial success stays the exporter's secret
            None => Ok(Delivery::Decided { rejected: 0, reasons: Vec::new() }),
            Some(failure) => answer::of_grpc(&failure, is_large),
        }
    }

    /// One attempt with what the exporter cannot be given: a message of so many parts.
    pub(super) async fn metrics(self, request: ExportMetricsServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        let is_large = request.encoded_len() >= MAX_MESSAGE;
        let mut client = MetricsServiceClient::new(self.channel()).accept_compressed(CompressionEncoding::Gzip);
        if self.inner.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let answer = client.export(self.request(request)).with_context(suppressed()).await;
        let partial = answer.map(|answer| answer.into_inner().partial_success.unwrap_or_default());
        conclude(partial.map(|partial| (partial.rejected_data_points, partial.error_message)), parts, is_large)
    }

    /// As [`metrics`](Self::metrics).
    pub(super) async fn logs(self, request: ExportLogsServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        let is_large = request.encoded_len() >= MAX_MESSAGE;
        let mut client = LogsServiceClient::new(self.channel()).accept_compressed(CompressionEncoding::Gzip);
        if self.inner.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let answer = client.export(self.request(request)).with_context(suppressed()).await;
        let partial = answer.map(|answer| answer.into_inner().partial_success.unwrap_or_default());
        conclude(partial.map(|partial| (partial.rejected_log_records, partial.error_message)), parts, is_large)
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.inner.metadata_after("");
        request
    }

    fn channel(&self) -> Channel {
        let Inner { endpoint, connector, channel, .. } = &*self.inner;
        channel.get_or_init(|| endpoint.connect_with_connector_lazy(connector.clone())).clone()
    }

    fn exporter(&self, resource: &Resource) -> Result<SpanExporter, ExporterBuildError> {
        let (inner, Inner { timeout, gzip, .. }) = (self.inner.clone(), &*self.inner);
        let builder = SpanExporter::builder()
            .with_tonic()
            .with_channel(self.channel())
            .with_timeout(*timeout)
            // the worker does that
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            // in place of what the exporter finds in the process's environment
            .with_interceptor(move |mut request: tonic::Request<()>| {
                let theirs = request.metadata().get(USER_AGENT).and_then(|value| value.to_str().ok());
                let metadata = inner.metadata_after(theirs.unwrap_or_default());
                *request.metadata_mut() = metadata;
                Ok(request)
            });
        let builder = match compression(*gzip) {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        };
        let mut exporter = builder.build()?;
        exporter.set_resource(resource);
        Ok(exporter)
    }

    pub(super) fn hide_in(&self, text: &str) -> String {
        hide(&self.inner.secrets, text)
    }
}

fn suppressed() -> Context {
    Context::current().with_telemetry_suppressed()
}

/// By what the server says of a request that it took, or else of why not.
fn conclude(answer: Result<(i64, String), tonic::Status>, parts: u64, is_large: bool) -> Result<Delivery, Refused> {
    match answer {
        Ok((rejected, words)) => Ok(answer::of_partial(rejected, &words, parts)),
        Err(status) => answer::of_code(&format!("{:?}", status.code()), status.message(), is_large),
    }
}

/// Scheme, host and port; gRPC has no use for a path, and credentials travel as metadata.
fn bare(url: &Uri) -> Result<Uri, BuildError> {
    let authority = url.authority().map(|authority| authority.as_str());
    let host = authority.and_then(|authority| authority.rsplit('@').next()).unwrap_or_default();
    let scheme = url.scheme_str().unwrap_or("http");
    format!("{scheme}://{host}").parse().map_err(client_error)
}

fn with_scheme(url: Uri, scheme: Scheme) -> Result<Uri, http::Error> {
    let mut parts: Parts = url.into_parts();
    // a default port goes with the scheme
    if let Some(authority) = &parts.authority
        && parts.scheme == Some(Scheme::HTTPS)
        && authority.port().is_none()
    {
        parts.authority = Some(format!("{authority}:443").parse()?);
    }
    parts.scheme = Some(scheme);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Ok(Uri::from_parts(parts)?)
}

fn client_error(error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
    BuildError::Client { source: Box::new(error) }
}

/// TCP, and TLS above it where the server's URL says so.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    tls: bool,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = <HttpsConnector<HttpConnector> as Service<Uri>>::Error;
    type Future = <HttpsConnector<HttpConnector> as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let scheme = if self.tls { Scheme::HTTPS } else { Scheme::HTTP };
        match with_scheme(url, scheme) {
            Ok(url) => self.https.call(url),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_loses_what_grpc_has_no_use_for() {
        for (url, origin, target) in [
            ("https://apm.example", "https://apm.example/", "http://apm.example:443/"),
            ("https://user:pw@apm.example:8200/prefix", "https://apm.example:8200/", "http://apm.example:8200/"),
            ("http://[::1]:4317", "http://[::1]:4317/", "http://[::1]:4317/"),
        ] {
            let bare = bare(&url.parse().unwrap()).unwrap();
            assert_eq!(bare, origin);
            assert_eq!(with_scheme(bare, Scheme::HTTP).unwrap(), target);
        }
    }
}
