//! The spans of a transaction: how many are sent, which become one, and which wait (agent-spec 8).

use std::sync::atomic::Ordering::Relaxed;

use arrayvec::ArrayVec;

use super::{
    Shared,
    calls::{Beginning, Calls, OpenCall, Place, is_plain_call},
    compression::{Waiting, is_passed_on},
    self_time::{TimedChild, Timers},
    state::State,
};
use crate::{
    config::Config,
    record::{
        Describe, DroppedSpans, Outcome, STACKTRACE, SpanId, SpanRecord, Stack, TransactionRecord, count_dropped,
        is_call,
    },
};

/// Parents whose last call may wait for the next one at the same time.
const MAX_WAITING: usize = 4;
/// Spans that wait for the filters' word. A transaction that has more is kept unasked.
const MAX_HELD: usize = 1000;

/// What is not sent yet, and what never will be.
#[derive(Default)]
pub(super) struct Spans {
    /// The last call of a parent, which the next one may be like.
    waiting: ArrayVec<Waiting, MAX_WAITING>,
    pub(super) calls: Calls,
    pub(super) timers: Timers,
    dropped: Vec<DroppedSpans>,
    /// Spans that wait for what the filters say of the transaction, where there are filters.
    #[expect(clippy::vec_box, reason = "they come boxed, and go on so")]
    held: Vec<Box<SpanRecord>>,
    /// What they have said: true keeps.
    verdict: Option<bool>,
}

/// What a transaction that ends takes out of them.
pub(super) struct Closed {
    waiting: ArrayVec<Waiting, MAX_WAITING>,
    timers: Timers,
}

impl Spans {
    pub(super) fn close(&mut self) -> Closed {
        Closed { waiting: std::mem::take(&mut self.waiting), timers: std::mem::take(&mut self.timers) }
    }

    fn child_of(&self, parent: SpanId) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.record.parent_id == parent)
    }

    fn take(&mut self, at: Option<usize>) -> Option<Box<SpanRecord>> {
        at.map(|at| self.waiting.remove(at).record)
    }

    /// The id of what stands for a span that something refers to, and its record where it has waited until now.
    fn refer(&mut self, id: SpanId) -> (SpanId, Option<Box<SpanRecord>>) {
        let id = self.calls.refer(id);
        let waiting = self.waiting.iter().position(|waiting| waiting.record.id == id);
        (id, self.take(waiting))
    }

    /// Takes a call into its sibling, where there is one that is like it.
    fn absorb(&mut self, call: &SpanRecord, config: &Config, describe: Describe) -> bool {
        let Some(at) = self.child_of(call.parent_id) else { return false };
        let absorbed = self.waiting[at].absorb(call, config, describe);
        if absorbed {
            self.calls.replace(call.id, self.waiting[at].record.id);
        }
        absorbed
    }

    /// Lets a call wait for its next sibling, in the place of the former one or of whoever waits longest.
    fn wait(&mut self, call: Box<SpanRecord>) -> Option<Box<SpanRecord>> {
        let at = self.child_of(call.parent_id).or_else(|| self.waiting.is_full().then_some(0));
        let before = self.take(at);
        self.waiting.push(Waiting::new(call));
        before
    }
}

impl State {
    /// A span ends, whether it is sent or not: its time is taken, unless the transaction is over. Where it was known as a
    /// call, whether something refers to it.
    fn span_ends(&mut self, record: &mut SpanRecord, shared: &Shared) -> Option<bool> {
        let spans = self.spans.get_or_insert_default();
        let call = if record.is_part_of_call() { spans.calls.close(record.id) } else { None };
        let referred = call.as_ref().map(|call| call.referred);
        if let Some(transaction) = self.record.as_deref_mut().filter(|_| shared.is_timed()) {
            // what it was at its start it still is, where nothing more was told of it and nothing anew
            let is_as_begun = |call: &OpenCall| call.attributes == record.attributes.len() && !record.is_retold;
            let span_type = match call.filter(is_as_begun) {
                Some(call) => call.span_type,
                None => (shared.recorder.span_type())(&record.kind, &record.attributes).into_owned(),
            };
            spans.timers.span_ends(record, &span_type, &mut transaction.self_times);
            record.span_type = Some(span_type);
        }
        referred
    }
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

