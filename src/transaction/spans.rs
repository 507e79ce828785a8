//! The spans of a transaction: how many are sent, which become one, and which wait (agent-spec 8).

use std::sync::atomic::Ordering::Relaxed;

use arrayvec::ArrayVec;
use opentelemetry::trace::{SpanKind, Status};

use super::{
    Shared,
    compression::{Waiting, is_passed_on},
};
use crate::record::{DroppedSpans, Outcome, SpanId, SpanRecord, TransactionRecord, count_dropped};

/// Parents whose last call may wait for the next one at the same time.
const MAX_WAITING: usize = 4;
/// Spans that are known to have children, an error, or a place in another service. With more, all count as such.
const MAX_PINNED: usize = 1024;
/// Spans that wait for the filters' word. A transaction that has more is kept unasked.
const MAX_HELD: usize = 1000;

/// What is not sent yet, and what never will be.
#[derive(Default)]
pub(super) struct Spans {
    /// The last call of a parent, which the next one may be like.
    waiting: ArrayVec<Waiting, MAX_WAITING>,
    /// Open spans that must be sent, each by itself: something refers to them.
    pinned: Vec<SpanId>,
    dropped: Vec<DroppedSpans>,
    /// Spans that wait for what the filters say of the transaction, where there are filters.
    #[expect(clippy::vec_box, reason = "they come boxed, and go on so")]
    held: Vec<Box<SpanRecord>>,
    /// What they have said: true keeps.
    verdict: Option<bool>,
}

impl Spans {
    pub(super) fn pin(&mut self, id: SpanId) {
        if self.pinned.len() < MAX_PINNED && !self.pinned.contains(&id) {
            self.pinned.push(id);
        }
    }

    /// Whether the span, which ends, was pinned.
    fn unpin(&mut self, id: SpanId) -> bool {
        match self.pinned.iter().position(|pinned| *pinned == id) {
            Some(at) => {
                self.pinned.swap_remove(at);
                true
            }
            None => self.pinned.len() == MAX_PINNED,
        }
    }

    fn child_of(&self, parent: SpanId) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.record.parent_id == parent)
    }
}

/// A call that may be merged or dropped: it went well, and nothing is known to refer to it.
fn is_plain_call(record: &SpanRecord) -> bool {
    matches!(record.kind, SpanKind::Client | SpanKind::Producer)
        && !matches!(record.status, Status::Error { .. })
        && record.outcome != Some(Outcome::Failure)
}

impl Shared {
    /// A place for one more span, by `transaction_max_spans`.
    pub(crate) fn has_room_for_span(&self) -> bool {
        let max = self.config.transaction_max_spans;
        max < 0 || i64::from(self.spans_started.load(Relaxed)) < max
    }

    /// Some spans are merged or dropped.
    fn settles(&self) -> bool {
        self.config.span_compression_enabled || !self.config.exit_span_min_duration.is_zero()
    }

    /// Something refers to this span: a child of its, or another service. It must be sent, and by itself.
    pub(crate) fn pin(&self, id: SpanId) {
        if id != self.ids().id && self.settles() {
            self.lock().spans.pin(id);
        }
    }

    /// Takes a finished span: it is sent, waits for its next sibling, becomes part of the former one, or is dropped
    /// because the transaction has had its `transaction_max_spans` or the call was short.
    pub(crate) fn span(&self, record: Box<SpanRecord>) {
        self.time(&record);
        let max = self.config.transaction_max_spans;
        let ticket = |started: u32| (max < 0 || i64::from(started) < max).then_some(started + 1);
        if self.spans_started.fetch_update(Relaxed, Relaxed, ticket).is_err() {
            self.drop_span(&record);
        } else if self.settles() {
            self.settle(record);
        } else {
            self.deliver(record);
        }
    }

