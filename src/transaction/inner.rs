//! The data of an agent and of its transactions, which refer to each other. The other files of this folder implement
//! what can be done with it.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicU8, AtomicUsize},
};
#[cfg(feature = "testkit")]
use std::sync::{Weak, atomic::AtomicU64};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use opentelemetry::{Context, KeyValue, trace::SpanContext};
use tokio::sync::Notify;

use super::{
    error_budget::ErrorBudget,
    error_history::ErrorHistory,
    filter::{ErrorFilters, TransactionFilters},
    ids::Ids,
    spans::SpanCounts,
    state::State,
};
use crate::{
    apm_server::ServerVersion,
    config::{Config, LiveConfig},
    pipeline::{Flusher, Queue},
    propagation::AttachedBaggage,
    record::{ErrorRecord, Monotonic, SpanId},
    sanitize::Sanitizer,
};

/// Shared by the layers, the tracer and every transaction of an agent.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) config: LiveConfig,
    pub(super) server: ServerVersion,
    pub(super) sanitizer: ArcSwap<Sanitizer>,
    pub(super) queue: Queue,
    pub(super) recording: AtomicBool,
    pub(super) errors: ErrorBudget,
    pub(super) filters: TransactionFilters,
    pub(super) error_filters: ErrorFilters,
    pub(super) baggage: AttachedBaggage,
    pub(super) panics: Panics,
    /// The Tokio runtime that serves requests, from the first request or background transaction on.
    pub(super) runtime: OnceLock<tokio::runtime::Handle>,
    /// The attributes of the database for sqlx's statements.
    pub(super) database: Vec<KeyValue>,
    /// The kinds of user code for which a panic has been logged.
    pub(super) logged_panics: AtomicU8,
    pub(super) logged_slow: AtomicU8,
    /// Set for the agent of a test.
    #[cfg(feature = "testkit")]
    pub(super) watch: OnceLock<Watch>,
}

/// One transaction, from its start until the last handle is dropped.
pub(crate) struct TransactionInner {
    pub(super) recorder: Arc<Recorder>,
    /// The options that held when it began.
    pub(super) config: Arc<Config>,
    pub(super) ids: Ids,
    /// Set when a layer takes over a transaction that a span outside of it had begun, and the request says that it
    /// belongs to another trace.
    pub(super) adopted: OnceLock<Box<Ids>>,
    pub(crate) began: Monotonic,
    /// `began` by the wall clock, from which the times of its spans are counted.
    pub(super) began_micros: u64,
    pub(super) span_counts: SpanCounts,
    /// True if the request is ignored or the service has discarded the transaction. The transaction and its spans are not
    /// sent.
    pub(super) is_discarded: AtomicBool,
    /// Some span below it has called another service: until then no span needs to look for one.
    pub(super) has_calls: AtomicBool,
    /// True if a database span with a statement has started. Before that, events of sqlx need not be compared with spans.
    pub(super) has_statements: AtomicBool,
    pub(super) state: Mutex<State>,
}

/// The transaction, ignored request or message that code belongs to.
#[derive(Clone, Default)]
pub(crate) enum Handle {
    #[default]
    None,
    Transaction(Arc<TransactionInner>),
    Ignored(Arc<Ignored>),
}

/// A request or a message that makes no transaction and no spans, as `transaction_ignore_urls` and its siblings say.
/// Errors are sent without a transaction, and the caller's trace is passed on.
pub(crate) struct Ignored {
    pub(super) recorder: Arc<Recorder>,
    /// The caller's place in its trace, for the services that are called.
    pub(super) context: SpanContext,
    pub(super) errors: Mutex<ErrorHistory>,
}

/// What the panic hook has recorded of a panic. The hook itself runs no code of the user, so filters and hooks see the
/// error later: when the panic has unwound to what entered the transaction, or on the agent's thread.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(crate) handle: Handle,
    pub(crate) error: Box<ErrorRecord>,
    pub(crate) parent: Option<SpanId>,
    /// Only the baggage of where the panic was raised.
    pub(crate) baggage: Context,
}

#[derive(Debug)]
pub(crate) struct Panics {
    pub(super) waiting: ArrayQueue<Panic>,
    /// Those that wait, and those that are being filtered.
    pub(super) unsettled: AtomicUsize,
    pub(super) wake: Notify,
    pub(super) flusher: OnceLock<Flusher>,
}

/// Exists in the recorder of a test agent only.
#[cfg(feature = "testkit")]
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(super) transactions: Mutex<Transactions>,
    pub(super) unsampled: AtomicU64,
    pub(super) ignored: Mutex<Vec<String>>,
}

#[cfg(feature = "testkit")]
#[derive(Debug, Default)]
pub(super) struct Transactions {
    pub(super) begun: u64,
    pub(super) kept: Vec<Weak<TransactionInner>>,
    /// The number of transactions at which ended ones are removed next.
    pub(super) full: usize,
}
