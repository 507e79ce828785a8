//! Asks the chain to hand a token over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Method, Response, Url, header::HeaderMap};
use tracing::{Instrument as _, Span, field::Empty};

use super::rpc::{Call, Receipt, Reply, RpcError, TRANSFER, Transfer};
use crate::{config::SecretUrl, http_client, wallet::Payment};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long the chain may take to show that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the chain's JSON-RPC endpoint.
#[derive(Clone)]
pub struct ChainClient {
    http: Client,
    url: Url,
    calls: Arc<AtomicU64>,
}

/// A transfer that the chain has taken into a block.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Settled {
    /// The chain's transaction.
    pub tx_hash: String,
    /// The number of the block that holds it.
    pub block: u64,
}

/// Why a call came to nothing. The URL is in none of them, for it may hold a key.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The chain's own message.
    #[error("{message}")]
    Refused { code: i64, message: String },
    #[error("the chain cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the chain answered with status {0}")]
    Status(u16),
    #[error("the chain's answer is no JSON-RPC")]
    NoReply(#[source] reqwest::Error),
    #[error("the chain's answer holds neither a result nor an error")]
    Empty,
    #[error("the chain's client cannot be set up")]
    SetUp(#[source] reqwest::Error),
    #[error("CHAIN_RPC_URL is no URL")]
    Url,
}

impl ChainClient {
    /// A client for the chain at `url`. Nothing is called yet.
    pub fn new(url: &SecretUrl) -> Result<Self, ChainError> {
        let url = Url::parse(url.expose()).map_err(|_| ChainError::Url)?;
        let http = http_client::builder(&url).timeout(TIMEOUT).build().map_err(ChainError::SetUp)?;
        Ok(Self { http, url, calls: Arc::default() })
    }

    /// Whether the chain answers at all, whatever it says: asked before money is set aside for a sale.
    pub(crate) async fn ping(&self) -> Result<(), ChainError> {
        let request = self.http.get(self.url.clone()).timeout(PING_TIMEOUT);
        self.observed(Method::GET, self.send(request)).await.map(|_| ())
    }

    /// Hands the token over from the seller to the buyer.
    ///
    /// A transfer that was not answered counts as refused: whether it happened is then for the chain's explorer to tell.
    pub(crate) async fn transfer(&self, payment: Payment<'_>) -> Result<Settled, ChainError> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let params = Transfer {
            token_id: payment.token_id.to_owned(),
            from: payment.seller.to_owned(),
            to: payment.buyer.to_owned(),
            price: payment.price.to_string(),
        };
        let call = Call { jsonrpc: "2.0".to_owned(), id, method: TRANSFER.to_owned(), params };
        self.observed(Method::POST, self.call(&call)).await
    }

    /// Runs a call in an HTTP client span of its own, in OpenTelemetry's words.
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
            // Without the path, which may hold a key.
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

    /// Sends a request that carries the trace on.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, ChainError> {
        let mut headers = HeaderMap::new();
        tower_apm::trace_context::inject(&mut headers);
        let response = request.headers(headers).send().await;
        let response = response.map_err(|error| ChainError::Unreachable(error.without_url()))?;
        Span::current().record("http.response.status_code", i64::from(response.status().as_u16()));
        Ok(response)
    }

    async fn call(&self, call: &Call<Transfer>) -> Result<Settled, ChainError> {
        let response = self.send(self.http.post(self.url.clone()).json(call)).await?;
        if !response.status().is_success() {
            return Err(ChainError::Status(response.status().as_u16()));
        }
        match response.json().await.map_err(|error| ChainError::NoReply(error.without_url()))? {
            Reply { error: Some(RpcError { code, message }), .. } => Err(ChainError::Refused { code, message }),
            Reply { result: Some(Receipt { tx_hash, block }), .. } => Ok(Settled { tx_hash, block }),
            Reply { .. } => Err(ChainError::Empty),
        }
    }
}

impl std::fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainClient").finish_non_exhaustive()
    }
}
