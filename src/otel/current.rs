//! Which transaction runs on this thread.
//!
//! OpenTelemetry's context says it too, but asking a span takes its lock, which may be held: `record_error` runs the
//! error's `Display` under it. What runs below our own polls and spans is known here without a question.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    sync::Arc,
    time::SystemTime,
};

use opentelemetry::Context;

use crate::{
    record::{Attached, Exception, attach},
    transaction::{Handle, Panic, TransactionInner},
};

/// The most panics of one request that wait for the hooks. Each further panic replaces the last one, and is counted.
const MAX_HELD: usize = 50;

thread_local! {
    static RUNNING: RefCell<Handle> = const { RefCell::new(Handle::None) };
    static ANY_HELD: Cell<bool> = const { Cell::new(false) };
    static HELD: RefCell<Vec<Panic>> = const { RefCell::new(Vec::new()) };
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
    _attached: Attached,
}

/// Makes a transaction the running one, and its context OpenTelemetry's current.
#[inline]
pub(crate) fn enter(shared: &Arc<TransactionInner>, context: &Context) -> Entered {
    enter_handle(Handle::Transaction(shared.clone()), context)
}

/// As [`enter`], also for what is ignored.
#[inline(always)]
pub(crate) fn enter_handle(handle: Handle, context: &Context) -> Entered {
    Entered { before: replace(handle), _attached: attach(context.clone()) }
}

/// Makes a transaction the running one, where its context is current already.
pub(super) fn enter_attached(handle: Handle) -> Entered {
    Entered { before: replace(handle), _attached: Attached::nothing() }
}

impl Drop for Entered {
    fn drop(&mut self) {
        release_held();
        drop(replace(std::mem::take(&mut self.before)));
    }
}

/// Keeps a panic until it has reached what entered the transaction: `on_error` may discard the error there. Returns the
/// panic where the thread ends and nothing can be kept on it. Sends nothing and runs no code of the user.
pub(crate) fn hold(panic: Panic) -> Result<(), Panic> {
    let mut panic = Some(panic);
    let kept = HELD.try_with(|held| {
        let Ok(mut held) = held.try_borrow_mut() else { return };
        if held.len() == MAX_HELD
            && let Some(recorder) = held.pop().and_then(|before| before.handle.recorder().cloned())
        {
            recorder.suppressed_error();
        }
        held.extend(panic.take());
        ANY_HELD.set(true);
    });
    match (kept, panic) {
        (_, None) => Ok(()),
        (_, Some(panic)) => Err(panic),
    }
}

/// Takes what is held, for a process that ends with the panic.
pub(crate) fn take_held() -> Vec<Panic> {
    ANY_HELD.set(false);
    HELD.try_with(|held| held.try_borrow_mut().map(|mut held| std::mem::take(&mut *held)))
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
}

/// Sends the panics that the handler has caught, after the hooks have run and before the transaction ends.
#[inline]
pub(crate) fn send_caught_panics() {
    release_held();
}

/// Sends what is held. True when there was something.
#[inline]
pub(super) fn release_held() -> bool {
    ANY_HELD.replace(false) && release()
}

#[cold]
fn release() -> bool {
    let held = take_held();
    let was_held = !held.is_empty();
    held.into_iter().for_each(|Panic { handle, error, parent, .. }| handle.error(error, parent));
    was_held
}

impl Handle {
    /// Records a panic, unless the panic hook has recorded it with more details.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) {
        if !release_held() {
            self.error(Exception::from_panic(panic).into_record(SystemTime::now()), None);
        }
    }
}
