//! OTLP over gRPC: the clients of `opentelemetry-proto`, with our connections below them.

use std::{
    sync::{Arc, OnceLock},
    task::{self, Poll},
};

use http::{
    Uri,
    uri::{Parts, PathAndQuery, Scheme},
};
use opentelemetry::{Context, trace::FutureExt};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
};
use prost::Message;
use tonic::{
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

use super::{answer, divide::Refused, wire::user_agent};
use crate::{
    apm_server::{ServerSettings, hide},
    config::Secret,
    error::BuildError,
    pipeline::Delivery,
    transport::{Connector, HttpVersion},
};

/// What a server takes in one message, unless it was told otherwise.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
const USER_AGENT: &str = "user-agent";

/// Sends batches over gRPC. Cheap to clone.
#[derive(Clone)]
pub(super) struct Grpc {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    connector: WithScheme,
    /// Made within the worker's runtime: it runs tasks.
    channel: OnceLock<Channel>,
    metadata: MetadataMap,
    secrets: Arc<[Secret]>,
    gzip: bool,
}

impl Grpc {
    pub(super) fn new(settings: &ServerSettings) -> Result<Self, BuildError> {
        let (headers, secrets) = settings.secret_headers().map_err(client_error)?;
        let url = settings.server_url.join("").parse::<Uri>().map_err(client_error)?;
        let origin = bare(&url)?;
        // towards tonic it is cleartext: TLS is the connector's, with the same trust as for intake v2
        let endpoint = Endpoint::from(with_scheme(origin.clone(), Scheme::HTTP).map_err(client_error)?)
            .origin(origin)
            .timeout(settings.server_timeout);
        let tls = settings.tls(HttpVersion::Http2)?;
        let (connector, _) = settings.connector(&settings.server_url, tls, HttpVersion::Http2);
        let scheme = if settings.server_url.is_https() { Scheme::HTTPS } else { Scheme::HTTP };
        let connector = WithScheme { connector, scheme };
        let gzip = settings.gzip.unwrap_or(!settings.server_url.is_loopback());
        let (metadata, channel) = (MetadataMap::from_headers(headers), OnceLock::new());
        Ok(Self { inner: Arc::new(Inner { endpoint, connector, channel, metadata, secrets, gzip }) })
    }

    /// Sends spans; one attempt.
    pub(super) async fn traces(self, request: ExportTraceServiceRequest, parts: u64) -> Result<Delivery, Refused> {
        let is_large = request.encoded_len() >= MAX_MESSAGE;
        let mut client = TraceServiceClient::new(self.channel()).accept_compressed(CompressionEncoding::Gzip);
        if self.inner.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let answer = client.export(self.request(request)).with_context(suppressed()).await;
        let partial = answer.map(|answer| answer.into_inner().partial_success.unwrap_or_default());
        conclude(partial.map(|partial| (partial.rejected_spans, partial.error_message)), parts, is_large)
    }

    /// Sends metrics; one attempt.
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

    /// Sends log lines; one attempt.
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
        let metadata = request.metadata_mut();
        *metadata = self.inner.metadata.clone();
        if let Ok(agent) = user_agent("").parse() {
            metadata.insert(USER_AGENT, agent);
        }
        request
    }

    fn channel(&self) -> Channel {
        let Inner { endpoint, connector, channel, .. } = &*self.inner;
        channel.get_or_init(|| endpoint.connect_with_connector_lazy(connector.clone())).clone()
    }

    /// Whether a connection can be made.
    pub(super) async fn probe(&self) -> bool {
        let Inner { endpoint, connector, .. } = &*self.inner;
        endpoint.connect_with_connector(connector.clone()).await.is_ok()
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
        Err(status) => answer::of_grpc(&status, is_large),
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

/// Gives a connection's URL its scheme back.
#[derive(Clone)]
struct WithScheme {
    connector: Connector,
    scheme: Scheme,
}

impl Service<Uri> for WithScheme {
    type Response = <Connector as Service<Uri>>::Response;
    type Error = <Connector as Service<Uri>>::Error;
    type Future = <Connector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        match with_scheme(url, self.scheme.clone()) {
            Ok(url) => self.connector.call(url),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        config::{LiveConfig, ServerUrl},
        pipeline::FailureCause,
    };

    #[test]
    fn grpc_url_has_no_credentials_and_no_path() {
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

    /// What one attempt leads to at a server that answers each connection with these bytes, after it has read some, and
    /// closes it.
    async fn attempt_at(answer: &'static [u8]) -> Delivery {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 64]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let config = LiveConfig::default().snapshot();
        let settings = ServerSettings {
            server_url: ServerUrl::parse(&url).unwrap(),
            server_timeout: Duration::from_secs(60),
            ..ServerSettings::for_otlp(&config, None)
        };
        let grpc = Grpc::new(&settings).unwrap();
        grpc.traces(ExportTraceServiceRequest::default(), 1).await.unwrap()
    }

    #[tokio::test]
    async fn closed_grpc_connection_keeps_the_batch() {
        // the frame is empty settings: the connection ends behind them, with the request on its way
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        for answer in [&b""[..], settings, b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            match attempt_at(answer).await {
                Delivery::Failed { reason, cause: FailureCause::NoAnswer } => {
                    assert!(reason.starts_with("no answer to OTLP over gRPC: "), "{reason}");
                }
                other => panic!("{answer:?}: {other:?}"),
            }
        }
    }
}
