//! For what propagates by OpenTelemetry's global propagator.

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
};

use super::carrier::inject_context;
use crate::propagation::{BAGGAGE, ELASTIC_APM_TRACEPARENT, TRACEPARENT, TRACESTATE, TraceContext};

/// OpenTelemetry's interface to the same: crates that call
/// [`get_text_map_propagator`](opentelemetry::global::get_text_map_propagator) carry the trace on with it, Elastic's
/// `tracestate` included. [`AgentBuilder::install`](crate::AgentBuilder::install) makes it the global one.
///
/// ```
/// use opentelemetry::global;
/// use tower_apm::otel::ElasticPropagator;
///
/// global::set_text_map_propagator(ElasticPropagator::new());
/// ```
#[derive(Debug, Clone)]
pub struct ElasticPropagator {
    fields: [String; 4],
}

impl ElasticPropagator {
    /// `traceparent`, `tracestate`, `baggage`, and `elastic-apm-traceparent`, which it reads always and writes with
    /// `use_elastic_traceparent_header`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fields: [&TRACEPARENT, &TRACESTATE, &BAGGAGE, &ELASTIC_APM_TRACEPARENT]
                .map(|name| name.as_str().to_owned()),
        }
    }
}

impl Default for ElasticPropagator {
    fn default() -> Self {
        Self::new()
    }
}

impl TextMapPropagator for ElasticPropagator {
    fn inject_context(&self, context: &Context, carrier: &mut dyn Injector) {
        inject_context(context, carrier);
    }

    fn extract_with_context(&self, context: &Context, carrier: &dyn Extractor) -> Context {
        TraceContext::from_text(carrier).onto(context)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}
