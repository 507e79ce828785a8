//! Spans that are not sent, and the span that replaces each of them as a parent. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::record::SpanId;

/// Replaced spans that are remembered although no context holds them any more: ids may have been copied.
const MAX_RELEASED: usize = 128;

/// A merged span is replaced by the composite, a dropped one by its parent.
#[derive(Default)]
pub(super) struct ReplacedSpans {
    /// Spans that a context may still hold. An entry lives as long as the span's object.
    held: BTreeMap<u64, SpanId>,
    /// Spans that no context holds, the oldest first.
    released: VecDeque<(SpanId, SpanId)>,
}

impl ReplacedSpans {
    /// What refers to `id` from now on must refer to `instead`. `is_held`: a context may still hold the span.
    pub(super) fn insert(&mut self, id: SpanId, instead: SpanId, is_held: bool) {
        // a composite that is dropped takes the spans along that were merged into it
        let entries = self.held.values_mut().chain(self.released.iter_mut().map(|(_, replacement)| replacement));
        entries.filter(|replacement| **replacement == id).for_each(|replacement| *replacement = instead);
        if is_held {
            self.held.insert(id.0, instead);
        } else {
            self.push_released(id, instead);
        }
    }

    /// The span that a reference to `id` must name.
    pub(super) fn resolve(&self, id: SpanId) -> SpanId {
        let released = || self.released.iter().rfind(|(released, _)| *released == id).map(|(_, instead)| *instead);
        self.held.get(&id.0).copied().or_else(released).unwrap_or(id)
    }

    /// No context holds the span any more. Returns false for a span that was not replaced.
    pub(super) fn release(&mut self, id: SpanId) -> bool {
        let instead = self.held.remove(&id.0);
        if let Some(instead) = instead {
            self.push_released(id, instead);
        }
        instead.is_some()
    }

    fn push_released(&mut self, id: SpanId, instead: SpanId) {
        if self.released.len() == MAX_RELEASED {
            self.released.pop_front();
        }
        self.released.push_back((id, instead));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_spans_with_a_context_are_kept() {
        let mut replaced = ReplacedSpans::default();
        (0..1000).for_each(|id| replaced.insert(SpanId(id), SpanId(5000), true));
        assert!((0..1000).all(|id| replaced.resolve(SpanId(id)) == SpanId(5000)));
        assert_eq!(replaced.resolve(SpanId(1001)), SpanId(1001));
    }

    #[test]
    fn last_released_replaced_spans_are_kept() {
        let mut replaced = ReplacedSpans::default();
        (0..1000).for_each(|id| replaced.insert(SpanId(id), SpanId(5000), id % 2 == 0));
        (0..1000).for_each(|id| assert_eq!(replaced.release(SpanId(id)), id % 2 == 0));
        assert_eq!((replaced.held.len(), replaced.released.len()), (0, MAX_RELEASED));
        assert_eq!((replaced.resolve(SpanId(998)), replaced.resolve(SpanId(0))), (SpanId(5000), SpanId(0)));
    }

    #[test]
    fn replacing_a_replacement_updates_its_spans() {
        let mut replaced = ReplacedSpans::default();
        replaced.insert(SpanId(1), SpanId(3), true);
        replaced.insert(SpanId(2), SpanId(3), false);
        replaced.insert(SpanId(3), SpanId(9), false);
        assert!((1..4).all(|id| replaced.resolve(SpanId(id)) == SpanId(9)));
    }
}
