//! The `tracing` span that accompanies a request, so that `tokio::spawn(work().in_current_span())` carries the
//! transaction.
//!
//! No layer can hide a span from the other layers of its subscriber: a printer without a filter prints it, and a layer
//! of another vendor records it. The span is therefore created only if the subscriber hides it, as those of `install()` and
//! the test kit do, or if [`ApmLayer::request_span`](crate::ApmLayer::request_span) enables it. In all other subscribers
//! [`ApmFutureExt`](crate::ApmFutureExt) carries the transaction.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use opentelemetry::Context;
use tracing::{
    Span, Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    layer,
    registry::{LookupSpan, SpanRef},
};

use super::{
    bridge_filter::{is_request_span_hidden, settle_other_bridge, take_bridged},
    context::handle_from,
    current::{Entered, enter_attached, enter_handle, is_any_running},
    explicit_parent,
    span_selection::{REQUEST_TARGET, SpanSelection},
    statement_level::enable_statements,
};
use crate::{
    record::{current_context, is_thread_ending, note_entered_span},
    transaction::Handle,
};

thread_local! {
    /// Set while our own future enters and exits its span: it attaches the context itself, for less.
    static SUPPRESS_ATTACH: Cell<bool> = const { Cell::new(false) };
    static ENTERED: RefCell<Vec<(Id, Entered)>> = const { RefCell::new(Vec::new()) };
    static ANY_ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// Our layer is part of some subscriber, so the span is expected to be seen.
static IS_LAYER_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Creates the span, while the transaction's context is current: the layer of the subscriber takes it from there.
///
/// `wanted` is what [`ApmLayer::request_span`](crate::ApmLayer::request_span) was set to. `None` creates the span where
/// the current subscriber hides it.
pub(crate) fn new_request_span(wanted: Option<bool>) -> Span {
    settle_other_bridge();
    enable_statements();
    if is_thread_ending() || !wanted.unwrap_or_else(is_request_span_hidden) {
        return Span::none();
    }
    let span = tracing::info_span!(target: "tower_apm::request", "request");
    if span.is_disabled() && IS_LAYER_INSTALLED.swap(false, Relaxed) {
        tracing::warn!(
            target: "tower_apm",
            "a filter of the subscriber turns off `{REQUEST_TARGET}`: `in_current_span()` carries no transaction; put \
             filters on the layers that print"
        );
    }
    span
}

/// Runs `work`, which must not panic, within the span, without the layer attaching the context once more.
pub(crate) fn enter_own<T>(span: &Span, work: impl FnOnce() -> T) -> T {
    if span.is_none() || is_thread_ending() {
        return work();
    }
    SUPPRESS_ATTACH.set(true);
    let entered = span.enter();
    SUPPRESS_ATTACH.set(false);
    let result = work();
    SUPPRESS_ATTACH.set(true);
    drop(entered);
    SUPPRESS_ATTACH.set(false);
    result
}

struct StoredContext {
    context: Context,
    handle: Handle,
}

/// The context for a span whose explicit parent the bridge does not know: that of the request's span above it, or else
/// the current one, if it belongs to a transaction.
fn context_above<S>(parent: &Id, context: &layer::Context<'_, S>, recorded: &SpanSelection) -> Option<Context>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let parent = context.span(parent)?;
    if recorded.records(parent.metadata()) {
        return None;
    }
    let stored = |span: SpanRef<'_, S>| span.extensions().get::<StoredContext>().map(|stored| stored.context.clone());
    let current = || Some(current_context()).filter(|current| !handle_from(current).is_none());
    parent.scope().find_map(stored).or_else(current)
}

// The hooks of the agent's layer for spans. Wherever the request's span is entered, the layer attaches the
// OpenTelemetry context in which that span was created.

/// Notes that the layer of the agent is part of a subscriber.
pub(crate) fn mark_layer_installed() {
    IS_LAYER_INSTALLED.store(true, Relaxed);
}

/// Handles a new span. `recorded` is the filter of the spans that the bridge records.
pub(crate) fn on_new_span<S>(
    attributes: &Attributes<'_>,
    id: &Id,
    context: &layer::Context<'_, S>,
    recorded: &SpanSelection,
) where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if attributes.metadata().target() == REQUEST_TARGET {
        let current = current_context();
        let handle = handle_from(&current);
        if let Some(span) = context.span(id).filter(|_| !handle.is_none()) {
            // a second layer of an agent may have been here
            span.extensions_mut().replace(StoredContext { context: current, handle });
        }
    } else if let Some(parent) = attributes.parent() {
        explicit_parent::clear();
        if let (Some(span), Some(parent)) = (context.span(id), context_above(parent, context, recorded)) {
            explicit_parent::store(&span, parent);
        }
    }
}

pub(crate) fn on_close() {
    explicit_parent::clear();
}

pub(crate) fn on_enter<S>(id: &Id, context: &layer::Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    note_entered_span();
    explicit_parent::clear();
    let is_bridged = take_bridged(id);
    if SUPPRESS_ATTACH.get() || is_bridged && is_any_running() {
        return;
    }
    // looked up only where it must be
    let span = if is_bridged { None } else { context.span(id) };
    let entered = match span.filter(|span| span.metadata().target() == REQUEST_TARGET) {
        Some(request) => {
            let extensions = request.extensions();
            extensions.get::<StoredContext>().map(|stored| enter_handle(stored.handle.clone(), &stored.context))
        }
        None if is_any_running() => None,
        // a task of its own, in a span below some transaction: the bridge, which comes first, has made it current
        None => Some(handle_from(&current_context())).filter(|found| !found.is_none()).map(enter_attached),
    };
    if let Some(entered) = entered {
        let _ = ENTERED.try_with(|all| all.borrow_mut().push((id.clone(), entered)));
        ANY_ENTERED.set(true);
    }
}

#[inline]
pub(crate) fn on_exit(id: &Id) {
    if ANY_ENTERED.get() && !SUPPRESS_ATTACH.get() {
        leave(id);
    }
}

fn leave(id: &Id) {
    // taken out first: dropping the guard may run code that comes by here again
    let entered = ENTERED.try_with(|all| {
        let mut all = all.borrow_mut();
        let at = all.iter().rposition(|(entered, _)| entered == id)?;
        let entered = all.remove(at);
        ANY_ENTERED.set(!all.is_empty());
        Some(entered)
    });
    drop(entered);
}
