//! Exit spans: spans for the calls of other services, which client crates do not record on their own.
//!
//! Each part of this module observes one kind of client and makes an [`ExitSpan`] of each call. The attributes are those of
//! OpenTelemetry's semantic conventions, from which the exporters derive type, destination and service target.

#[cfg(feature = "diesel")]
mod connection_url;
pub mod db;
#[cfg(feature = "diesel")]
pub mod diesel;
mod exit_span;
mod future;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "redis")]
pub mod redis;

pub(crate) use self::{
    exit_span::{ExitSpan, record_failure},
    future::ExitFuture,
};
