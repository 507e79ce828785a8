//! Which transaction runs on this thread.
//!
//! OpenTelemetry's context says it too, but asking a span takes its lock, which may be held: `record_error` runs the
//! error's `Display` under it. What runs below our own polls and spans is known here without a question.

use std::{cell::RefCell, sync::Arc};

use opentelemetry::{Context, ContextGuard};

use super::Shared;

thread_local! {
    static RUNNING: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The transaction whose code runs, as far as it is known without asking a span. For the panic hook.
pub(crate) fn running() -> Option<Arc<Shared>> {
    RUNNING.try_with(|running| running.borrow().clone()).ok().flatten()
}

/// [`running`], when it passes a test.
pub(super) fn running_if(test: impl FnOnce(&Shared) -> bool) -> Option<Arc<Shared>> {
    RUNNING.try_with(|running| running.borrow().as_ref().filter(|shared| test(shared)).cloned()).ok().flatten()
}

pub(super) fn is_any_running() -> bool {
    RUNNING.try_with(|running| running.borrow().is_some()).unwrap_or(false)
}

fn replace(with: Option<Arc<Shared>>) -> Option<Arc<Shared>> {
    RUNNING.try_with(|running| running.replace(with)).ok().flatten()
}

/// What was before comes back when it is dropped.
pub(crate) struct Entered {
    before: Option<Arc<Shared>>,
    _attached: Option<ContextGuard>,
}

/// Makes a transaction the running one, and its context OpenTelemetry's current.
pub(crate) fn enter(shared: &Arc<Shared>, context: &Context) -> Entered {
    Entered { before: replace(Some(shared.clone())), _attached: Some(context.clone().attach()) }
}

/// Makes a transaction the running one, where its context is current already.
pub(super) fn enter_attached(shared: Arc<Shared>) -> Entered {
    Entered { before: replace(Some(shared)), _attached: None }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(replace(self.before.take()));
    }
}
