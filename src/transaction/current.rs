//! Which transaction runs on this thread.
//!
//! OpenTelemetry's context says it too, but asking a span takes its lock, which may be held: `record_error` runs the
//! error's `Display` under it. What runs below our own polls and spans is known here without a question.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use opentelemetry::{Context, ContextGuard};

use super::{Handle, Shared};
use crate::record::{ErrorRecord, SpanId, catch};

thread_local! {
    static RUNNING: RefCell<Handle> = const { RefCell::new(Handle::None) };
    static ANY_HELD: Cell<bool> = const { Cell::new(false) };
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    static ALIVE: Alive = Alive::new();
}

/// Goes before OpenTelemetry's context does: destructors of a thread run in the reverse order of first use. False where
/// that was gone already at the first question.
struct Alive(bool);

impl Alive {
    fn new() -> Self {
        Self(catch(Context::current).is_some())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {}
}

/// OpenTelemetry's context may be gone on this thread: asking for it would panic.
pub(crate) fn is_thread_ending() -> bool {
    !ALIVE.try_with(|alive| alive.0).unwrap_or(false)
}

/// A panic's document, which waits for what the hooks of the layers say.
struct Held {
    handle: Handle,
    error: Box<ErrorRecord>,
    parent: Option<SpanId>,
}

/// What the code that runs belongs to, as far as it is known without asking a span. For the panic hook.
pub(crate) fn running() -> Handle {
    RUNNING.try_with(|running| running.borrow().clone()).unwrap_or_default()
}

/// [`running`], when it passes a test.
pub(super) fn running_if(test: impl FnOnce(&Handle) -> bool) -> Handle {
    let found = RUNNING.try_with(|running| Some(running.borrow()).filter(|now| test(now)).map(|now| now.clone()));
    found.ok().flatten().unwrap_or_default()
}

pub(super) fn is_any_running() -> bool {
    RUNNING.try_with(|running| !running.borrow().is_none()).unwrap_or(false)
}

fn replace(with: Handle) -> Handle {
    RUNNING.try_with(|running| running.replace(with)).unwrap_or_default()
}

/// Runs code that belongs to a transaction but is no part of it.
pub(crate) fn running_as<T>(handle: &Handle, work: impl FnOnce() -> T) -> T {
    struct Before(Handle);

    impl Drop for Before {
        fn drop(&mut self) {
            drop(replace(std::mem::take(&mut self.0)));
        }
    }

    let _before = Before(replace(handle.clone()));
    work()
}

/// What was before comes back when it is dropped.
pub(crate) struct Entered {
    before: Handle,
    _attached: Option<ContextGuard>,
}

/// Makes a transaction the running one, and its context OpenTelemetry's current.
pub(crate) fn enter(shared: &Arc<Shared>, context: &Context) -> Entered {
    enter_handle(Handle::Transaction(shared.clone()), context)
}

/// As [`enter`], also for what is ignored.
pub(crate) fn enter_handle(handle: Handle, context: &Context) -> Entered {
    Entered { before: replace(handle), _attached: Some(context.clone().attach()) }
}

/// Makes a transaction the running one, where its context is current already.
pub(super) fn enter_attached(handle: Handle) -> Entered {
    Entered { before: replace(handle), _attached: None }
}

impl Drop for Entered {
    fn drop(&mut self) {
        release_held();
        drop(replace(std::mem::take(&mut self.before)));
    }
}

/// Keeps a panic's document until the panic has reached what entered the transaction: `on_error` may veto it there.
/// Only for a thread on which something was entered.
pub(crate) fn hold(handle: Handle, error: Box<ErrorRecord>, parent: Option<SpanId>) {
    release_held();
    ANY_HELD.set(true);
    let _ = HELD.try_with(|held| held.replace(Some(Held { handle, error, parent })));
}

/// Sends what is held. True when there was something.
#[inline]
pub(super) fn release_held() -> bool {
    ANY_HELD.replace(false) && release()
}

#[cold]
fn release() -> bool {
    let held = HELD.try_with(RefCell::take).ok().flatten();
    let was_held = held.is_some();
    if let Some(Held { handle, error, parent }) = held {
        handle.error(error, parent);
    }
    was_held
}
