//! Asks the chain to hand a token over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Url};
use tracing::{Instrument as _, Span, field::Empty};

use super::rpc::{Call, Receipt, Reply, RpcError, TRANSFER, Transfer};
use crate::{config::SecretUrl, http_client, wallet::Payment};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(8);

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
        let span = self.span();
        let settled = self.call(&call).instrument(span.clone()).await;
        if let Err(error) = &settled {
            span.record("otel.status_code", "ERROR").record("otel.status_description", tracing::field::display(error));
        }
        settled
    }

    /// An HTTP client span in OpenTelemetry's words.
    fn span(&self) -> Span {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        tracing::info_span!(
            "chain",
            otel.name = format_args!("POST {host}:{port}"),
            otel.kind = "client",
            http.request.method = "POST",
            server.address = host,
            server.port = i64::from(port),
            url.full = self.url.origin().ascii_serialization(),
            rpc.system = "jsonrpc",
            rpc.method = TRANSFER,
            http.response.status_code = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        )
    }

    async fn call(&self, call: &Call<Transfer>) -> Result<Settled, ChainError> {
        let sent = self.http.post(self.url.clone()).json(call).send().await;
        let response = sent.map_err(|error| ChainError::Unreachable(error.without_url()))?;
        Span::current().record("http.response.status_code", i64::from(response.status().as_u16()));
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
