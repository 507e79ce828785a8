//! What is kept of spans that are not sent one by one.

use std::time::Duration;

use super::{Outcome, SpanRecord};

/// Several calls that became one span (agent-spec: span compression).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Composite {
    pub(crate) strategy: CompressionStrategy,
    /// At least 2.
    pub(crate) count: u32,
    /// Of their durations; the span's own has the gaps too.
    pub(crate) sum: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressionStrategy {
    /// All have one name.
    ExactMatch,
    /// They go to one target.
    SameKind,
}

impl CompressionStrategy {
    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::SameKind => "same_kind",
        }
    }
}

/// What an exit span will be on the wire: what spans are compared and counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) subtype: Option<String>,
    pub(crate) target: CallTarget,
    pub(crate) outcome: Outcome,
}

/// `service.target` and the resource that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallTarget {
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) resource: String,
}

impl CallTarget {
    fn heap_size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        text(&self.kind) + text(&self.name) + self.resource.len()
    }
}

/// Tells what a span will be; None for one that calls nobody.
pub(crate) type Describe = fn(&SpanRecord) -> Option<Call>;

/// The calls to one target that were dropped (`dropped_spans_stats`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DroppedSpans {
    pub(crate) target: CallTarget,
    pub(crate) outcome: Outcome,
    pub(crate) count: u64,
    pub(crate) sum: Duration,
}

impl DroppedSpans {
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.target.heap_size()
    }
}

/// Targets that one transaction tells of; calls to further ones are counted only.
const MAX_DROPPED: usize = 128;

/// Adds a call, or a composite of several, to those of its target and outcome.
pub(crate) fn count_dropped(all: &mut Vec<DroppedSpans>, call: Call, composite: Option<Composite>, duration: Duration) {
    let (count, sum) = composite.map_or((1, duration), |composite| (composite.count.into(), composite.sum));
    if let Some(known) = all.iter_mut().find(|known| known.target == call.target && known.outcome == call.outcome) {
        known.count += count;
        known.sum = known.sum.saturating_add(sum);
    } else if all.len() < MAX_DROPPED {
        all.push(DroppedSpans { target: call.target, outcome: call.outcome, count, sum });
    }
}
