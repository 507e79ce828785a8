//! The spans of a transaction from their start to the queue: which are sent, merged or dropped.

use std::sync::atomic::Ordering::Relaxed;

use arrayvec::ArrayVec;
use opentelemetry::KeyValue;

use super::{
    super::{inner::TransactionInner, state::State},
    MAX_HELD, MAX_WAITING, Spans,
    compression::{Waiting, is_passed_on},
    exit_spans::{OpenExitSpan, SpanPlacement, SpanStart, is_plain_exit_span},
    self_time::{TimedChild, Timers},
};
use crate::{
    config::Exporter,
    record::{
        Outcome, STACKTRACE, ServiceTarget, SpanId, SpanRecord, Stack, StatementKey, TransactionRecord, count_dropped,
        is_call,
    },
    semconv::{classify, span_type},
};

/// Returns true for SQLite. sqlx runs SQLite on another thread, which can log a failed or cancelled statement after the end
/// of the call.
fn is_sqlite(attributes: &[KeyValue]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(attribute.key.as_str(), "db.system.name" | "db.system") && attribute.value.as_str() == "sqlite"
    })
}

/// Returns target and outcome of an exit span that can be dropped: one that did not fail, and whose id no other service
/// knows.
fn target_of_droppable(record: &mut SpanRecord) -> Option<(ServiceTarget, Outcome)> {
    let is_droppable = |span_type: &str, outcome| outcome != Outcome::Failure && !is_passed_on(span_type);
    if let Some(exit_span) = record.exit_span.take_if(|known| is_droppable(known.span_type.kind, known.outcome)) {
        return Some((exit_span.target, exit_span.outcome));
    }
    if record.exit_span.is_some() {
        return None;
    }
    let facts = classify(record);
    let outcome = facts.outcome();
    let target = facts.exit_target().filter(|_| is_droppable(facts.span_type, outcome))?;
    Some((target.into_owned(facts.span_type), outcome))
}

impl State {
    /// A span ends, whether it is sent or not: its time is taken, unless the transaction is over. Where it was known as a
    /// call, whether something refers to it.
    fn span_ends(&mut self, record: &mut SpanRecord, shared: &TransactionInner) -> Option<bool> {
        let spans = self.spans.get_or_insert_default();
        if let Some(key) = record.statement {
            spans.statements.end(key, is_sqlite(&record.attributes));
        }
        let call = if record.is_part_of_call() { spans.calls.close(record.id) } else { None };
        let is_referenced = call.as_ref().map(|call| call.is_referenced);
        if let Some(transaction) = self.record.as_deref_mut().filter(|_| shared.is_timed()) {
            // the type has not changed since the start if no attribute was added or replaced
            let is_as_begun = |call: &OpenExitSpan| call.attributes == record.attributes.len() && !record.is_retold;
            let span_type = match call.filter(is_as_begun) {
                Some(call) => call.span_type,
                None => span_type(&record.kind, &record.attributes).into_owned(),
            };
            spans.timers.span_ends(record, &span_type, &mut transaction.self_times);
            record.span_type = Some(span_type);
        }
        is_referenced
    }
}

impl TransactionInner {
    /// Some spans are merged or dropped.
    fn settles(&self) -> bool {
        self.config.span_compression_enabled || !self.config.exit_span_min_duration.is_zero()
    }

    /// Marks a span that an error or another service refers to. It must be sent, and not merged. Returns the id of the span
    /// that replaces it, if it was dropped or merged already.
    pub(crate) fn pin(&self, id: SpanId) -> SpanId {
        if !self.may_be_call(id) {
            return id;
        }
        let (id, waited) = self.lock().spans().mark_referenced(id);
        waited.into_iter().for_each(|record| self.deliver(record));
        id
    }

    /// What refers to a span that is not sent shall refer to the other one.
    #[cfg(feature = "sdk")]
    pub(crate) fn replace_span(&self, id: SpanId, instead: SpanId) {
        self.lock().spans().replaced.insert(id, instead, true);
        self.has_calls.store(true, Relaxed);
    }

    /// No context holds the span any more, so nothing can begin to refer to it.
    pub(crate) fn release_span(&self, id: SpanId) {
        let mut state = self.lock();
        let spans = state.spans();
        if !spans.replaced.release(id)
            && let Some(at) = spans.waiting(id)
        {
            spans.waiting[at].is_held = false;
        }
    }

    /// Whether some call of this transaction, one that runs or is over, may have this id.
    fn may_be_call(&self, id: SpanId) -> bool {
        id != self.ids().id && self.has_calls.load(Relaxed)
    }

