//! Spans below a transaction: our side of OpenTelemetry's tracing API.
//!
//! Each span knows its transaction from its start to its end, so one process-wide subscriber serves any number of
//! agents, and a finished span goes straight to its agent's queue.

#[cfg(feature = "sdk")]
mod processor;
#[expect(clippy::module_inception, reason = "the span itself, beside the tracer that makes it")]
mod span;
mod time;
mod tracer;

#[cfg(feature = "sdk")]
pub use self::processor::ApmSpanProcessor;
pub(crate) use self::tracer::ApmTracer;
