//! Similar exit spans that follow each other closely become one span with a count. Pure.
//!
//! spec: tracing-spans-compress.md

use std::time::Duration;

use crate::{
    config::Config,
    record::{Composite, CompressionStrategy, Outcome, SpanRecord},
    semconv::{classify, exit_span},
};

/// A finished call that waits for its next sibling.
pub(super) struct Waiting {
    pub(super) record: Box<SpanRecord>,
    /// A context may still hold the span.
    pub(super) is_held: bool,
}

impl Waiting {
    pub(super) fn new(record: Box<SpanRecord>) -> Self {
        Self { record, is_held: true }
    }

    /// Takes the next sibling in, where the two are alike.
    pub(super) fn absorb(&mut self, next: &mut SpanRecord, config: &Config) -> bool {
        let (exact, same_kind) =
            (config.span_compression_exact_match_max_duration, config.span_compression_same_kind_max_duration);
        let first = &mut *self.record;
        // what is cheap to see first: a name is only put together where it may matter
        let may_be_exact = first.name == next.name && next.duration <= exact;
        let may_be_same_kind = next.duration <= same_kind;
        let possible = match first.composite.map(|composite| composite.strategy) {
            Some(CompressionStrategy::ExactMatch) => may_be_exact,
            Some(CompressionStrategy::SameKind) => may_be_same_kind,
            None => may_be_exact && first.duration <= exact || may_be_same_kind && first.duration <= same_kind,
        };
        if !possible || first.kind != next.kind {
            return false;
        }
        let facts = classify(next);
        if is_passed_on(facts.span_type) || facts.outcome() == Outcome::Failure {
            return false;
        }
        let Some(target) = facts.exit_target() else { return false };
        let (composite, duration) = (first.composite, first.duration);
        let Some(exit_span) = exit_span(first) else { return false };
        let is_alike = exit_span.outcome != Outcome::Failure
            && exit_span.span_type.kind == facts.span_type
            && exit_span.span_type.subtype == facts.subtype
            && exit_span.target.kind.as_deref() == target.kind.as_deref()
            && exit_span.target.name.as_deref() == target.name.as_deref();
        if !is_alike {
            return false;
        }
        let both = |limit: Duration| duration <= limit && next.duration <= limit;
        let has_same_name = || facts.name().is(&exit_span.name);
        let strategy = match composite.map(|composite| composite.strategy) {
            Some(CompressionStrategy::ExactMatch) => has_same_name().then_some(CompressionStrategy::ExactMatch),
            Some(CompressionStrategy::SameKind) => Some(CompressionStrategy::SameKind),
            // names that are equal and calls that are too long are no `same_kind` either
            None if has_same_name() => both(exact).then_some(CompressionStrategy::ExactMatch),
            None => both(same_kind).then_some(CompressionStrategy::SameKind),
        };
        match strategy {
            Some(strategy) => merge(first, next, strategy),
            // it is compared with its own next sibling
            None => next.exit_span = Some(Box::new(facts.exit_span(target))),
        }
        strategy.is_some()
    }
}

/// Exit spans whose other side has most likely got the span's id: dropping or merging them would leave its transactions
/// without a parent. That a foreign propagator has sent the id cannot be seen.
pub(super) fn is_passed_on(kind: &str) -> bool {
    matches!(kind, "external" | "messaging")
}

fn merge(first: &mut SpanRecord, next: &SpanRecord, strategy: CompressionStrategy) {
    let composite = first.composite.unwrap_or(Composite { strategy, count: 1, sum: first.duration });
    first.composite = Some(Composite {
        count: composite.count.saturating_add(1),
        sum: composite.sum.saturating_add(next.duration),
        ..composite
    });
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let end = next.timestamp.saturating_add(micros(next.duration));
    let duration = Duration::from_micros(end.saturating_sub(first.timestamp));
    first.duration = first.duration.max(duration);
}
