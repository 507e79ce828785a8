//! A client of the chain's JSON-RPC endpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, RequestBuilder, Response, Url};
use serde::{Serialize, de::DeserializeOwned};
use tower::{Layer as _, Service as _};
use tower_apm::ClientService;

use super::rpc::{Call, INTERNAL_ERROR, Receipt, Reply, RpcError, SettledTransfer, TRANSFER, TRANSFERS, Transfer};
use crate::{config::SecretUrl, http_client};

/// The time limit of a call.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit of the check that the chain answers.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the chain's JSON-RPC endpoint.
#[derive(Clone)]
pub struct ChainClient {
    http: ClientService<Client>,
    url: Url,
    calls: Arc<AtomicU64>,
}

/// A transfer that the chain has taken into a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// The chain's transaction.
    pub tx_hash: String,
    /// The number of the block that contains the transaction.
    pub block: u64,
}

/// The reason why a call failed. No error contains the URL, because the URL can contain a key.
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
    /// Returns whether the chain has refused the call permanently.
    ///
    /// After any other error of a transfer, the outcome is unknown: the chain may have settled the transfer, or may settle it
    /// later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code != INTERNAL_ERROR)
    }
}

impl ChainClient {
    /// Creates a client for the chain at `url`. Does not send a request.
    pub fn new(url: &SecretUrl) -> Result<Self, ChainError> {
        let url = Url::parse(url.expose()).map_err(|_| ChainError::Url)?;
        let http = http_client::builder(&url).timeout(TIMEOUT).build().map_err(ChainError::SetUp)?;
        // The path can contain a key.
        let http = tower_apm::client_layer().omit_url_path().layer(http);
        Ok(Self { http, url, calls: Arc::default() })
    }

    /// Checks that the chain answers. Any status is accepted.
    pub(crate) async fn ping(&self) -> Result<(), ChainError> {
        let request = self.http.get_ref().get(self.url.clone()).timeout(PING_TIMEOUT);
        self.send(request).await.map(|_| ())
    }

    /// Transfers a token.
    ///
    /// If the outcome is unknown (see [`ChainError::is_refusal`]), call it again with the same transfer.
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
        let response = self.send(self.http.get_ref().post(self.url.clone()).json(&call)).await?;
        if !response.status().is_success() {
            return Err(ChainError::Status(response.status().as_u16()));
        }
        match response.json().await.map_err(|error| ChainError::NoReply(error.without_url()))? {
            Reply { error: Some(RpcError { code, message }), .. } => Err(ChainError::Refused { code, message }),
            Reply { result: Some(result), .. } => Ok(result),
            Reply { .. } => Err(ChainError::Empty),
        }
    }

    /// Sends a request. The layer around the client records it and adds the headers of the current trace.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ChainError> {
        let sent = async { self.http.clone().call(request.build()?).await };
        sent.await.map_err(|error| ChainError::Unreachable(error.without_url()))
    }
}

impl std::fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainClient").finish_non_exhaustive()
    }
}
