//! Where the records of an agent go, and by which rules: all that the request path knows of an agent.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use opentelemetry::{Context, KeyValue};
use tokio::runtime::Handle;

#[cfg(feature = "testkit")]
use super::inner::Watch;
use super::{
    error_budget::ErrorBudget,
    filter::{ErrorFilters, FinishedTransaction, ReportedError, TransactionFilters},
    inner::{Panic, Panics, Recorder},
    user_code::{UserCode, run_user_code},
};
use crate::{
    apm_server::ServerVersion,
    config::{Applied, Central, Config, EnvVars, LiveConfig},
    pipeline::{DropReason, Queue},
    propagation::AttachedBaggage,
    record::{
        ErrorRecord, Event, Exception, LabelValue, LogRecord, SpanRecord, TransactionRecord, current_context,
        is_contained,
    },
    sanitize::{REDACTED, Sanitizer},
};

impl Recorder {
    pub(crate) fn new(config: LiveConfig, queue: Queue) -> Self {
        let now = config.snapshot();
        Self {
            sanitizer: ArcSwap::from_pointee(Sanitizer::of(&now)),
            recording: AtomicBool::new(is_recording(&now)),
            config,
            server: ServerVersion::default(),
            queue,
            errors: ErrorBudget::new(),
            filters: TransactionFilters::default(),
            error_filters: ErrorFilters::default(),
            baggage: AttachedBaggage::default(),
            panics: Panics::default(),
            runtime: OnceLock::new(),
            database: Vec::new(),
            logged_panics: AtomicU8::new(0),
            logged_slow: AtomicU8::new(0),
            #[cfg(feature = "testkit")]
            watch: OnceLock::new(),
        }
    }

    /// From now on it is known which transactions begin and which requests are ignored.
    #[cfg(feature = "testkit")]
    pub(crate) fn start_watch(&self) {
        self.watch.get_or_init(Watch::default);
    }