    fn settle(&self, record: Box<SpanRecord>) {
        let mut ready = ArrayVec::<Box<SpanRecord>, 2>::new();
        let mut by_itself = None;
        {
            let mut state = self.lock();
            let is_over = state.record.is_none();
            let spans = &mut state.spans;
            let pinned = spans.unpin(record.id);
            if let Some(at) = spans.child_of(record.id) {
                ready.push(spans.waiting.remove(at).record);
            }
            let sibling = spans.child_of(record.parent_id);
            if is_over || pinned || !is_plain_call(&record) {
                ready.extend(sibling.map(|at| spans.waiting.remove(at).record));
                by_itself = Some(record);
            } else if !self.config.span_compression_enabled {
                ready.push(record);
            } else if let Some(at) = sibling {
                if spans.waiting[at].absorb(&record, &self.config, self.recorder.describe()) {
                    self.spans_started.fetch_sub(1, Relaxed);
                } else {
                    ready.push(std::mem::replace(&mut spans.waiting[at], Waiting::new(record)).record);
                }
            } else {
                if spans.waiting.is_full() {
                    ready.push(spans.waiting.remove(0).record);
                }
                spans.waiting.push(Waiting::new(record));
            }
        }
        ready.into_iter().for_each(|record| self.report(record));
        by_itself.into_iter().for_each(|record| self.deliver(record));
    }

    /// Sends a plain call, unless it was shorter than `exit_span_min_duration`.
    fn report(&self, record: Box<SpanRecord>) {
        let took = record.composite.map_or(record.duration, |composite| composite.sum);
        if took < self.config.exit_span_min_duration
            && let Some(call) = (self.recorder.describe())(&record)
            && call.outcome != Outcome::Failure
            && !is_passed_on(&call.kind)
        {
            self.spans_started.fetch_sub(1, Relaxed);
            self.span_dropped();
            let mut state = self.lock();
            return count_dropped(&mut state.spans.dropped, call, record.composite, record.duration);
        }
        self.deliver(record);
    }

    /// Counts a span that is one too many.
    pub(crate) fn span_beyond_limit(&self, record: &SpanRecord) {
        self.time(record);
        self.drop_span(record);
    }

    fn drop_span(&self, record: &SpanRecord) {
        self.span_dropped();
        if matches!(record.kind, SpanKind::Client | SpanKind::Producer)
            && let Some(call) = (self.recorder.describe())(record)
        {
            let mut state = self.lock();
            if state.record.is_some() {
                count_dropped(&mut state.spans.dropped, call, record.composite, record.duration);
            }
        }
    }

    pub(crate) fn span_dropped(&self) {
        self.spans_dropped.fetch_add(1, Relaxed);
    }

    fn deliver(&self, span: Box<SpanRecord>) {
        if !self.recorder.filters().is_empty() {
            let spans = &mut self.lock().spans;
            match spans.verdict {
                Some(true) => {}
                Some(false) => return self.recorder.filtered(1),
                None if spans.held.len() <= MAX_HELD => return spans.held.push(span),
                None => {}
            }
        }
        self.recorder.span(span);
    }

    /// The transaction is over: nothing waits any longer.
    pub(super) fn close_spans(&self, waiting: ArrayVec<Waiting, MAX_WAITING>, record: &mut TransactionRecord) {
        waiting.into_iter().for_each(|waiting| self.report(waiting.record));
        record.spans.started = self.spans_started.load(Relaxed);
        record.spans.dropped = self.spans_dropped.load(Relaxed);
        if record.spans.dropped > 0 {
            record.dropped_spans = std::mem::take(&mut self.lock().spans.dropped);
        }
    }

    /// Asks the filters, and sends or drops the spans that have waited for that.
    pub(super) fn keeps(&self, record: &TransactionRecord, has_errors: bool) -> bool {
        let overflown = self.lock().spans.held.len() > MAX_HELD;
        let keeps = overflown || self.recorder.filters().keep(record, has_errors, &self.recorder);
        let held = {
            let spans = &mut self.lock().spans;
            spans.verdict = Some(keeps);
            std::mem::take(&mut spans.held)
        };
        if keeps {
            held.into_iter().for_each(|span| self.recorder.span(span));
        } else {
            self.recorder.filtered(1 + held.len() as u64);
        }
        keeps
    }

    pub(super) fn take_waiting(spans: &mut Spans) -> ArrayVec<Waiting, MAX_WAITING> {
        std::mem::take(&mut spans.waiting)
    }
}
