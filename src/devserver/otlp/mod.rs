//! OTLP: traces, metrics and logs, over HTTP and gRPC, on the port of the intake.
//!
//! - `http`, `grpc`: how a request comes in and what it is told.
//! - `message`: the bytes of a message while they arrive.
//! - `receive`: bytes in, stored events out; `budget` computes the memory of the decoded message, `expansion` the size of its
//!   events.
//! - `map`: pure, what the APM Server makes of a message, in the shape that an agent would have sent.

mod budget;
mod expansion;
mod grpc;
mod http;
mod map;
mod message;
mod receive;

#[cfg(feature = "_internals")]
pub(crate) use self::receive::receive;
pub(crate) use self::{
    grpc::{only_grpc, refusal as grpc_refusal},
    http::export,
    receive::Signal,
};
