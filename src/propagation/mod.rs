//! Trace headers in and out, and the decision that is made where a trace begins.
//!
//! The rules are those of [W3C Trace Context](https://www.w3.org/TR/trace-context/) and
//! [W3C Baggage](https://www.w3.org/TR/baggage/); the `tracestate` entry `es` is Elastic's and carries the sample rate of
//! the trace's root.

mod attached;
mod bad_input;
mod baggage;
mod binary;
mod incoming;
mod outgoing;
mod sampling;
mod trace_context;
mod traceparent;
mod tracestate;

use http::HeaderName;

pub use self::trace_context::TraceContext;
pub(crate) use self::{
    attached::AttachedBaggage,
    incoming::{Incoming, extract, extract_bytes, extract_text, is_read},
    outgoing::{Outgoing, baggage_of},
    sampling::is_sampled,
    tracestate::Tracestate,
};

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// From before the W3C's name; the value has the same form.
pub(crate) static ELASTIC_APM_TRACEPARENT: HeaderName = HeaderName::from_static("elastic-apm-traceparent");
/// In the headers of messages, binary.
const ELASTICAPMTRACEPARENT: &str = "elasticapmtraceparent";

#[cfg(test)]
mod tests;
