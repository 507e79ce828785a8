//! What a request brings, and what a call takes along.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    traceparent,
    tracestate::{self, Tracestate},
};
use crate::record::{SpanId, TraceId};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

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

/// What the headers tell of a caller's trace. None without a valid `traceparent`, or with several; `tracestate` does
/// not count then. One lookup where there is none, and one allocation only where there is a `tracestate`.
pub(crate) fn extract(headers: &HeaderMap) -> Option<Incoming> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let (trace_id, parent_id, sampled) = traceparent::parse(value.as_bytes())?;
    let mut incoming = Incoming { trace_id, parent_id, sampled, sample_rate: None, tracestate: Tracestate::None };
    let states = headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes);
    if let Some(list) = tracestate::received(states) {
        incoming.sample_rate = tracestate::sample_rate(&list).map(|rate| if sampled { rate } else { 0.0 });
        incoming.tracestate = Tracestate::Received(list);
    }
    Some(incoming)
}

/// Puts the trace into the headers of a call, in place of what was there. `parent_id` is the span, or else the
/// transaction, that the call is made in.
pub(crate) fn inject(
    headers: &mut HeaderMap,
    trace_id: TraceId,
    parent_id: SpanId,
    sampled: bool,
    tracestate: &Tracestate,
) {
    // both are made of visible ASCII characters only
    if let Ok(value) = HeaderValue::try_from(traceparent::traceparent(trace_id, parent_id, sampled)) {
        headers.insert(&TRACEPARENT, value);
    }
    match tracestate.header().map(|text| HeaderValue::from_str(&text)) {
        Some(Ok(value)) => headers.insert(&TRACESTATE, value),
        _ => headers.remove(&TRACESTATE),
    };
}