    /// Something refers to this span: an error, or another service. It must be sent, and by itself. Where it is gone
    /// already, the id of what stands for it is returned.
    pub(crate) fn pin(&self, id: SpanId) -> SpanId {
        if !self.may_be_call(id) {
            return id;
        }
        let (id, waited) = self.lock().spans().refer(id);
        waited.into_iter().for_each(|record| self.deliver(record));
        id
    }

    /// What refers to a span that is not sent shall refer to the other one.
    #[cfg(feature = "sdk")]
    pub(crate) fn replace_span(&self, id: SpanId, instead: SpanId) {
        self.lock().spans().calls.replace(id, instead);
        self.has_calls.store(true, Relaxed);
    }

    /// Whether some call of this transaction, one that runs or is over, may have this id.
    fn may_be_call(&self, id: SpanId) -> bool {
        id != self.ids().id && self.has_calls.load(Relaxed)
    }

    /// Finds the place of a span that begins, and knows it for a call from then on. None for one that must vanish: it is
    /// part of a call that runs and told as something else (agent-spec 6.3).
    pub(crate) fn place(&self, new: &Beginning<'_>) -> Option<Place> {
        let Beginning { parent_id, kind, attributes, id, timestamp } = *new;
        let calls = id.is_some() && is_call(kind);
        let below_call = self.may_be_call(parent_id);
        if !below_call && !calls && !self.is_timed() {
            return Some(Place { parent_id, within_call: false });
        }
        let span_type = || (self.recorder.span_type())(kind, attributes).into_owned();
        let mut own = calls.then(span_type);
        let mut state = self.lock();
        let spans = state.spans();
        let above = if below_call { spans.calls.span_type(parent_id) } else { None };
        let within_call = above.is_some();
        if above.is_some_and(|above| own.get_or_insert_with(span_type) != above) {
            return None;
        }
        // what is kept within a call is a call in this respect
        if let Some((id, own)) = id.zip(own) {
            spans.calls.open(id, own, attributes.len());
            self.has_calls.store(true, Relaxed);
        }
        let refers = below_call && id.is_some();
        let (parent_id, waited) = if refers { spans.refer(parent_id) } else { (parent_id, None) };
        if self.is_timed() {
            let child = if id.is_none() && !is_call(kind) { TimedChild::Unsent } else { TimedChild::Span };
            spans.timers.child_begins(parent_id, timestamp, child);
        }
        drop(state);
        waited.into_iter().for_each(|record| self.deliver(record));
        Some(Place { parent_id, within_call })
    }

    /// Takes a finished span: it is sent, waits for its next sibling, becomes part of the former one, or is dropped
    /// because the transaction has had its `transaction_max_spans` or the call was short.
    pub(crate) fn span(&self, mut record: Box<SpanRecord>) {
        let max = self.config.transaction_max_spans;
        let ticket = |started: u32| (max < 0 || i64::from(started) < max).then_some(started + 1);
        if self.spans_started.fetch_update(Relaxed, Relaxed, ticket).is_err() {
            self.drop_span(&mut record);
        } else if self.settles() {
            self.settle(record);
        } else {
            if self.is_timed() || record.is_part_of_call() {
                self.lock().span_ends(&mut record, self);
            }
            if self.wants_stack(&record) {
                record.stack = Stack::here();
            }
            self.deliver(record);
        }
    }

