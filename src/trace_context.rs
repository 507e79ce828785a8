//! Carries the trace on to the services that are called.

use http::HeaderMap;
use opentelemetry::trace::TraceContextExt;

use crate::{
    propagation,
    transaction::{handle_in, link_to},
};

/// Puts `traceparent` and `tracestate` of the current span, or else of the current transaction, into the headers of a
/// call, in place of what was there. Without either the headers stay as they are.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// tower_apm::trace_context::inject(&mut headers);
/// assert!(headers.is_empty(), "there is no transaction here");
/// ```
pub fn inject(headers: &mut HeaderMap) {
    let context = opentelemetry::Context::current();
    let Some(shared) = handle_in(&context) else { return };
    let span = context.span();
    if let Some(link) = link_to(span.span_context()) {
        let ids = shared.ids();
        propagation::inject(headers, ids.trace_id, link.span_id, ids.sampled, &ids.tracestate);
    }
}
