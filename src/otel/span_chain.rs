//! Long chains of spans, each the parent of the next, that close at once.
//!
//! `tracing-subscriber` closes a parent within the close of its last child. With a layer on it, each span of a chain that
//! is dropped at its end takes up to 3 KiB of the stack, so that some 700 spans overflow a stack of 2 MiB in a debug build.
//! Here the recursion is cut: after [`DEEP`] spans the parent is kept open for a moment, and a separate thread closes
//! what is left of the chain, so many spans at a time.

use std::{
    cell::{Cell, RefCell},
    sync::OnceLock,
    thread,
    time::Duration,
};

use tracing::{
    Dispatch, Subscriber,
    dispatcher::{WeakDispatch, with_default},
    span::Id,
};
use tracing_subscriber::{layer, registry::LookupSpan};

/// Spans that may close within each other.
const DEEP: u32 = 64;
/// Spans that close in a row before it is looked up whether they are a chain.
const ROW: u32 = DEEP / 2;
/// Until then the thread on which the chain began to close has let go of the parent.
const MOMENT: Duration = Duration::from_millis(2);

thread_local! {
    /// Spans that have closed in a row, and the parent of the last one where it was looked up.
    static CLOSED: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    /// On a thread that closes a chain: the spans to close next.
    static TO_CLOSE: RefCell<Option<Vec<Id>>> = const { RefCell::new(None) };
}

/// Something else has happened than that a span has closed.
#[inline]
pub(crate) fn interrupt() {
    CLOSED.set((0, 0));
}

/// A span closes; its parent may follow.
#[inline]
pub(crate) fn on_close<S>(id: &Id, context: &layer::Context<'_, S>, dispatch: &OnceLock<WeakDispatch>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (row, above) = CLOSED.get();
    if row < ROW {
        return CLOSED.set((row + 1, 0));
    }
    let parent = look_up(id, above, context);
    match parent {
        Some(parent) if row < DEEP => CLOSED.set((row + 1, parent.into_u64())),
        Some(parent) => {
            interrupt();
            close_later(parent, dispatch);
        }
        None => interrupt(),
    }
}

/// The parent, where the span itself is the parent of the one that has closed before.
#[cold]
fn look_up<S>(id: &Id, above: u64, context: &layer::Context<'_, S>) -> Option<Id>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_chain = above == 0 || above == id.into_u64();
    context.span(id).filter(|_| is_chain)?.parent().map(|parent| parent.id())
}

#[cold]
fn close_later(parent: Id, dispatch: &OnceLock<WeakDispatch>) {
    let Some(dispatch) = dispatch.get().and_then(WeakDispatch::upgrade) else { return };
    // does not close while this is held
    let parent = dispatch.clone_span(&parent);
    let is_closer = TO_CLOSE.try_with(|all| all.borrow_mut().as_mut().map(|all| all.push(parent.clone())).is_some());
    if is_closer == Ok(true) {
        return;
    }
    let (own, held) = (dispatch.clone(), parent.clone());
    let closes = move || {
        thread::sleep(MOMENT);
        with_default(&own, || close(&own, held));
    };
    if thread::Builder::new().name("tower-apm-spans".into()).spawn(closes).is_err() {
        dispatch.try_close(parent);
    }
}

/// Closes a span, and what is left of its chain.
fn close(dispatch: &Dispatch, first: Id) {
    let next = |all: &RefCell<Option<Vec<Id>>>| all.borrow_mut().as_mut().and_then(Vec::pop);
    TO_CLOSE.set(Some(vec![first]));
    while let Some(id) = TO_CLOSE.with(next) {
        dispatch.try_close(id);
    }
}
