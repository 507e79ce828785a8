//! Trace headers in and out, and the decision that is made where a trace begins.
//!
//! The rules are those of [W3C Trace Context](https://www.w3.org/TR/trace-context/); the `tracestate` entry `es` is
//! Elastic's and carries the sample rate of the trace's root.

mod headers;
mod sampling;
mod traceparent;
mod tracestate;

pub(crate) use self::{
    headers::{Incoming, extract, inject},
    sampling::is_sampled,
    tracestate::Tracestate,
};

#[cfg(test)]
mod tests;
