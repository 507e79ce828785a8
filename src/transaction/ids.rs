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

impl Ids {
    /// The first of a trace: decides about sampling.
    pub(crate) fn new_root(config: &Config) -> Self {
        let rate = config.transaction_sample_rate;
        let sampled = propagation::is_sampled(rate, random_u64());
        let sample_rate = if sampled { rate } else { 0.0 };
        Self {
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
    pub(crate) fn from_remote(incoming: Incoming, config: &Config) -> (Self, Option<Link>) {
        let restarts = match config.trace_continuation_strategy {
            TraceContinuationStrategy::Continue => false,
            TraceContinuationStrategy::Restart => true,
            TraceContinuationStrategy::RestartExternal => !incoming.is_from_elastic(),
        };
        if restarts {
            return (Self::new_root(config), Some(incoming.link()));
        }
        (Self::child_of(incoming), None)
    }

    /// A place in the caller's trace.
    pub(crate) fn child_of(incoming: Incoming) -> Self {
        Self {
            trace_id: incoming.trace_id,
            id: SpanId::random(),
            parent_id: Some(incoming.parent_id),
            sampled: incoming.sampled,
            sample_rate: incoming.sample_rate,
            tracestate: incoming.tracestate,
        }
    }
}
