//! Access to OpenTelemetry's current context that is safe in the destructor of a thread-local.
//!
//! `opentelemetry::Context` keeps the current context in a thread-local, and every function that reads or attaches it
//! panics once that thread-local is destroyed. A panic in a destructor of a thread-local aborts the process. The
//! functions here return an empty context instead, and attach nothing.

use std::cell::Cell;

use opentelemetry::{
    Context, ContextGuard,
    trace::{Span, TraceContextExt},
};

use super::catch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No function of this file has run on this thread.
    Unknown,
    /// The check whether the context still exists is running.
    Probing,
    Alive,
    Destroyed,
}

thread_local! {
    /// Has no destructor, so it can be read at any time.
    static STATE: Cell<State> = const { Cell::new(State::Unknown) };
    static SENTINEL: Sentinel = Sentinel::new();
    /// Is destroyed before the thread-local of `tracing`'s registry, in which the agent could not enter a span any more.
    static SPAN_SENTINEL: SpanSentinel = const { SpanSentinel };
}

/// Is destroyed before OpenTelemetry's context: a thread runs the destructors of its thread-locals in the reverse order
/// of their first use, and this one uses the context when it is made.
struct Sentinel;

impl Sentinel {
    fn new() -> Self {
        STATE.set(State::Probing);
        let is_alive = catch(|| Context::map_current(|_| ())).is_some();
        STATE.set(if is_alive { State::Alive } else { State::Destroyed });
        Self
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        STATE.set(State::Destroyed);
    }
}

/// Returns true if OpenTelemetry's context or the span registry may be destroyed on this thread, because the thread ends.
#[inline]
pub(crate) fn is_thread_ending() -> bool {
    match STATE.get() {
        State::Alive => false,
        State::Destroyed | State::Probing => true,
        State::Unknown => begin(),
    }
}

struct SpanSentinel;

impl Drop for SpanSentinel {
    fn drop(&mut self) {
        STATE.set(State::Destroyed);
    }
}

/// A span has been entered on this thread, so the registry's thread-local is there.
#[inline]
pub(crate) fn note_entered_span() {
    let _ = SPAN_SENTINEL.try_with(|_| ());
}

#[cold]
fn begin() -> bool {
    let _ = SENTINEL.try_with(|_| ());
    STATE.get() != State::Alive
}

/// Like `!is_thread_ending()`, but false on a thread on which the agent has not run before: the check may panic and catch
/// the panic, which is not possible in a panic hook.
pub(crate) fn is_context_known() -> bool {
    STATE.get() == State::Alive
}

/// Returns true while a panic only means that the context is destroyed.
pub(crate) fn is_probing_context() -> bool {
    STATE.get() == State::Probing
}

/// [`Context::current`].
#[inline]
pub(crate) fn current_context() -> Context {
    if is_thread_ending() { Context::new() } else { Context::current() }
}

/// [`Context::current_with_span`].
#[inline]
pub(crate) fn current_with_span(span: impl Span + Send + Sync + 'static) -> Context {
    if is_thread_ending() { Context::new().with_span(span) } else { Context::current_with_span(span) }
}

/// [`Context::map_current`].
#[inline]
pub(crate) fn map_current_context<T>(look: impl FnOnce(&Context) -> T) -> T {
    if is_thread_ending() { look(&Context::new()) } else { Context::map_current(look) }
}

/// [`Context::attach`]. Attaches nothing on a thread that is ending.
#[inline(always)]
pub(crate) fn attach(context: Context) -> Attached {
    Attached(if is_thread_ending() { None } else { Some(context.attach()) })
}

/// Restores the former context when it is dropped.
pub(crate) struct Attached(Option<ContextGuard>);

impl Attached {
    /// Returns a guard for a context that is already current.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }
}

impl Drop for Attached {
    #[inline]
    fn drop(&mut self) {
        if STATE.get() == State::Destroyed {
            // there is no context left to restore, and the guard would panic
            std::mem::forget(self.0.take());
        }
    }
}
