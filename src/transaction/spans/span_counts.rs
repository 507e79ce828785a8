//! Span counts of a transaction: places in use, sent and dropped spans.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::record::SpanCount;

/// Set in `dropped` once the transaction has been counted.
const COUNTED: u64 = 1 << 63;

/// A span takes one of the `transaction_max_spans` places when it begins, so that a span whose children are sent is sent
/// too. A span that is merged or dropped gives its place back.
#[derive(Debug)]
pub(in crate::transaction) struct SpanCounts {
    /// Below 0: no limit, and places are not counted.
    limit: i64,
    places: AtomicU32,
    sent: AtomicU32,
    dropped: AtomicU64,
}

impl SpanCounts {
    pub(in crate::transaction) fn new(limit: i64) -> Self {
        Self { limit, places: AtomicU32::new(0), sent: AtomicU32::new(0), dropped: AtomicU64::new(0) }
    }

    pub(in crate::transaction) fn has_room(&self) -> bool {
        self.limit < 0 || i64::from(self.places.load(Relaxed)) < self.limit
    }

    /// Returns false when all places are taken.
    pub(in crate::transaction) fn take_place(&self) -> bool {
        let take = |places: u32| (i64::from(places) < self.limit).then_some(places + 1);
        self.limit < 0 || self.places.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// A span that has a place ends.
    pub(in crate::transaction) fn add_sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// A span that has ended is not sent after all.
    pub(in crate::transaction) fn give_back(&self) {
        self.sent.fetch_sub(1, Relaxed);
        if self.limit >= 0 {
            self.places.fetch_sub(1, Relaxed);
        }
    }

    /// Counts a dropped span. Returns false when the transaction has been counted, so that its count does not include the
    /// span.
    pub(in crate::transaction) fn add_dropped(&self) -> bool {
        self.dropped.fetch_add(1, Relaxed) & COUNTED == 0
    }

    /// The counts of the transaction, which ends.
    pub(in crate::transaction) fn finish(&self) -> SpanCount {
        let dropped = self.dropped.fetch_or(COUNTED, Relaxed) & !COUNTED;
        SpanCount { started: self.sent.load(Relaxed), dropped: dropped.try_into().unwrap_or(u32::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_span_place_can_be_reused() {
        let counts = SpanCounts::new(2);
        assert!(counts.take_place() && counts.take_place() && !counts.has_room() && !counts.take_place());
        counts.add_sent();
        counts.give_back();
        assert!(counts.has_room() && counts.take_place() && !counts.take_place());
        assert_eq!(counts.finish(), SpanCount::default());
    }

    #[test]
    fn unlimited_spans_always_have_a_place() {
        let counts = SpanCounts::new(-1);
        assert!((0..1000).all(|_| counts.take_place()));
        counts.add_sent();
        counts.add_sent();
        counts.give_back();
        assert!(counts.has_room());
        assert_eq!(counts.finish().started, 1);
        assert!(!SpanCounts::new(0).take_place());
    }

    #[test]
    fn spans_dropped_after_the_end_are_not_in_span_count() {
        let counts = SpanCounts::new(0);
        assert!(counts.add_dropped() && counts.add_dropped());
        assert_eq!(counts.finish().dropped, 2);
        assert!(!counts.add_dropped());
    }
}
