//! A chain for laptops and tests: a JSON-RPC server on a loopback port of its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, body::Bytes, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, task::JoinHandle};

use super::rpc::{Call, Receipt, Reply, RpcError, TRANSFER, Transfer};

/// How long a transfer of a token takes whose id begins with `slow-`.
const CONGESTION: Duration = Duration::from_millis(1500);

/// Error codes as the JSON-RPC specification and Ethereum's nodes give them.
mod code {
    pub(super) const PARSE_ERROR: i64 = -32700;
    pub(super) const METHOD_NOT_FOUND: i64 = -32601;
    pub(super) const REVERTED: i64 = 3;
}

/// A running chain; it stops when it is dropped.
///
/// It settles every transfer but those of tokens whose id begins with `revert-`, which it reverts. A transfer of a token whose
/// id begins with `slow-` takes a second and a half.
#[derive(Debug)]
pub struct EmbeddedChain {
    addr: SocketAddr,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Ledger {
    blocks: AtomicU64,
}

impl EmbeddedChain {
    /// Starts a chain on a free port of the loopback interface.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let chain =
            Router::new().route("/", get(StatusCode::NO_CONTENT).post(answer)).with_state(Arc::new(Ledger::default()));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, chain).await {
                tracing::error!(%error, "the embedded chain stopped");
            }
        });
        Ok(Self { addr, server })
    }

    /// Where it is to be called.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

impl Drop for EmbeddedChain {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(ledger): State<Arc<Ledger>>, body: Bytes) -> Json<Reply> {
    let reply = |id, outcome: Result<Receipt, RpcError>| {
        let (result, error) = match outcome {
            Ok(receipt) => (Some(receipt), None),
            Err(error) => (None, Some(error)),
        };
        Json(Reply { jsonrpc: "2.0".to_owned(), id, result, error })
    };
    match serde_json::from_slice::<Call<Transfer>>(&body) {
        Ok(call) if call.method == TRANSFER => reply(Some(call.id), ledger.transfer(&call.params).await),
        Ok(call) => {
            let message = format!("the method {} does not exist", call.method);
            reply(Some(call.id), Err(RpcError { code: code::METHOD_NOT_FOUND, message }))
        }
        Err(error) => reply(None, Err(RpcError { code: code::PARSE_ERROR, message: error.to_string() })),
    }
}

impl Ledger {
    async fn transfer(&self, transfer: &Transfer) -> Result<Receipt, RpcError> {
        if transfer.token_id.starts_with("slow-") {
            tokio::time::sleep(CONGESTION).await;
        }
        if transfer.token_id.starts_with("revert-") {
            let message = format!("execution reverted: token {} is frozen by its contract", transfer.token_id);
            return Err(RpcError { code: code::REVERTED, message });
        }
        let block = self.blocks.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Receipt { tx_hash: transaction_hash(transfer, block), block })
    }
}

/// 64 hexadecimal digits, different for each block. No more than that: nothing here needs a hash that nobody can forge.
fn transaction_hash(transfer: &Transfer, block: u64) -> String {
    let part = |index: u64| {
        let mut hasher = DefaultHasher::new();
        (index, block, &transfer.token_id, &transfer.from, &transfer.to).hash(&mut hasher);
        hasher.finish()
    };
    format!("0x{:016x}{:016x}{:016x}{:016x}", part(0), part(1), part(2), part(3))
}