    /// Returns true if the span is a database call that has not ended.
    pub(crate) fn is_open_database_call(&self, id: SpanId) -> bool {
        self.may_be_call(id) && self.lock().spans().calls.span_type(id).is_some_and(|known| known.kind == "db")
    }

    /// Returns true if a database span already records the statement of an event of sqlx. Each span accounts for one event.
    pub(crate) fn has_span_of(&self, statement: &str) -> bool {
        if !self.has_statements.load(Relaxed) {
            return false;
        }
        let key = StatementKey::of(statement);
        self.lock().spans().statements.log(key)
    }

    /// Finds the place of a span that begins, and takes one of the `transaction_max_spans` places for it. Returns `None`
    /// for a span that is not recorded, because it is part of an open exit span of another type.
    // spec: tracing-spans.md
    pub(crate) fn place(&self, new: &SpanStart<'_>, new_id: impl FnOnce() -> SpanId) -> Option<SpanPlacement> {
        let SpanStart { parent_id, kind, attributes, timestamp, is_past } = *new;
        let below_call = self.may_be_call(parent_id);
        // a call that finds no room here gets no place later, or it would have to be known as a call
        let calls = is_call(kind) && self.span_counts.has_room();
        let statement = if is_call(kind) && !is_past { StatementKey::in_attributes(attributes) } else { None };
        if !below_call && !calls && statement.is_none() && !self.is_timed() {
            let takes_place = !is_call(kind) && self.span_counts.take_place();
            return Some(SpanPlacement { id: takes_place.then(new_id), parent_id, within_call: false, statement });
        }
        let own_type = || span_type(kind, attributes).into_owned();
        let mut own = calls.then(own_type);
        let mut state = self.lock();
        let spans = state.spans();
        let above = if below_call { spans.calls.span_type(parent_id) } else { None };
        let within_call = above.is_some();
        if above.is_some_and(|above| own.get_or_insert_with(own_type) != above) {
            return None;
        }
        let takes_place = (calls || !is_call(kind)) && self.span_counts.take_place();
        let id = takes_place.then(new_id);
        // what is kept within a call is a call in this respect
        if let Some((id, own)) = id.zip(own) {
            spans.calls.open(id, own, attributes.len());
            self.has_calls.store(true, Relaxed);
        }
        if let Some(key) = statement {
            spans.statements.begin(key);
            self.has_statements.store(true, Relaxed);
        }
        // what is below a span that is not sent refers to this parent
        let (parent_id, waited) = if below_call { spans.mark_referenced(parent_id) } else { (parent_id, None) };
        if self.is_timed() {
            let child = if id.is_none() && !is_call(kind) { TimedChild::Unsent } else { TimedChild::Span };
            spans.timers.child_begins(parent_id, timestamp, child);
        }
        drop(state);
        waited.into_iter().for_each(|record| self.deliver(record));
        Some(SpanPlacement { id, parent_id, within_call, statement })
    }

    /// Takes a finished span that has a place: it is sent, waits for its next sibling, becomes part of the former one, or
    /// is dropped because the call was short. Returns true when the span may be replaced, so that
    /// [`release_span`](Self::release_span) must follow.
    pub(crate) fn span(&self, mut record: Box<SpanRecord>) -> bool {
        self.span_counts.add_sent();
        if self.settles() {
            return self.settle(record);
        }
        if self.is_timed() || record.is_part_of_call() {
            self.lock().span_ends(&mut record, self);
        }
        if self.wants_stack(&record) {
            record.stack = Stack::here();
        }
        self.deliver(record);
        false
    }

    /// By `span_stack_trace_min_duration`. Not for calls that are most likely dropped, nor for spans that came with one.
    fn wants_stack(&self, record: &SpanRecord) -> bool {
        self.config.span_stack_trace_min_duration.is_some_and(|least| record.duration >= least)
            && self.config.stack_trace_limit != 0
            && !(is_plain_exit_span(record) && record.duration < self.config.exit_span_min_duration)
            && !record.attributes.iter().any(|attribute| attribute.key.as_str() == STACKTRACE)
    }

