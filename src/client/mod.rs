//! Exit spans: spans for calls of other services, because most client crates do not record such spans.
//!
//! Each part of this module observes one kind of client and creates an [`ExitSpan`] for each call. The attributes
//! follow OpenTelemetry's semantic conventions. The exporters derive type, destination and service target from them.

mod call_result;
#[cfg(feature = "diesel")]
mod connection_url;
pub mod db;
#[cfg(feature = "diesel")]
pub mod diesel;
mod exit_span;
mod future;
mod http;
pub mod messaging;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "rdkafka")]
pub mod rdkafka;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sqlx;

pub use self::http::{ClientBody, ClientError, ClientFuture, ClientLayer, ClientService, client_layer};
#[cfg(feature = "reqwest")]
pub use self::http::{RequestBuilderExt, ReqwestFuture};
pub(crate) use self::{
    exit_span::{ExitSpan, record_failure},
    future::{ExitFuture, InExitSpan},
};