    #[cfg(feature = "testkit")]
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.get()
    }

    pub(crate) fn with_filters(self, filters: TransactionFilters, error_filters: ErrorFilters) -> Self {
        Self { filters, error_filters, ..self }
    }

    /// Sets the attributes of the database for sqlx's statements.
    pub(crate) fn with_database(self, database: Vec<KeyValue>) -> Self {
        Self { database, ..self }
    }

    /// Returns the attributes of the database for sqlx's statements.
    pub(crate) fn database(&self) -> &[KeyValue] {
        &self.database
    }

    pub(super) fn filters(&self) -> &TransactionFilters {
        &self.filters
    }

    pub(super) fn filtered(&self, events: u64) {
        self.queue.counters().filtered(events);
    }

    pub(super) fn discarded(&self, events: u64) {
        self.queue.counters().discarded(events);
    }

    /// The options that hold now, for one look.
    pub(crate) fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    #[cfg(feature = "sdk")]
    pub(crate) fn live(&self) -> &LiveConfig {
        &self.config
    }

    /// The options that hold now, for a transaction to keep to its end.
    pub(crate) fn snapshot(&self) -> Arc<Config> {
        self.config.snapshot()
    }

    /// The variables that the options were read from.
    pub(crate) fn environment(&self) -> &EnvVars {
        self.config.environment()
    }

    pub(crate) fn sanitizer(&self) -> Guard<Arc<Sanitizer>> {
        self.sanitizer.load()
    }

    /// The server that the events go to, as far as it is known.
    pub(crate) fn server(&self) -> &ServerVersion {
        &self.server
    }

    /// Takes over what is set centrally, the whole of it.
    pub(crate) fn apply(&self, central: Central) -> Applied {
        let applied = self.config.apply(central);
        let now = self.config.snapshot();
        self.sanitizer.store(Arc::new(Sanitizer::of(&now)));
        self.recording.store(is_recording(&now), Relaxed);
        applied
    }

    /// False: no transactions, spans or errors are made (`enabled`, `recording`).
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Relaxed)
    }

    /// What a context carries as baggage, as attributes of an event that begins in it.
    #[inline]
    pub(crate) fn baggage(&self, context: &Context, config: &Config) -> Vec<KeyValue> {
        self.baggage.attributes(context, &config.baggage_to_attach)
    }

    pub(crate) fn transaction(&self, record: Box<TransactionRecord>) {
        self.queue.push(Event::Transaction(record));
    }

    pub(crate) fn span(&self, record: Box<SpanRecord>) {
        self.queue.push(Event::Span(record));
    }

    pub(crate) fn log(&self, record: Box<LogRecord>) {
        self.queue.push(Event::Log(record));
    }

    /// Gives the error what the current context carries as baggage, and sends it.
    pub(crate) fn error(&self, mut record: Box<ErrorRecord>) {
        let config = self.config.load();
        if config.context_propagation_only {
            return;
        }
        if record.parent.is_none() && self.ignores(&record) {
            return self.filtered(1);
        }
        if !self.keeps_error(&record) {
            return self.filtered(1);
        }
        for KeyValue { key, value, .. } in self.baggage(&current_context(), &config) {
            let shown = match self.sanitizer() {
                sanitizer if sanitizer.is_secret(key.as_str()) => REDACTED.into(),
                sanitizer => sanitizer.owned_text(value.as_str().into_owned().into()),
            };
            record.context.set_label(Cow::Owned(key.into()), LabelValue::Text(shown));
        }
        if self.errors.take() { self.queue.push(Event::Error(record)) } else { self.suppressed_error() }
    }

    /// Returns whether every filter keeps the transaction.
    ///
    /// A filter that panics keeps it. Events that a filter or hook records are kept without calling the filters.
    pub(super) fn keeps_transaction(&self, record: &TransactionRecord, has_errors: bool) -> bool {
        if is_contained() {
            return true;
        }
        let finished = FinishedTransaction::new(record, has_errors);
        self.filters.iter().all(|keeps| run_filter(self, || keeps(&finished)))
    }

    /// Returns whether every filter keeps the error. The rules are those for transactions.
    fn keeps_error(&self, record: &ErrorRecord) -> bool {
        if is_contained() {
            return true;
        }
        let reported = ReportedError::new(record);
        self.error_filters.iter().all(|keeps| run_filter(self, || keeps(&reported)))
    }

    /// Keeps a panic for [`settle_panics`](Self::settle_panics). For the panic hook: runs no code of the user.
    pub(crate) fn postpone(&self, panic: Panic) {
        if !self.panics.push(panic) {
            self.suppressed_error();
        }
    }

    pub(crate) fn panics(&self) -> &Panics {
        &self.panics
    }

    /// Returns true if `ignore_exceptions` matches the type of the error or of a cause.
    ///
    /// Patterns match the type with or without its path. The variant of an enum can follow the type.
    pub(super) fn ignores(&self, record: &ErrorRecord) -> bool {
        let patterns = &self.config.load().ignore_exceptions;
        let matches = |text: &str| patterns.iter().any(|pattern| pattern.matches(text));
        // where the path is not known, a pattern that begins with `*::` shall match all the same
        let is_ignored = |path: Cow<'_, str>| match path.rsplit_once("::") {
            Some((_, kind)) => matches(&path) || matches(kind),
            None => matches(&path) || matches(&format!("::{path}")),
        };
        let is_ignored_variant = |exception: &Exception| {
            let of_type = |path: Cow<'_, str>| {
                let variant = exception.variant.as_deref()?;
                let kind = path.rsplit_once("::").map_or(&*path, |(_, kind)| kind);
                Some(matches(&format!("{path}::{variant}")) || matches(&format!("{kind}::{variant}")))
            };
            exception.types().next().and_then(of_type).unwrap_or_default()
        };
        let ignores = |exception: &Exception| exception.types().any(is_ignored) || is_ignored_variant(exception);
        !patterns.is_empty() && record.exception.as_ref().is_some_and(ignores)
    }

    /// Remembers the runtime of the calling thread as the one that serves requests, unless one is known.
    #[inline]
    pub(crate) fn note_runtime(&self) {
        if self.runtime.get().is_none() {
            self.note_current_runtime();
        }
    }

    #[cold]
    fn note_current_runtime(&self) {
        if let Ok(runtime) = Handle::try_current() {
            // another thread may have set the runtime first
            let _ = self.runtime.set(runtime);
        }
    }

    /// Returns the runtime that serves requests, if it is known.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    pub(crate) fn suppressed_error(&self) {
        self.queue.counters().suppressed_error();
    }

    pub(crate) fn excess_label(&self) {
        self.queue.counters().excess_label();
    }

    pub(crate) fn excess_custom(&self, values: u64) {
        self.queue.counters().excess_custom(values);
    }

    pub(crate) fn excess_links(&self, links: u64) {
        self.queue.counters().excess_links(links);
    }

    /// A span was dropped after the end of its transaction.
    pub(super) fn late_span(&self) {
        self.queue.counters().dropped(DropReason::LateSpan, 1);
    }

    pub(crate) fn late_write(&self) {
        self.queue.counters().late_write();
    }

    pub(crate) fn contained_panic(&self, code: UserCode) {
        self.queue.counters().contained_panic();
        if self.logged_panics.fetch_or(code.bit(), Relaxed) & code.bit() == 0 {
            code.warn_panicked();
        }
    }

    pub(super) fn slow_hook(&self, code: UserCode, took: Duration) {
        self.queue.counters().slow_hook();
        if self.logged_slow.fetch_or(code.bit(), Relaxed) & code.bit() == 0 {
            code.warn_slow(took);
        }
    }
}

fn run_filter(recorder: &Recorder, keeps: impl FnOnce() -> bool) -> bool {
    run_user_code(recorder, UserCode::Filter, keeps).unwrap_or(true)
}

fn is_recording(config: &Config) -> bool {
    config.enabled && config.recording
}

/// The process-wide slot that `tower_apm::layer()` looks into at request time.
static INSTALLED: OnceLock<ArcSwapOption<Recorder>> = OnceLock::new();
/// True if an agent is or was installed.
static WAS_INSTALLED: AtomicBool = AtomicBool::new(false);

fn slot() -> &'static ArcSwapOption<Recorder> {
    INSTALLED.get_or_init(ArcSwapOption::empty)
}

pub(crate) fn install(recorder: Arc<Recorder>) {
    WAS_INSTALLED.store(true, Relaxed);
    slot().store(Some(recorder));
}

/// The installed agent's recorder.
pub(crate) fn installed() -> Option<Arc<Recorder>> {
    slot().load_full()
}

/// Returns the installed agent. If no agent was installed before, logs the warning, once for each `warned`.
pub(crate) fn installed_or_warn(warned: &AtomicBool, warning: &str) -> Option<Arc<Recorder>> {
    let recorder = installed();
    if recorder.is_none() && !WAS_INSTALLED.load(Relaxed) && !warned.swap(true, Relaxed) {
        tracing::warn!(
            target: "tower_apm",
            "{warning}. Install an agent first: call `install()` or `install_without_subscriber()` on `Agent::builder()`"
        );
    }
    recorder
}

/// Empties the slot if it still holds this recorder.
pub(crate) fn uninstall(recorder: &Arc<Recorder>) {
    slot().rcu(|current| current.as_ref().filter(|installed| !Arc::ptr_eq(installed, recorder)).cloned());
}
