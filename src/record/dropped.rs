//! What is kept of spans that are not sent one by one.

use std::time::Duration;

use super::{Outcome, SpanType};

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

/// What an exit span is in Elastic's terms: what exit spans are compared and counted by. Nothing is redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExitSpan {
    pub(crate) name: String,
    /// True if the name is the signature of the SQL statement, which contains no values and is sent unchanged.
    pub(crate) is_named_by_statement: bool,
    pub(crate) span_type: SpanType<'static>,
    pub(crate) target: ServiceTarget,
    pub(crate) outcome: Outcome,
}

impl ExitSpan {
    pub(super) fn size(&self) -> usize {
        let subtype = self.span_type.subtype.as_ref().map_or(0, |subtype| subtype.len());
        size_of::<Self>() + self.name.len() + subtype + self.target.heap_size()
    }
}

/// The service that an exit span calls: type and name of its target, and the destination resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceTarget {
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) resource: String,
}

impl ServiceTarget {
    fn heap_size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        text(&self.kind) + text(&self.name) + self.resource.len()
    }
}

/// The calls to one target that were dropped (`dropped_spans_stats`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DroppedSpans {
    pub(crate) target: ServiceTarget,
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

/// Adds an exit span, or a composite of several, to those with the same target and outcome.
pub(crate) fn count_dropped(
    all: &mut Vec<DroppedSpans>,
    (target, outcome): (ServiceTarget, Outcome),
    composite: Option<Composite>,
    duration: Duration,
) {
    let (count, sum) = composite.map_or((1, duration), |composite| (composite.count.into(), composite.sum));
    if let Some(known) = all.iter_mut().find(|known| known.target == target && known.outcome == outcome) {
        known.count += count;
        known.sum = known.sum.saturating_add(sum);
    } else if all.len() < MAX_DROPPED {
        all.push(DroppedSpans { target, outcome, count, sum });
    }
}
