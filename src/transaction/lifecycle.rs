//! A transaction from its start to its end.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use opentelemetry::{KeyValue, trace::SpanKind};

use super::{
    captured_body::CapturedBody,
    ended::EndedTransaction,
    ids::Ids,
    inner::{Recorder, TransactionInner},
    naming::renamed,
    spans::SpanCounts,
    state::State,
};
use crate::{
    config::{CaptureBody, Config},
    record::{Link, Monotonic, Name, OtelPart, Outcome, TraceId, TransactionRecord, set_attribute},
};

impl TransactionInner {
    #[inline]
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        config: Arc<Config>,
        ids: Ids,
        began: Monotonic,
        record: Box<TransactionRecord>,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            recorder,
            span_counts: SpanCounts::new(config.transaction_max_spans),
            is_discarded: AtomicBool::new(false),
            config,
            ids,
            adopted: OnceLock::new(),
            began,
            began_micros: record.timestamp,
            has_calls: AtomicBool::new(false),
            has_statements: AtomicBool::new(false),
            state: Mutex::new(State { record: Some(record), ..State::default() }),
        });
        #[cfg(feature = "testkit")]
        if let Some(watch) = shared.recorder.watch() {
            watch.begins(&shared);
        }
        shared
    }

    /// A transaction that a layer may take over, unlike one of another request or of `Transaction::start`.
    pub(crate) fn mark_adoptable(self: Arc<Self>) -> Arc<Self> {
        self.lock().is_adoptable = true;
        self
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn ids(&self) -> &Ids {
        self.adopted.get().map_or(&self.ids, |ids| ids)
    }

    /// False: the transaction is not sampled or is ignored, or the agent only passes traces on.
    pub(crate) fn records_spans(&self) -> bool {
        self.ids().sampled && !self.config.context_propagation_only && !self.is_discarded()
    }

    /// Microseconds since the epoch, so that no clock that is set meanwhile moves a part of it out of it.
    pub(crate) fn micros_at(&self, at: Monotonic) -> u64 {
        self.began_micros.saturating_add_signed(at.micros_since(self.began))
    }

    /// What the context in which it begins carries as baggage becomes attributes of the transaction.
    #[inline]
    pub(crate) fn attach_baggage(&self, context: &opentelemetry::Context) {
        let attached = self.recorder.baggage(context, &self.config);
        if !attached.is_empty() {
            self.attach(attached);
        }
    }

    #[cold]
    fn attach(&self, attached: Vec<KeyValue>) {
        self.update(|record| {
            let kind = if record.kind == "request" { SpanKind::Server } else { SpanKind::Internal };
            let kind = record.span_kind(kind);
            let otel = record.otel.get_or_insert_with(|| Box::new(OtelPart { kind, attributes: Vec::new() }));
            for attribute in attached {
                set_attribute(&mut otel.attributes, attribute);
            }
        });
    }

    /// By its own ids or those that it was adopted with.
    pub(crate) fn is_in_trace(&self, trace_id: TraceId) -> bool {
        self.ids.trace_id == trace_id || self.ids().trace_id == trace_id
    }

    /// A panic while the lock was held left no half-written record: every change is a single assignment or push.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record; after the end the write is counted and goes nowhere.
    pub(crate) fn update(&self, change: impl FnOnce(&mut TransactionRecord)) {
        match &mut self.lock().record {
            Some(record) => change(record),
            None => self.recorder.late_write(),
        }
    }

    /// Adds a link; one that there is no room for is counted.
    pub(crate) fn link(&self, link: Link) {
        let mut room = true;
        self.update(|record| room = record.add_link(link));
        if !room {
            self.recorder().excess_links(1);
        }
    }

    /// Reads the record, while there is one.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&TransactionRecord) -> T) -> Option<T> {
        self.lock().record.as_deref().map(look)
    }

    pub(crate) fn set_name(&self, name: Cow<'static, str>) {
        let mut state = self.lock();
        state.named_by_user = true;
        match &mut state.record {
            Some(record) => record.name = Name::Text(name),
            None => self.recorder.late_write(),
        }
    }

    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        let mut state = self.lock();
        state.outcome_by_user = true;
        match &mut state.record {
            Some(record) => record.outcome = outcome,
            None => self.recorder.late_write(),
        }
    }

    /// The layer's or the tracer's own word, which the user's beats.
    pub(crate) fn propose_name(&self, name: Name) {
        let mut state = self.lock();
        if !state.named_by_user
            && let Some(record) = &mut state.record
        {
            record.name = name;
        }
    }

    /// Sets the outcome that follows from the result of the work.
    ///
    /// It does not replace an outcome that the user has set, but it replaces an outcome that follows from captured
    /// errors.
    pub(crate) fn propose_outcome(&self, outcome: Outcome) {
        let state = &mut *self.lock();
        if !state.outcome_by_user
            && let Some(record) = &mut state.record
        {
            record.outcome = outcome;
            state.outcome_by_user = true;
        }
    }

    /// Makes this transaction, begun by a span, the one of a request. False when it is not to be had, or over.
    pub(crate) fn adopt(&self, ids: Option<Ids>, change: impl FnOnce(&mut TransactionRecord)) -> bool {
        let mut state = self.lock();
        if !state.is_adoptable {
            return false;
        }
        let Some(record) = &mut state.record else { return false };
        if let Some(ids) = ids {
            // spans that begin meanwhile read either the old or the new ids; what is sent has the new ones
            let _ = self.adopted.set(Box::new(Ids { id: self.ids.id, ..ids }));
        }
        let ids = self.ids();
        record.trace_id = ids.trace_id;
        record.parent_id = ids.parent_id;
        record.sampled = ids.sampled;
        record.sample_rate = ids.sample_rate;
        change(record);
        state.is_adoptable = false;
        true
    }

    /// The request for which a span outside of the layer began this is ignored: nothing of it is sent.
    pub(crate) fn discard(&self) {
        let waiting = {
            let mut state = self.lock();
            if state.is_adoptable {
                state.is_adoptable = false;
                state.record = None;
                self.is_discarded.store(true, Relaxed);
                state.take_waiting_errors()
            } else {
                None
            }
        };
        if let Some(waiting) = waiting {
            self.send_errors(waiting);
        }
    }

    /// Discards the transaction because the service calls `discard`. The record is kept until the end for errors.
    pub(crate) fn discard_by_code(&self) {
        match self.lock().record {
            Some(_) => self.is_discarded.store(true, Relaxed),
            None => self.recorder.late_write(),
        }
    }

    /// Returns true if the transaction and its spans are not sent, although the transaction is sampled.
    pub(crate) fn is_discarded(&self) -> bool {
        self.is_discarded.load(Relaxed)
    }

    pub(crate) fn capture_body(&self, body: CapturedBody) {
        self.lock().rare().body = Some(body);
    }

    pub(crate) fn is_adoptable(&self) -> bool {
        self.lock().is_adoptable
    }

    /// Ends the transaction, once: `finish` writes what only the end knows, then the record goes to the queue. The
    /// outcome that `finish` returns yields to one that the user has set.
    pub(crate) fn end(self: &Arc<Self>, finish: impl FnOnce(&mut TransactionRecord) -> Outcome) {
        let duration = self.began.elapsed();
        // one handle is the caller's; if it is the last, no error can be captured later
        let is_held = Arc::strong_count(self) > 1;
        let (mut timers, mut body, mut waiting) = (None, None, None);
        let (mut has_errors, mut unexplained) = (false, Some(None));
        let (mut record, outcome_by_user) = {
            let mut state = self.lock();
            let Some(record) = state.record.take() else { return };
            if is_held {
                state.rare().ended = Some(EndedTransaction::of(&record));
            }
            if let Some(spans) = &mut state.spans {
                timers = Some(std::mem::take(&mut spans.timers));
            }
            if let Some(rare) = &mut state.rare {
                body = rare.body.take();
                has_errors = !rare.errors.is_empty();
                waiting = Some(rare.errors.take_waiting());
                unexplained = rare.errors.failure.unexplained();
            }
            (record, state.outcome_by_user)
        };
        if let Some(waiting) = waiting {
            self.send_errors(waiting);
        }
        if let (Some(body), CaptureBody::Transactions | CaptureBody::All, Some(request)) =
            (&body, self.config.capture_body, &mut record.context.request)
        {
            request.body = body.get();
        }
        record.duration = duration;
        record.timed = self.is_timed();
        let outcome = finish(&mut record);
        if !outcome_by_user {
            record.outcome = outcome;
        }
        if let Some(name) = renamed(&record, &self.config) {
            record.name = name;
            if is_held {
                self.lock().rare().ended = Some(EndedTransaction::of(&record));
            }
        }
        if record.outcome == Outcome::Failure
            && let Some(line) = unexplained
        {
            has_errors |= self.explain_failure(&record, line, body.as_ref());
        }
        if let Some(timers) = timers {
            self.close_spans(timers, &mut record);
        }
        self.count_spans(&mut record);
        if self.config.context_propagation_only {
            return;
        }
        if !record.sampled && !self.recorder.server().takes_unsampled() {
            // the filters are not called, because the transaction would not be sent
            return;
        }
        if self.is_discarded() {
            let held = std::mem::take(&mut self.lock().spans().held);
            return self.recorder.discarded(1 + held.len() as u64);
        }
        if !self.recorder.filters().is_empty() && !self.keeps(&record, has_errors) {
            return;
        }
        self.recorder.transaction(record);
    }
}

/// The start of every transaction's record.
pub(crate) fn new_record(ids: &Ids, kind: Cow<'static, str>, name: Name, began: Monotonic) -> Box<TransactionRecord> {
    // written where it stays: it is large to be copied
    let room = Box::new_uninit();
    Box::write(
        room,
        TransactionRecord {
            parent_id: ids.parent_id,
            sampled: ids.sampled,
            sample_rate: ids.sample_rate,
            ..TransactionRecord::new(ids.trace_id, ids.id, kind, name, began.wall_micros())
        },
    )
}

impl fmt::Debug for TransactionInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("trace_id", &self.ids().trace_id).field("id", &self.ids().id).finish()
    }
}
