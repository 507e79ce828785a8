//! Exit spans: spans for the calls of other services, which client crates do not record on their own.
//!
//! Each part of this module observes one kind of client and makes an [`ExitSpan`] of each call. The attributes are those of
//! OpenTelemetry's semantic conventions, from which the exporters derive type, destination and service target.

mod call_result;
mod exit_span;
mod future;
mod http;
pub mod messaging;
#[cfg(feature = "rdkafka")]
pub mod rdkafka;
pub mod sqlx;

pub use self::http::{ClientBody, ClientError, ClientFuture, ClientLayer, ClientService, client_layer};
#[cfg(feature = "reqwest")]
pub use self::http::{RequestBuilderExt, ReqwestFuture};
pub(crate) use self::{
    exit_span::{ExitSpan, record_failure},
    future::{ExitFuture, InExitSpan},
};
