//! Enables sqlx's statement events, which are DEBUG, without making other DEBUG and TRACE call sites slower.
//!
//! `tracing` has one maximum level for the process, so statement events are dispatched only if that level is DEBUG. Two
//! things would then become slower, and are avoided:
//! - Every `debug!` of the process would ask the subscriber whether it is enabled. The layer turns off the call sites that
//!   are above the level of the other layers, so that they cost the same as below the maximum level.
//! - `init()` of a service's own subscriber and a `reload::Handle` copy the maximum level to the `log` crate, so every
//!   `log::debug!` would be dispatched. The level is therefore the natural one then, and is raised by the next transaction.

use std::{
    any::TypeId,
    cell::Cell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tracing::{
    Metadata, Subscriber, callsite, dispatcher,
    level_filters::LevelFilter,
    subscriber::{Interest, NoSubscriber},
};
use tracing_subscriber::{Layer, Registry};

/// The target of the events that sqlx logs: one for each statement, at a level that the service chooses, DEBUG by default.
const STATEMENTS: &str = "sqlx::query";

/// Why the layers are asked for their level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A subscriber is new, or a layer was reloaded.
    ByOthers,
    ForNaturalLevel,
    ForRaisedLevel,
}

thread_local! {
    static ASKED: Cell<Asked> = const { Cell::new(Asked::ByOthers) };
}

/// The maximum level is to be raised by the next transaction.
static IS_WANTED: AtomicBool = AtomicBool::new(false);
/// The maximum level contains the statements.
static IS_RAISED: AtomicBool = AtomicBool::new(false);
/// The maximum level without the statements.
static NATURAL: Mutex<LevelFilter> = Mutex::new(LevelFilter::TRACE);

/// Whether this is the event of a statement, or the question whether that is enabled, which sqlx asks before.
pub(crate) fn is_statement(metadata: &Metadata<'_>) -> bool {
    metadata.target() == STATEMENTS && !metadata.is_span()
}

/// Raises the maximum level of the process, if that is wanted. Called before each transaction, where no subscriber is at
/// work.
#[inline]
pub(crate) fn enable_statements() {
    if IS_WANTED.load(Relaxed) {
        raise();
    }
}

#[cold]
fn raise() {
    // with a single subscriber, `tracing` asks that of the current thread, which may have none
    let has_subscriber = dispatcher::get_default(|current| !current.is::<NoSubscriber>());
    if !has_subscriber || !IS_WANTED.swap(false, Relaxed) {
        return;
    }
    let ask = |asked| {
        ASKED.set(asked);
        callsite::rebuild_interest_cache();
    };
    ask(Asked::ForNaturalLevel);
    *NATURAL.lock().unwrap_or_else(PoisonError::into_inner) = LevelFilter::current();
    IS_RAISED.store(true, Relaxed);
    ask(Asked::ForRaisedLevel);
    ASKED.set(Asked::ByOthers);
}

/// The layer that sets the level for all layers of the agent. It must be the last one of them, whose level `tracing` uses.
#[derive(Debug)]
pub(crate) struct StatementLevel {
    /// The level of the agent's layers without the statements.
    own: LevelFilter,
    /// An inner layer has no filter, so it receives events of every level.
    is_above_unfiltered: bool,
}

impl StatementLevel {
    /// `spans`: the level of the spans that are recorded.
    pub(crate) fn above(spans: LevelFilter) -> Self {
        Self { own: spans.max(LevelFilter::INFO), is_above_unfiltered: false }
    }
}

impl<S: Subscriber> Layer<S> for StatementLevel {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let is_natural = || *metadata.level() <= *NATURAL.lock().unwrap_or_else(PoisonError::into_inner);
        let is_enabled = !IS_RAISED.load(Relaxed) || is_natural() || is_statement(metadata);
        if is_enabled { Interest::always() } else { Interest::never() }
    }

    /// A filter of the agent's layers would cost every span more than the layers do; the hint keeps what is below INFO, or
    /// below `span_level`, as cheap as it was.
    ///
    /// The subscriber takes the highest hint for all of its layers, so there is none above a layer without a filter. Of the
    /// layers that come later nothing is known.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        let natural = (!self.is_above_unfiltered).then_some(self.own);
        match ASKED.get() {
            Asked::ByOthers => {
                IS_RAISED.store(false, Relaxed);
                IS_WANTED.store(true, Relaxed);
                natural
            }
            Asked::ForNaturalLevel => natural,
            Asked::ForRaisedLevel => natural.map(|natural| natural.max(LevelFilter::DEBUG)),
        }
    }

    fn on_layer(&mut self, below: &mut S) {
        self.is_above_unfiltered = TypeId::of::<S>() != TypeId::of::<Registry>() && below.max_level_hint().is_none();
    }
}
