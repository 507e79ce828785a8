//! Enables sqlx's statement events, which are DEBUG events, without making other DEBUG and TRACE call sites slower.
//!
//! `tracing` has one maximum level for the process, so statement events are dispatched only if that level is DEBUG.
//! This module avoids two costs of the higher level:
//!
//! - Every `debug!` of the process would ask the subscriber whether it is enabled. The layer therefore disables the
//!   call sites that are more verbose than the level of the other layers.
//! - `init()` of a service's own subscriber and a `reload::Handle` copy the maximum level to the `log` crate, so every
//!   `log::debug!` would be dispatched. The agent's layer therefore reports the natural level to
//!   them, and the next transaction raises the level.

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

/// The target of the events that sqlx logs for statements. Their level is DEBUG unless the service sets another level.
const STATEMENTS: &str = "sqlx::query";

/// The reason why the layers are asked for their level.
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

/// True if the next transaction has to raise the maximum level.
static IS_WANTED: AtomicBool = AtomicBool::new(false);
/// True if the maximum level includes the statements.
static IS_RAISED: AtomicBool = AtomicBool::new(false);
/// The maximum level without the statements.
static NATURAL: Mutex<LevelFilter> = Mutex::new(LevelFilter::TRACE);

/// Returns true for the event of a statement, and for sqlx's check whether that event is enabled.
pub(crate) fn is_statement(metadata: &Metadata<'_>) -> bool {
    metadata.target() == STATEMENTS && !metadata.is_span()
}

/// Raises the maximum level of the process, if necessary.
///
/// This is called before each transaction, where no subscriber is running.
#[inline]
pub(crate) fn enable_statements() {
    if IS_WANTED.load(Relaxed) {
        raise();
    }
}

#[cold]
fn raise() {
    // with a single subscriber, `tracing` asks the subscriber of the current thread, which may not exist
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

/// The layer that sets the level for all layers of the agent.
///
/// It must be the last of these layers, because `tracing` uses the level of the last layer.
#[derive(Debug)]
pub(crate) struct StatementLevel {
    /// The level of the agent's layers without the statements.
    own: LevelFilter,
    /// True if an inner layer has no filter and therefore receives events of every level.
    is_above_unfiltered: bool,
}

impl StatementLevel {
    /// Creates the layer. `spans` is the level of the recorded spans.
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

    /// Returns the level of the agent's layers as a hint.
    ///
    /// A filter on the agent's layers would cost more per span than the layers themselves. With the hint, spans and
    /// events below INFO, or below `span_level`, have no additional cost. The subscriber uses the highest hint of all
    /// layers, so there is no hint if an inner layer has no filter. Layers that are added later are not known.
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
