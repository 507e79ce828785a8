//! What a transaction's handles point to.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use opentelemetry::trace::SpanKind;

use super::{captured_body::CapturedBody, naming::renamed, recorder::Recorder};
use crate::config::{CaptureBody, Config};
use crate::propagation::{self, Tracestate};
use crate::record::{
    Context, ErrorParent, ErrorRecord, Exception, Name, OtelPart, Outcome, SpanCount, SpanId, SpanRecord, TraceId,
    TransactionRecord, set_attribute, wall_micros,
};

/// Documents for errors that one transaction gives; further ones are counted.
const MAX_ERRORS: usize = 50;

/// Spans that wait for the filters' word. A transaction that has more is kept unasked.
const MAX_HELD: usize = 1000;

/// Who a transaction is in its trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ids {
    pub(crate) trace_id: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent_id: Option<SpanId>,
    pub(crate) sampled: bool,
    pub(crate) sample_rate: Option<f64>,
    /// What the services that are called get.
    pub(crate) tracestate: Tracestate,
}

/// One transaction, from its start until the last handle is gone.
pub(crate) struct Shared {
    recorder: Arc<Recorder>,
    /// The options that held when it began.
    config: Arc<Config>,
    ids: Ids,
    /// Set when a layer takes over a transaction that a span outside of it had begun, and the request says that it
    /// belongs to another trace.
    adopted: OnceLock<Box<Ids>>,
    pub(crate) began: Instant,
    spans_started: AtomicU32,
    spans_dropped: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// None: the transaction has ended.
    record: Option<Box<TransactionRecord>>,
    named_by_user: bool,
    outcome_by_user: bool,
    /// Begun by a span of `tracing` or OpenTelemetry: a layer that meets it may take it over.
    up_for_adoption: bool,
    errors: Vec<Fingerprint>,
    /// Spans that wait for what the filters say of the transaction, where there are filters.
    held: Vec<Box<SpanRecord>>,
    /// The filters have turned the transaction away.
    filtered: bool,
    /// The request's body, where `capture_body` asks for it.
    body: Option<CapturedBody>,
}

