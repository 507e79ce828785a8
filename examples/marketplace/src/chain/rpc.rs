//! The messages of the chain: two methods in JSON-RPC 2.0.

use serde::{Deserialize, Serialize};

/// The method that transfers a token from the seller to the buyer. Its parameter is a [`Transfer`], its result a [`Receipt`].
pub(super) const TRANSFER: &str = "market_transfer";
/// The method that lists the settled transfers, the oldest first: an array of [`SettledTransfer`]s. It has no parameters.
pub(super) const TRANSFERS: &str = "market_transfers";

/// The error code of the JSON-RPC specification for a failure of the server itself.
pub(super) const INTERNAL_ERROR: i64 = -32603;

/// A call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call<P> {
    pub(super) jsonrpc: String,
    pub(super) id: u64,
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: P,
}

/// The transfer of a token for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The order. A chain settles or refuses each order once.
    pub order_id: String,
    pub token_id: String,
    pub from: String,
    pub to: String,
    /// A decimal number.
    pub price: String,
}

/// The transaction that contains the transfer, and the block that contains the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) tx_hash: String,
    pub(super) block: u64,
}

/// A transfer that the chain has settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledTransfer {
    #[serde(flatten)]
    pub transfer: Transfer,
    pub tx_hash: String,
    pub block: u64,
}

/// A reply, which contains either a result or an error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply<R> {
    #[serde(default)]
    pub(super) jsonrpc: String,
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<R>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<RpcError>,
}

/// A default that does not require `R: Default`.
fn none<R>() -> Option<R> {
    None
}

/// An error of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
}
