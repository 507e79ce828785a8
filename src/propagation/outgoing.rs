//! What a call or a message takes along.

use std::borrow::Cow;

use super::{
    BAGGAGE, ELASTIC_APM_TRACEPARENT, ELASTICAPMTRACEPARENT, TRACEPARENT, TRACESTATE, baggage, binary,
    traceparent::traceparent, tracestate::Tracestate,
};
use crate::record::{SpanId, TraceId};

/// The place in a trace that a call is made from.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) trace_id: TraceId,
    /// The span, or else the transaction, that the call is made in.
    pub(crate) parent_id: SpanId,
    pub(crate) sampled: bool,
    pub(crate) tracestate: Tracestate,
    /// Whether `elastic-apm-traceparent` goes along (`use_elastic_traceparent_header`).
    pub(crate) legacy: bool,
    pub(crate) baggage: Option<String>,
}

impl Outgoing {
    /// Names and values of the headers; None for one that must not be left standing from before. All of it is visible
    /// ASCII.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, Option<String>)> {
        let parent = traceparent(self.trace_id, self.parent_id, self.sampled);
        let legacy = (ELASTIC_APM_TRACEPARENT.as_str(), self.legacy.then(|| parent.clone()));
        let state = (TRACESTATE.as_str(), self.tracestate.header().map(Cow::into_owned));
        let baggage = self.baggage.clone().map(|baggage| (BAGGAGE.as_str(), Some(baggage)));
        [(TRACEPARENT.as_str(), Some(parent)), state, legacy].into_iter().chain(baggage)
    }

    /// Returns the headers of a message: the text form, and the binary form for consumers that use older agents. `None`
    /// means that the header must be removed.
    pub(crate) fn message_headers(&self) -> impl Iterator<Item = (&'static str, Option<Vec<u8>>)> {
        let text = self.headers().map(|(name, value)| (name, value.map(String::into_bytes)));
        let binary = binary::encode(self.trace_id, self.parent_id, self.sampled).to_vec();
        text.chain([(ELASTICAPMTRACEPARENT, Some(binary))])
    }
}

pub(crate) fn baggage_of(context: &opentelemetry::Context) -> Option<String> {
    use opentelemetry::baggage::BaggageExt;

    let carried = context.baggage();
    if carried.is_empty() { None } else { baggage::header(carried) }
}
