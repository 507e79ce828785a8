//! The words of the chain: one method, `market_transfer`, in JSON-RPC 2.0.

use serde::{Deserialize, Serialize};

/// The method that hands a token from its seller to its buyer.
pub(super) const TRANSFER: &str = "market_transfer";

/// A call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call<P> {
    pub(super) jsonrpc: String,
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) params: P,
}

/// What [`TRANSFER`] is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) token_id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) price: String,
}

/// What it tells back: the transaction that holds the transfer, and the block that holds the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) tx_hash: String,
    pub(super) block: u64,
}

/// A reply, which holds either a result or an error.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reply {
    #[serde(default)]
    pub(super) jsonrpc: String,
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Receipt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<RpcError>,
}

/// The chain's own words about a failure.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
}