    fn settle(&self, mut record: Box<SpanRecord>) -> bool {
        let mut ready = ArrayVec::<Box<SpanRecord>, 3>::new();
        let mut plain;
        {
            let mut state = self.lock();
            let is_referenced = state.span_ends(&mut record, self).unwrap_or_default();
            let is_over = state.record.is_none();
            let spans = state.spans();
            let below = spans.take(spans.child_of(record.id));
            ready.extend(below.and_then(|below| self.keep_unless_short(spans, below)));
            let compresses = self.config.span_compression_enabled;
            plain = !is_over && !is_referenced && is_plain_exit_span(&record);
            if plain && compresses && spans.absorb(&mut record, &self.config) {
                self.span_counts.give_back();
            } else {
                if self.wants_stack(&record) {
                    // takes too long to hold the lock meanwhile
                    drop(state);
                    record.stack = Stack::here();
                    state = self.lock();
                    plain = plain && state.record.is_some();
                }
                let spans = state.spans();
                let call = Waiting::new(record);
                if !plain {
                    let sibling = spans.take(spans.child_of(call.record.parent_id));
                    ready.extend(sibling.and_then(|sibling| self.keep_unless_short(spans, sibling)));
                    ready.push(call.record);
                } else if compresses {
                    let before = spans.wait(call);
                    ready.extend(before.and_then(|before| self.keep_unless_short(spans, before)));
                } else {
                    ready.extend(self.keep_unless_short(spans, call));
                }
            }
        }
        ready.into_iter().for_each(|record| self.deliver(record));
        plain
    }

    /// Drops a plain call that was shorter than `exit_span_min_duration`. This happens under the lock, so that nothing
    /// refers to the call meanwhile.
    fn keep_unless_short(&self, spans: &mut Spans, waiting: Waiting) -> Option<Box<SpanRecord>> {
        let Waiting { mut record, is_held } = waiting;
        let took = record.composite.map_or(record.duration, |composite| composite.sum);
        if took >= self.config.exit_span_min_duration {
            return Some(record);
        }
        let Some(target) = target_of_droppable(&mut record) else { return Some(record) };
        self.span_counts.give_back();
        spans.replaced.insert(record.id, record.parent_id, is_held);
        if self.count_dropped_span() {
            count_dropped(&mut spans.dropped, target, record.composite, record.duration);
        }
        None
    }

    /// Counts a call that ends and had no place.
    pub(crate) fn span_beyond_limit(&self, mut record: Box<SpanRecord>) {
        let facts = classify(&record);
        let target = facts.exit_target().map(|target| (target.into_owned(facts.span_type), facts.outcome()));
        let mut state = self.lock();
        state.span_ends(&mut record, self);
        if self.count_dropped_span()
            && let Some(target) = target
        {
            count_dropped(&mut state.spans().dropped, target, record.composite, record.duration);
        }
    }

    /// Counts a span that is not sent, in the transaction or, after its end, in the agent's statistics. Returns true in
    /// the first case.
    pub(crate) fn count_dropped_span(&self) -> bool {
        let is_counted = self.span_counts.add_dropped();
        if !is_counted {
            self.recorder.late_span();
        }
        is_counted
    }

    fn deliver(&self, span: Box<SpanRecord>) {
        // since it began, the transaction may have been taken over by a request that is unsampled or ignored
        if !self.records_spans() {
            if self.is_discarded() {
                self.recorder.discarded(1);
            }
            return;
        }
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
    pub(in crate::transaction) fn close_spans(&self, timers: Timers, record: &mut TransactionRecord) {
        let micros = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
        let end = record.timestamp.saturating_add(micros);
        timers.finish(record.id, [record.timestamp, end], &mut record.self_times);
        let ready: ArrayVec<Box<SpanRecord>, MAX_WAITING> = {
            let mut state = self.lock();
            let spans = state.spans();
            let waiting = std::mem::take(&mut spans.waiting);
            waiting.into_iter().filter_map(|waiting| self.keep_unless_short(spans, waiting)).collect()
        };
        ready.into_iter().for_each(|record| self.deliver(record));
    }

    pub(in crate::transaction) fn count_spans(&self, record: &mut TransactionRecord) {
        record.spans = self.span_counts.finish();
        if record.spans.dropped > 0 {
            record.dropped_spans = std::mem::take(&mut self.lock().spans().dropped);
        }
    }

    /// Asks the filters, and sends or drops the spans that have waited for that.
    pub(in crate::transaction) fn keeps(&self, record: &TransactionRecord, has_errors: bool) -> bool {
        let overflown = self.lock().spans().held.len() > MAX_HELD;
        let keeps = overflown || self.recorder.keeps_transaction(record, has_errors);
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

    /// OTLP has no place for a breakdown.
    pub(in crate::transaction) fn is_timed(&self) -> bool {
        let config = &self.config;
        config.breakdown_metrics && !config.metrics_interval.is_zero() && config.exporter != Exporter::Otlp
    }

    /// Handles the end of a span beyond the limit that is no exit span. `now` is in microseconds since the epoch.
    pub(crate) fn unsent_ends(&self, parent: SpanId, now: u64) {
        self.count_dropped_span();
        if self.is_timed() {
            self.lock().spans().timers.child_ends(parent, now, TimedChild::Unsent);
        }
    }
}
