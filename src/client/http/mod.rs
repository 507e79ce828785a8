//! Exit spans for outgoing HTTP requests and gRPC calls.

mod body;
mod call;
mod error;
mod future;
mod layer;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest-middleware")]
mod reqwest_middleware;
mod service;
mod target;

#[cfg(feature = "reqwest")]
pub use self::reqwest::{RequestBuilderExt, ReqwestFuture};
pub use self::{
    body::ClientBody,
    error::ClientError,
    future::ClientFuture,
    layer::{ClientLayer, client_layer},
    service::ClientService,
};
