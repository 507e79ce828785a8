//! What a caller or a message tells of the trace that it belongs to.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{baggage::KeyValueMetadata, propagation::Extractor, trace::SpanContext};

use super::{
    BAGGAGE, ELASTIC_APM_TRACEPARENT, ELASTICAPMTRACEPARENT, TRACEPARENT, TRACESTATE, bad_input, baggage, binary,
    traceparent,
    tracestate::{self, Tracestate},
};
use crate::record::{Link, SpanId, TraceId};

/// The trace that a caller began.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Incoming {
    pub(crate) trace_id: TraceId,
    pub(crate) parent_id: SpanId,
    pub(crate) sampled: bool,
    /// How the root weighs its events (0 if it was not sampled); None if the caller did not say, and then it must not
    /// be guessed.
    pub(crate) sample_rate: Option<f64>,
    pub(crate) tracestate: Tracestate,
}

impl Incoming {
    fn new<'a>(parent: (TraceId, SpanId, bool), states: impl Iterator<Item = &'a [u8]>) -> Self {
        let (trace_id, parent_id, sampled) = parent;
        let mut incoming = Self { trace_id, parent_id, sampled, sample_rate: None, tracestate: Tracestate::None };
        if let Some(list) = tracestate::received(states) {
            incoming.sample_rate = tracestate::sample_rate(&list).map(|rate| if sampled { rate } else { 0.0 });
            incoming.tracestate = Tracestate::Received(list);
        }
        incoming
    }

    /// A parent that somebody else's propagator has read. None for a context that points nowhere.
    pub(crate) fn of(context: &SpanContext) -> Option<Self> {
        let trace_id = TraceId(u128::from_be_bytes(context.trace_id().to_bytes()));
        let parent_id = SpanId(u64::from_be_bytes(context.span_id().to_bytes()));
        let state = context.trace_state().header();
        context
            .is_valid()
            .then(|| Self::new((trace_id, parent_id, context.is_sampled()), [state.as_bytes()].into_iter()))
    }

    pub(crate) fn link(&self) -> Link {
        Link { trace_id: self.trace_id, span_id: self.parent_id }
    }

    /// For OpenTelemetry, as a remote parent.
    pub(crate) fn span_context(&self) -> SpanContext {
        let flags = opentelemetry::TraceFlags::default().with_sampled(self.sampled);
        let state = self.tracestate.header().map(|list| tracestate::to_opentelemetry(&list)).unwrap_or_default();
        SpanContext::new(self.trace_id.0.into(), self.parent_id.0.into(), flags, true, state)
    }

    /// An Elastic agent stood at the root: `tracestate` has its entry.
    pub(crate) fn is_from_elastic(&self) -> bool {
        matches!(&self.tracestate, Tracestate::Received(list) if tracestate::has_elastic(list))
    }
}

/// `traceparent`, or where it is missing or not valid `elastic-apm-traceparent`. A header that comes twice is not valid,
/// and without a parent `tracestate` does not count. One allocation, only where there is a `tracestate`.
fn parent_in(headers: &HeaderMap) -> Option<Incoming> {
    let values = |name: &HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let parent = the_only(&TRACEPARENT, values).or_else(|| the_only(&ELASTIC_APM_TRACEPARENT, values))?;
    Some(Incoming::new(parent, values(&TRACESTATE)))
}

/// Returns true for the headers of which [`extract`] needs at least one. `name` is in lower case.
#[inline]
pub(crate) fn is_read(name: &str) -> bool {
    matches!(name, "traceparent" | "elastic-apm-traceparent" | "baggage")
}

/// Reads the caller's trace and its baggage from the headers of a request.
pub(crate) fn extract(headers: &HeaderMap) -> (Option<Incoming>, Vec<KeyValueMetadata>) {
    (parent_in(headers), baggage::parse(headers.get_all(&BAGGAGE).into_iter().map(HeaderValue::as_bytes)))
}

/// As [`extract`], from any carrier of text.
pub(crate) fn extract_text(carrier: &dyn Extractor) -> (Option<Incoming>, Vec<KeyValueMetadata>) {
    let values = |name: &HeaderName| carrier.get_all(name.as_str()).unwrap_or_default().into_iter().map(str::as_bytes);
    let parent = the_only(&TRACEPARENT, values).or_else(|| the_only(&ELASTIC_APM_TRACEPARENT, values));
    (parent.map(|parent| Incoming::new(parent, values(&TRACESTATE))), baggage::parse(values(&BAGGAGE)))
}

/// From the headers of a message, whose values are bytes: the text form wins over the binary one, which knows no
/// `tracestate`.
pub(crate) fn extract_bytes<'a>(get: &dyn Fn(&str) -> Option<&'a [u8]>) -> (Option<Incoming>, Vec<KeyValueMetadata>) {
    let value = |name: &HeaderName| get(name.as_str());
    let incoming = match the_only(&TRACEPARENT, |name| value(name).into_iter()) {
        Some(parent) => Some(Incoming::new(parent, value(&TRACESTATE).into_iter())),
        None => get(ELASTICAPMTRACEPARENT).and_then(|value| {
            let parent = binary::parse(value);
            if parent.is_none() {
                bad_input::malformed_binary_parent();
            }
            Some(Incoming::new(parent?, [].into_iter()))
        }),
    };
    (incoming, baggage::parse(value(&BAGGAGE).into_iter()))
}

fn the_only<'a, I: Iterator<Item = &'a [u8]>>(
    name: &HeaderName,
    values: impl FnOnce(&HeaderName) -> I,
) -> Option<(TraceId, SpanId, bool)> {
    let mut values = values(name);
    let value = values.next()?;
    if values.next().is_some() {
        bad_input::doubled_parent(name);
        return None;
    }
    let parent = traceparent::parse(value);
    if parent.is_none() {
        bad_input::malformed_parent(name);
    }
    parent
}
