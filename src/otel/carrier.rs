//! Trace headers in OpenTelemetry's carriers.

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector},
};

use super::outgoing::outgoing;
use crate::{propagation::TraceContext, record::current_context};

/// Writes the trace headers of the current span or transaction into any carrier that implements OpenTelemetry's
/// [`Injector`], for example a `HashMap<String, String>`.
///
/// The headers are those of [`trace_context::inject`](crate::trace_context::inject). An `Injector` cannot remove headers: an
/// existing `tracestate` or `baggage` stays if there is no new one, so use an empty carrier.
///
/// ```
/// let mut metadata = std::collections::HashMap::<String, String>::new();
/// tower_apm::otel::inject_carrier(&mut metadata);
/// assert!(metadata.is_empty(), "there is no transaction here");
/// ```
pub fn inject_carrier(carrier: &mut dyn Injector) {
    inject_context(&current_context(), carrier);
}

/// Writes the trace headers of the given context. Otherwise the same as [`inject_carrier`].
pub(crate) fn inject_context(context: &Context, carrier: &mut dyn Injector) {
    let headers = outgoing(context).into_iter().flat_map(|outgoing| outgoing.headers().collect::<Vec<_>>());
    for (name, value) in headers {
        if let Some(value) = value {
            carrier.set(name, value);
        }
    }
}

/// Reads the trace headers from any carrier that implements OpenTelemetry's [`Extractor`].
///
/// Headers that are missing or invalid give an empty context. See [`trace_context::extract`](crate::trace_context::extract).
///
/// ```
/// use std::collections::HashMap;
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let sender = tower_apm::otel::extract_carrier(&HashMap::from([("traceparent".to_owned(), parent.to_owned())]));
/// assert_eq!(sender.span_id().unwrap().to_string(), "b7ad6b7169203331");
/// ```
#[must_use]
pub fn extract_carrier(carrier: &dyn Extractor) -> TraceContext {
    TraceContext::from_text(carrier)
}