impl Shared {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        config: Arc<Config>,
        ids: Ids,
        began: Instant,
        record: Box<TransactionRecord>,
    ) -> Self {
        Self {
            recorder,
            config,
            ids,
            adopted: OnceLock::new(),
            began,
            spans_started: AtomicU32::new(0),
            spans_dropped: AtomicU32::new(0),
            state: Mutex::new(State { record: Some(record), ..State::default() }),
        }
    }

    /// A transaction that a layer may take over, unlike one of another request or of `Transaction::start`.
    pub(crate) fn up_for_adoption(self) -> Self {
        self.lock().up_for_adoption = true;
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

    /// False: the transaction is not sampled, or the agent only passes traces on.
    pub(crate) fn records_spans(&self) -> bool {
        self.ids().sampled && !self.config.context_propagation_only
    }

    /// What the context in which it begins carries as baggage becomes attributes of the transaction.
    pub(crate) fn attach_baggage(&self, context: &opentelemetry::Context) {
        let attached = propagation::attached(context, &self.config.baggage_to_attach);
        if attached.is_empty() {
            return;
        }
        self.update(|record| {
            let kind = if record.kind == "request" { SpanKind::Server } else { SpanKind::Internal };
            let otel = record.otel.get_or_insert_with(|| Box::new(OtelPart { kind, attributes: Vec::new() }));
            attached.into_iter().for_each(|attribute| set_attribute(&mut otel.attributes, attribute));
        });
    }

    /// By its own ids or those that it was adopted with.
    pub(crate) fn is_in_trace(&self, trace_id: TraceId) -> bool {
        self.ids.trace_id == trace_id || self.ids().trace_id == trace_id
    }

    /// A panic while the lock was held left no half-written record: every change is a single assignment or push.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record; after the end the write is counted and goes nowhere.
    pub(crate) fn update(&self, change: impl FnOnce(&mut TransactionRecord)) {
        match &mut self.lock().record {
            Some(record) => change(record),
            None => self.recorder.late_write(),
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

    /// Makes this transaction, begun by a span, the one of a request. False when it is not to be had, or over.
    pub(crate) fn adopt(&self, ids: Option<Ids>, change: impl FnOnce(&mut TransactionRecord)) -> bool {
        let mut state = self.lock();
        if !state.up_for_adoption {
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
        state.up_for_adoption = false;
        true
    }

    pub(crate) fn capture_body(&self, body: CapturedBody) {
        self.lock().body = Some(body);
    }

    pub(crate) fn is_up_for_adoption(&self) -> bool {
        self.lock().up_for_adoption
    }

    /// Ends the transaction, once: `finish` writes what only the end knows, then the record goes to the queue. The
    /// outcome that `finish` returns yields to one that the user has set.
    pub(crate) fn end(&self, finish: impl FnOnce(&mut TransactionRecord) -> Outcome) {
        let duration = self.began.elapsed();
        let (mut record, outcome_by_user, body, has_errors) = {
            let mut state = self.lock();
            let Some(record) = state.record.take() else { return };
            (record, state.outcome_by_user, state.body.take(), !state.errors.is_empty())
        };
        if let (Some(body), CaptureBody::Transactions | CaptureBody::All, Some(request)) =
            (body, self.config.capture_body, &mut record.context.request)
        {
            request.body = body.get();
        }
        record.duration = duration;
        let outcome = finish(&mut record);
        if !outcome_by_user {
            record.outcome = outcome;
        }
        if let Some(name) = renamed(&record, &self.config) {
            record.name = name;
        }
        record.spans =
            SpanCount { started: self.spans_started.load(Relaxed), dropped: self.spans_dropped.load(Relaxed) };
        if self.config.context_propagation_only {
            return;
        }
        if !self.recorder.filters().is_empty() && !self.keeps(&record, has_errors) {
            return;
        }
        if record.sampled || self.recorder.server().takes_unsampled() {
            self.recorder.transaction(record);
        }
    }

    /// Asks the filters, and sends or drops the spans that have waited for that.
    fn keeps(&self, record: &TransactionRecord, has_errors: bool) -> bool {
        let overflown = self.lock().held.len() > MAX_HELD;
        let keeps = overflown || self.recorder.filters().keep(record, has_errors, &self.recorder);
        let held = {
            let mut state = self.lock();
            state.filtered = !keeps;
            std::mem::take(&mut state.held)
        };
        if keeps {
            held.into_iter().for_each(|span| self.recorder.span(span));
        } else {
            self.recorder.filtered(1 + held.len() as u64);
        }
        keeps
    }

    /// Where there are filters, a span waits for them.
    fn hold(&self, span: Box<SpanRecord>) {
        let mut state = self.lock();
        if state.filtered {
            drop(state);
            return self.recorder.filtered(1);
        }
        if state.record.is_some() && state.held.len() <= MAX_HELD {
            return state.held.push(span);
        }
        drop(state);
        self.recorder.span(span);
    }

    /// An error was recorded on this transaction.
    pub(crate) fn has_errors(&self) -> bool {
        !self.lock().errors.is_empty()
    }

    /// A panic went through: recorded as an unhandled error, unless the panic hook did so with more to tell.
    pub(crate) fn panicked(&self, panic: &(dyn std::any::Any + Send)) {
        let exception = Exception::from_panic(panic);
        self.error(exception.into_record(SystemTime::now()), None);
    }

    /// A place for one more span, by `transaction_max_spans`.
    pub(crate) fn has_room_for_span(&self) -> bool {
        let max = self.config.transaction_max_spans;
        max < 0 || i64::from(self.spans_started.load(Relaxed)) < max
    }

    /// Sends a finished span, unless the transaction has had its `transaction_max_spans`.
    pub(crate) fn span(&self, record: Box<SpanRecord>) {
        let max = self.config.transaction_max_spans;
        let ticket = |started: u32| (max < 0 || i64::from(started) < max).then_some(started + 1);
        match self.spans_started.fetch_update(Relaxed, Relaxed, ticket) {
            Ok(_) if self.recorder.filters().is_empty() => self.recorder.span(record),
            Ok(_) => self.hold(record),
            Err(_) => self.span_dropped(),
        }
    }

    pub(crate) fn span_dropped(&self) {
        self.spans_dropped.fetch_add(1, Relaxed);
    }

    /// Where an error under this transaction belongs; `parent` is the active span.
    fn error_parent(&self, parent: Option<SpanId>, record: &TransactionRecord) -> ErrorParent {
        let ids = self.ids();
        ErrorParent {
            trace_id: ids.trace_id,
            transaction_id: ids.id,
            parent_id: parent.unwrap_or(ids.id),
            sampled: ids.sampled,
            kind: record.kind.clone(),
            name: renamed(record, &self.config)
                .unwrap_or_else(|| Name::Text(record.display_name().into_owned().into())),
        }
    }

    /// Completes an error with what the transaction knows and sends it. The error's own labels and custom context win.
    /// The same error met again, and errors beyond the limit, are counted instead.
    pub(crate) fn error(&self, mut error: Box<ErrorRecord>, parent: Option<SpanId>) {
        {
            let mut state = self.lock();
            if let Some(exception) = &error.exception {
                let fingerprint = Fingerprint::of(exception);
                let known = state.errors.iter().any(|seen| seen.is_same(&fingerprint));
                if known || state.errors.len() >= MAX_ERRORS {
                    return self.recorder.suppressed_error();
                }
                state.errors.push(fingerprint);
            }
            match &state.record {
                Some(record) => {
                    error.parent = Some(self.error_parent(parent, record));
                    let own = std::mem::replace(&mut error.context, record.context.clone());
                    if let (Some(body), CaptureBody::Errors | CaptureBody::All, Some(request)) =
                        (&state.body, self.config.capture_body, &mut error.context.request)
                    {
                        request.body = body.get();
                    }
                    own.labels.into_iter().for_each(|label| {
                        error.context.set_label(label.key, label.value);
                    });
                    own.custom.into_iter().for_each(|custom| error.context.set_custom(custom.key, custom.json));
                }
                None => {
                    let ids = self.ids();
                    error.parent = Some(ErrorParent {
                        trace_id: ids.trace_id,
                        transaction_id: ids.id,
                        parent_id: parent.unwrap_or(ids.id),
                        sampled: ids.sampled,
                        kind: Cow::Borrowed("request"),
                        name: Name::Text(Cow::Borrowed("")),
                    });
                }
            }
        }
        if !self.config.context_propagation_only {
            self.recorder.error(error);
        }
    }
}

/// Tells whether two errors are the same: type, message and chain.
struct Fingerprint {
    messages: u64,
    /// None where the type was erased: the same value may come by once as itself and once as `dyn Error`.
    kind: Option<Cow<'static, str>>,
}

impl Fingerprint {
    fn of(exception: &Exception) -> Self {
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        let mut hasher = KEYS.get_or_init(RandomState::new).build_hasher();
        for one in std::iter::once(exception).chain(&exception.causes) {
            one.message.hash(&mut hasher);
        }
        let kind = exception.kind.clone().filter(|_| !exception.erased);
        Self { messages: hasher.finish(), kind }
    }

    fn is_same(&self, other: &Self) -> bool {
        let kinds = self.kind.as_ref().zip(other.kind.as_ref());
        self.messages == other.messages && kinds.is_none_or(|(one, other)| one == other)
    }
}

/// The start of every transaction's record.
pub(crate) fn new_record(
    ids: &Ids,
    kind: Cow<'static, str>,
    name: Name,
    began: Instant,
    context: Context,
) -> Box<TransactionRecord> {
    Box::new(TransactionRecord {
        trace_id: ids.trace_id,
        id: ids.id,
        parent_id: ids.parent_id,
        sampled: ids.sampled,
        sample_rate: ids.sample_rate,
        timestamp: wall_micros(began),
        duration: std::time::Duration::ZERO,
        time_to_head: None,
        kind,
        name,
        result: None,
        outcome: Outcome::Unknown,
        spans: SpanCount::default(),
        links: Vec::new(),
        otel: None,
        context,
    })
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("trace_id", &self.ids().trace_id).field("id", &self.ids().id).finish()
    }
}
