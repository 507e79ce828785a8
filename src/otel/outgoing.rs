//! The trace headers of outgoing calls and messages.

use opentelemetry::{Context, trace::TraceContextExt};

use super::context::transaction_from;
use crate::{
    propagation::{Incoming, Outgoing, Tracestate, baggage_of},
    transaction::installed,
};

/// From our transaction, or from a span of another tracer.
pub(crate) fn outgoing(context: &Context) -> Option<Outgoing> {
    let span = context.span();
    let incoming = Incoming::of(span.span_context())?;
    let (trace_id, parent_id) = (incoming.trace_id, incoming.parent_id);
    let baggage = baggage_of(context);
    let Some(shared) = transaction_from(context) else {
        let Incoming { sampled, tracestate, .. } = incoming;
        let legacy = installed().is_some_and(|agent| agent.config().use_elastic_traceparent_header);
        return Some(Outgoing { trace_id, parent_id, sampled, tracestate, legacy, baggage });
    };
    let ids = shared.ids();
    let parent_id = if span.span_context().is_remote() { ids.id } else { shared.pin(parent_id) };
    let legacy = shared.config().use_elastic_traceparent_header;
    let sampled = ids.sampled && !shared.is_discarded();
    let tracestate = match &ids.tracestate {
        Tracestate::Root(_) if shared.is_discarded() => Tracestate::Root(0.0),
        tracestate => tracestate.clone(),
    };
    Some(Outgoing { trace_id: ids.trace_id, parent_id, sampled, tracestate, legacy, baggage })
}
