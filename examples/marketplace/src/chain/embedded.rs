//! A chain for development and tests: a JSON-RPC server with its ledger in memory.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    ledger::Ledger,
    rpc::{Call, Receipt, Reply, RpcError, TRANSFER, TRANSFERS, Transfer},
};
use crate::health::{self, Health};

/// The duration of the first transfer of a token whose id begins with `slow-`.
const CONGESTION: Duration = Duration::from_millis(1500);

/// Error codes of the JSON-RPC specification.
mod code {
    pub(super) const PARSE_ERROR: i64 = -32700;
    pub(super) const METHOD_NOT_FOUND: i64 = -32601;
    pub(super) const INVALID_PARAMS: i64 = -32602;
}

/// A running chain. It stops when it is dropped.
///
/// The prefix of a token's id selects the behaviour of its transfer:
///
/// | prefix | `market_transfer` |
/// |---|---|
/// | `revert-` | is refused |
/// | `slow-` | is settled after 1.5 seconds (`slow-revert-`: refused) |
/// | `flaky-` | is settled, but the first call for an order gets the status 504, as from a gateway that timed out |
/// | any other | is settled |
///
/// The chain remembers the outcome of the last 10 000 orders, in memory. Several API processes must share one chain: start it
/// with `marketplace chain`, and set `CHAIN_RPC_URL` to its URL in each of them. `GET /health` answers 200.
#[derive(Debug)]
pub struct EmbeddedChain {
    addr: SocketAddr,
    server: JoinHandle<()>,
}

impl EmbeddedChain {
    /// Starts a chain on a free port of the loopback interface.
    pub async fn start() -> io::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts a chain on an address.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let chain = Router::new()
            .route("/", get(StatusCode::NO_CONTENT).post(answer))
            .merge(health::router(Health::default()))
            .with_state(Arc::new(Ledger::default()));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, chain).await {
                tracing::error!(%error, "the embedded chain stopped");
            }
        });
        Ok(Self { addr, server })
    }

    /// Returns the URL of the chain.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

impl Drop for EmbeddedChain {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(ledger): State<Arc<Ledger>>, body: Bytes) -> Response {
    let call: Call<Value> = match serde_json::from_slice(&body) {
        Ok(call) => call,
        Err(error) => return refused(None, code::PARSE_ERROR, error.to_string()),
    };
    match call.method.as_str() {
        TRANSFER => match params::<Transfer>(call.params) {
            Ok(transfer) => settle(&ledger, call.id, &transfer).await,
            Err(error) => refused(Some(call.id), code::INVALID_PARAMS, error.to_string()),
        },
        TRANSFERS => reply(Some(call.id), Ok(ledger.transfers())),
        other => refused(Some(call.id), code::METHOD_NOT_FOUND, format!("the method {other} does not exist")),
    }
}

fn params<P: DeserializeOwned>(params: Value) -> Result<P, serde_json::Error> {
    serde_json::from_value(params)
}

async fn settle(ledger: &Ledger, id: u64, transfer: &Transfer) -> Response {
    if let Some(outcome) = ledger.outcome(transfer) {
        return reply(Some(id), outcome);
    }
    if transfer.token_id.starts_with("slow-") {
        tokio::time::sleep(CONGESTION).await;
    }
    let outcome: Result<Receipt, RpcError> = ledger.decide(transfer);
    if transfer.token_id.starts_with("flaky-") {
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    reply(Some(id), outcome)
}

fn refused(id: Option<u64>, code: i64, message: String) -> Response {
    reply::<()>(id, Err(RpcError { code, message }))
}

fn reply<R: Serialize>(id: Option<u64>, outcome: Result<R, RpcError>) -> Response {
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    Json(Reply { jsonrpc: "2.0".to_owned(), id, result, error }).into_response()
}
