//! A client of the chain's JSON-RPC endpoint.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use reqwest::{Client, Method, Response, Url, header::HeaderMap};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{Instrument as _, Span, field::Empty};

use super::rpc::{Call, INTERNAL_ERROR, Receipt, Reply, RpcError, SettledTransfer, TRANSFER, TRANSFERS, Transfer};
use crate::{config::SecretUrl, http_client};

/// The time limit of a call.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit of the check that the chain answers.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the chain's JSON-RPC endpoint.
#[derive(Clone)]
pub struct ChainClient {
    http: Client,
    url: Url,
    calls: Arc<AtomicU64>,
}

/// A transfer that the chain has taken into a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// The chain's transaction.
    pub tx_hash: String,
    /// The number of the block that holds the transaction.
    pub block: u64,
}

/// Why a call failed. No error contains the URL, because the URL can contain a key.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The chain's own message.
    #[error("{message}")]
    Refused { code: i64, message: String },
    #[error("the chain cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the chain answered with status {0}")]
    Status(u16),
    #[error("the chain's answer is not a JSON-RPC reply")]
    NoReply(#[source] reqwest::Error),
    #[error("the chain's answer contains neither a result nor an error")]
    Empty,
    #[error("the chain's client cannot be set up")]
    SetUp(#[source] reqwest::Error),
    #[error("CHAIN_RPC_URL is not a URL")]
    Url,
}

impl ChainError {
    /// Returns whether the chain has refused the call for good. After any other error of a transfer, the outcome is unknown: the
    /// transfer can be settled already, or later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code != INTERNAL_ERROR)
    }
}

impl ChainClient {
    /// Creates a client for the chain at `url`. It sends nothing yet.
    pub fn new(url: &SecretUrl) -> Result<Self, ChainError> {
        let url = Url::parse(url.expose()).map_err(|_| ChainError::Url)?;
        let http = http_client::builder(&url).timeout(TIMEOUT).build().map_err(ChainError::SetUp)?;
        Ok(Self { http, url, calls: Arc::default() })
    }

    /// Checks that the chain answers, with any status.
    pub(crate) async fn ping(&self) -> Result<(), ChainError> {
        let request = self.http.get(self.url.clone()).timeout(PING_TIMEOUT);
        self.observed(Method::GET, self.send(request)).await.map(|_| ())
    }

    /// Transfers a token. Call it again with the same transfer if the outcome is unknown ([`ChainError::is_refusal`]).
    pub async fn transfer(&self, transfer: &Transfer) -> Result<Settled, ChainError> {
        let Receipt { tx_hash, block } = self.call(TRANSFER, transfer).await?;
        Ok(Settled { tx_hash, block })
    }

    /// Returns the transfers that the embedded chain has settled, the oldest first.
    pub async fn transfers(&self) -> Result<Vec<SettledTransfer>, ChainError> {
        self.call(TRANSFERS, ()).await
    }

    async fn call<R: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<R, ChainError> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let call = Call { jsonrpc: "2.0".to_owned(), id, method: method.to_owned(), params };
        self.observed(Method::POST, self.exchange(&call)).await
    }

    async fn exchange<R: DeserializeOwned>(&self, call: &Call<impl Serialize>) -> Result<R, ChainError> {
        let response = self.send(self.http.post(self.url.clone()).json(call)).await?;
        if !response.status().is_success() {
            return Err(ChainError::Status(response.status().as_u16()));
        }
        match response.json().await.map_err(|error| ChainError::NoReply(error.without_url()))? {
            Reply { error: Some(RpcError { code, message }), .. } => Err(ChainError::Refused { code, message }),
            Reply { result: Some(result), .. } => Ok(result),
            Reply { .. } => Err(ChainError::Empty),
        }
    }

    /// Sends a request with the headers of the current trace.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, ChainError> {
        let mut headers = HeaderMap::new();
        tower_apm::trace_context::inject(&mut headers);
        let response = request.headers(headers).send().await;
        let response = response.map_err(|error| ChainError::Unreachable(error.without_url()))?;
        Span::current().record("http.response.status_code", i64::from(response.status().as_u16()));
        Ok(response)
    }

    /// Runs a call in an HTTP client span with OpenTelemetry's attributes.
    async fn observed<T>(
        &self,
        method: Method,
        call: impl Future<Output = Result<T, ChainError>>,
    ) -> Result<T, ChainError> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        let span = tracing::info_span!(
            "chain",
            otel.name = format_args!("{method} {host}:{port}"),
            otel.kind = "client",
            http.request.method = method.as_str(),
            http.response.status_code = Empty,
            server.address = host,
            server.port = i64::from(port),
            // Without the path, which can contain a key.
            url.full = format_args!("{}/", self.url.origin().ascii_serialization()),
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        let done = call.instrument(span.clone()).await;
        if let Err(error) = &done {
            span.record("otel.status_code", "ERROR").record("otel.status_description", tracing::field::display(error));
        }
        done
    }
}

impl std::fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainClient").finish_non_exhaustive()
    }
}
