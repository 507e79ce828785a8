//! The chain that settles purchases, spoken to by JSON-RPC 2.0 over HTTP.

mod client;
mod embedded;
mod rpc;

pub use self::{
    client::{ChainClient, ChainError, Settled},
    embedded::EmbeddedChain,
};
