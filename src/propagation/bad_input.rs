//! Trace headers that cannot be understood. Each is named once in the life of the process, whoever sends it how often:
//! callers are many, and a line for every request would be a way to fill the log. Values are not shown.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use http::HeaderName;

use super::{BAGGAGE, ELASTIC_APM_TRACEPARENT, ELASTICAPMTRACEPARENT, TRACEPARENT, TRACESTATE};

/// The headers that were named.
static NAMED: Named = Named(AtomicU8::new(0));

#[derive(Debug, Default)]
struct Named(AtomicU8);

impl Named {
    /// True for the first time.
    fn is_first(&self, header: &str) -> bool {
        let known = [TRACEPARENT.as_str(), ELASTIC_APM_TRACEPARENT.as_str(), TRACESTATE.as_str(), BAGGAGE.as_str()];
        let at = known.iter().position(|known| *known == header).unwrap_or(known.len());
        let bit = 1 << at;
        // mostly a look, which other threads do not feel
        self.0.load(Relaxed) & bit == 0 && self.0.fetch_or(bit, Relaxed) & bit == 0
    }
}

fn warn(header: &'static str, what: &str) {
    if NAMED.is_first(header) {
        tracing::warn!(
            target: "tower_apm",
            header,
            "a trace header that came in cannot be understood and does not count: {what}; further ones are not named"
        );
    }
}

#[cold]
pub(super) fn doubled_parent(header: &HeaderName) {
    warn(name(header), "it came more than once");
}

#[cold]
pub(super) fn malformed_parent(header: &HeaderName) {
    warn(name(header), "it is not `version-trace id-parent id-flags` in hexadecimal digits");
}

#[cold]
pub(super) fn malformed_binary_parent() {
    warn(ELASTICAPMTRACEPARENT, "it is not the 29 bytes of a trace id, a parent id and flags");
}

#[cold]
pub(super) fn malformed_tracestate() {
    warn("tracestate", "an entry is not `key=value`, a key comes twice, or there is too much of it");
}

#[cold]
pub(super) fn malformed_baggage() {
    warn("baggage", "a member is not `key=value`, or there is too much of it; the others count");
}

fn name(header: &HeaderName) -> &'static str {
    if *header == TRACEPARENT { "traceparent" } else { "elastic-apm-traceparent" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_header_is_reported_once_per_name() {
        let named = Named::default();
        for header in ["traceparent", "elastic-apm-traceparent", "elasticapmtraceparent", "tracestate", "baggage"] {
            assert!(named.is_first(header), "{header}");
            assert!(!named.is_first(header), "{header}");
        }
    }
}
