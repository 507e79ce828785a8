//! OTLP: traces, metrics and logs, over HTTP and gRPC, on the port of the intake.
//!
//! - `http`, `grpc`: how a request comes in and what it is told.
//! - `receive`: bytes in, stored events out; `budget` says beforehand how much memory a message may take.
//! - `map`: pure, what the APM Server makes of a message, in the shape that an agent would have sent.

mod budget;
mod grpc;
mod http;
mod map;
mod receive;

#[cfg(feature = "_internals")]
pub(crate) use self::receive::receive;
pub(crate) use self::{grpc::only_grpc, http::export, receive::Signal};
