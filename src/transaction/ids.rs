//! Who a new transaction is: drawn, or continued from what the caller sent.

use crate::{
    config::{Config, TraceContinuationStrategy},
    propagation::{self, Incoming, Tracestate},
    record::{Link, SpanId, TraceId, random_u64},
};

/// Who a transaction is in its trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ids {
    pub(crate) trace_id: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent_id: Option<SpanId>,
    pub(crate) sampled: bool,
    pub(crate) sample_rate: Option<f64>,
    /// What the services that are called get.
    pub(crate) tracestate: Tracestate,
}

/// The first of a trace: decides about sampling.
pub(crate) fn root(config: &Config) -> Ids {
    let rate = config.transaction_sample_rate;
    let sampled = propagation::is_sampled(rate, random_u64());
    let sample_rate = if sampled { rate } else { 0.0 };
    Ids {
        trace_id: TraceId::random(),
        id: SpanId::random(),
        parent_id: None,
        sampled,
        sample_rate: Some(sample_rate),
        tracestate: Tracestate::Root(sample_rate),
    }
}

/// Follows the caller's decision, or begins a trace of its own that is linked to the caller's, as
/// `trace_continuation_strategy` says.
pub(crate) fn continued(incoming: Incoming, config: &Config) -> (Ids, Option<Link>) {
    let restarts = match config.trace_continuation_strategy {
        TraceContinuationStrategy::Continue => false,
        TraceContinuationStrategy::Restart => true,
        TraceContinuationStrategy::RestartExternal => !incoming.is_from_elastic(),
    };
    if restarts {
        return (root(config), Some(incoming.link()));
    }
    (followed(incoming), None)
}

/// A place in the caller's trace.
pub(crate) fn followed(incoming: Incoming) -> Ids {
    Ids {
        trace_id: incoming.trace_id,
        id: SpanId::random(),
        parent_id: Some(incoming.parent_id),
        sampled: incoming.sampled,
        sample_rate: incoming.sample_rate,
        tracestate: incoming.tracestate,
    }
}
