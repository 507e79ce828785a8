//! The exit spans that have not ended. Pure.

use std::collections::BTreeMap;

use arrayvec::ArrayVec;
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};

use crate::record::{Outcome, SpanId, SpanRecord, SpanType, StatementKey, is_call};

/// Exit spans that run at once before a map keeps them.
const FEW: usize = 4;

/// Returns true for an exit span that can be merged or dropped: it reports no failure.
pub(super) fn is_plain_exit_span(record: &SpanRecord) -> bool {
    is_call(&record.kind)
        && !matches!(record.status, Status::Error { .. })
        && record.outcome != Some(Outcome::Failure)
        && !record.within_call
}

/// Where a new span goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanPlacement {
    /// The span's own id. `None`: `transaction_max_spans` is reached, and the span is not sent.
    pub(crate) id: Option<SpanId>,
    /// A span that is sent, or the transaction.
    pub(crate) parent_id: SpanId,
    /// True if the parent is an exit span of the same type, whose document has the destination.
    pub(crate) within_call: bool,
    /// The key of the database statement. sqlx can log an event for the same statement.
    pub(crate) statement: Option<StatementKey>,
}

/// A span that begins.
pub(crate) struct SpanStart<'a> {
    pub(crate) parent_id: SpanId,
    pub(crate) kind: &'a SpanKind,
    pub(crate) attributes: &'a [KeyValue],
    /// Microseconds since the epoch.
    pub(crate) timestamp: u64,
    /// True if the span records a call that has already ended.
    pub(crate) is_past: bool,
}

/// A call that runs.
pub(super) struct OpenExitSpan {
    /// The type by the attributes at the start.
    pub(super) span_type: SpanType<'static>,
    /// How many attributes that was judged by.
    pub(super) attributes: usize,
    /// A child, an error or another service refers to it: it must be sent, and by itself.
    pub(super) is_referenced: bool,
}

/// Only calls can be merged or dropped, so only those are known; an entry lives as long as its span.
#[derive(Default)]
pub(super) struct ExitSpans {
    few: ArrayVec<(SpanId, OpenExitSpan), FEW>,
    more: BTreeMap<u64, OpenExitSpan>,
}

impl ExitSpans {
    pub(super) fn open(&mut self, id: SpanId, span_type: SpanType<'static>, attributes: usize) {
        let call = OpenExitSpan { span_type, attributes, is_referenced: false };
        if let Err(full) = self.few.try_push((id, call)) {
            self.more.insert(id.0, full.element().1);
        }
    }

    fn get(&mut self, id: SpanId) -> Option<&mut OpenExitSpan> {
        match self.few.iter_mut().rfind(|(known, _)| *known == id) {
            Some((_, call)) => Some(call),
            None => self.more.get_mut(&id.0),
        }
    }

    /// The call is over. None for one that was not known.
    pub(super) fn close(&mut self, id: SpanId) -> Option<OpenExitSpan> {
        match self.few.iter().rposition(|(known, _)| *known == id) {
            Some(at) => Some(self.few.swap_remove(at).1),
            None => self.more.remove(&id.0),
        }
    }

    /// Something refers to the span, so it must be sent, and not merged.
    pub(super) fn mark_referenced(&mut self, id: SpanId) {
        if let Some(call) = self.get(id) {
            call.is_referenced = true;
        }
    }

    /// The type of a call that runs.
    pub(super) fn span_type(&mut self, id: SpanId) -> Option<&SpanType<'static>> {
        self.get(id).map(|call| &call.span_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_exit_spans_are_found_at_any_number() {
        let mut calls = ExitSpans::default();
        (0..100).for_each(|id| calls.open(SpanId(id), SpanType::INTERNAL, id as usize));
        for id in (0..100).step_by(3) {
            calls.mark_referenced(SpanId(id));
        }
        calls.mark_referenced(SpanId(1000)); // a span that is no open call leaves nothing behind
        for id in 0..100 {
            assert_eq!(calls.span_type(SpanId(id)), Some(&SpanType::INTERNAL));
            let call = calls.close(SpanId(id)).unwrap();
            assert_eq!((call.attributes, call.is_referenced), (id as usize, id % 3 == 0));
            assert!(calls.close(SpanId(id)).is_none() && calls.span_type(SpanId(id)).is_none(), "{id}");
        }
        assert!(calls.few.is_empty() && calls.more.is_empty());
    }
}
