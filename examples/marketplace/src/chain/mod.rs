//! The chain that settles purchases: a JSON-RPC 2.0 client, and a small chain for development and tests.
//!
//! The market requires one property of a chain: `market_transfer` is idempotent by `order_id`. The first call with an
//! order id decides the order, and each further call returns the same receipt or the same error. The market can
//! therefore send a transfer again when it does not know the outcome of an earlier call.

mod client;
mod embedded;
mod ledger;
mod rpc;

pub use self::{
    client::{ChainClient, ChainError, Settled},
    embedded::EmbeddedChain,
    rpc::{SettledTransfer, Transfer},
};