    /// By `span_stack_trace_min_duration`. Not for calls that are most likely dropped, nor for spans that came with one.
    fn wants_stack(&self, record: &SpanRecord) -> bool {
        self.config.span_stack_trace_min_duration.is_some_and(|least| record.duration >= least)
            && self.config.stack_trace_limit != 0
            && !(is_plain_call(record) && record.duration < self.config.exit_span_min_duration)
            && !record.attributes.iter().any(|attribute| attribute.key.as_str() == STACKTRACE)
    }

    fn settle(&self, mut record: Box<SpanRecord>) {
        let mut ready = ArrayVec::<Box<SpanRecord>, 2>::new();
        let mut by_itself = None;
        {
            let mut state = self.lock();
            let referred = state.span_ends(&mut record, self).unwrap_or_default();
            let is_over = state.record.is_none();
            let spans = state.spans();
            let below = spans.child_of(record.id);
            ready.extend(spans.take(below));
            let compresses = self.config.span_compression_enabled;
            let mut plain = !is_over && !referred && is_plain_call(&record);
            if plain && compresses && spans.absorb(&record, &self.config, self.recorder.describe()) {
                self.spans_started.fetch_sub(1, Relaxed);
            } else {
                if self.wants_stack(&record) {
                    // takes too long to hold the lock meanwhile
                    drop(state);
                    record.stack = Stack::here();
                    state = self.lock();
                    plain = plain && state.record.is_some();
                }
                let spans = state.spans();
                if !plain {
                    let sibling = spans.child_of(record.parent_id);
                    ready.extend(spans.take(sibling));
                    by_itself = Some(record);
                } else if compresses {
                    ready.extend(spans.wait(record));
                } else {
                    ready.push(record);
                }
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
            let spans = state.spans();
            spans.calls.replace(record.id, record.parent_id);
            return count_dropped(&mut spans.dropped, call, record.composite, record.duration);
        }
        self.deliver(record);
    }

    /// Counts a span that is one too many.
    pub(crate) fn span_beyond_limit(&self, mut record: Box<SpanRecord>) {
        self.drop_span(&mut record);
    }

    fn drop_span(&self, record: &mut SpanRecord) {
        self.span_dropped();
        let is_call = record.is_part_of_call();
        if !is_call && !self.is_timed() {
            return;
        }
        let call = is_call.then(|| (self.recorder.describe())(record)).flatten();
        let mut state = self.lock();
        if state.span_ends(record, self).is_some() {
            state.spans().calls.replace(record.id, record.parent_id);
        }
        if let Some(call) = call.filter(|_| state.record.is_some()) {
            count_dropped(&mut state.spans().dropped, call, record.composite, record.duration);
        }
    }

    pub(crate) fn span_dropped(&self) {
        self.spans_dropped.fetch_add(1, Relaxed);
    }

    fn deliver(&self, span: Box<SpanRecord>) {
        if !self.recorder.filters().is_empty() {
            let mut state = self.lock();
            let spans = state.spans();
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
    pub(super) fn close_spans(&self, closed: Closed, record: &mut TransactionRecord) {
        let Closed { waiting, timers } = closed;
        let micros = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
        let end = record.timestamp.saturating_add(micros);
        timers.finish(record.id, [record.timestamp, end], &mut record.self_times);
        waiting.into_iter().for_each(|waiting| self.report(waiting.record));
        self.count_spans(record);
    }

    pub(super) fn count_spans(&self, record: &mut TransactionRecord) {
        record.spans.started = self.spans_started.load(Relaxed);
        record.spans.dropped = self.spans_dropped.load(Relaxed);
        if record.spans.dropped > 0 {
            record.dropped_spans = std::mem::take(&mut self.lock().spans().dropped);
        }
    }

    /// Asks the filters, and sends or drops the spans that have waited for that.
    pub(super) fn keeps(&self, record: &TransactionRecord, has_errors: bool) -> bool {
        let overflown = self.lock().spans().held.len() > MAX_HELD;
        let keeps = overflown || self.recorder.filters().keep(record, has_errors, &self.recorder);
        let held = {
            let mut state = self.lock();
            let spans = state.spans();
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
}
