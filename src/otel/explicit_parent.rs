//! Spans that name the request's span as their parent (`info_span!(parent: &request, ..)`).
//!
//! `tracing-opentelemetry` does not see the request's span, and would make such a span the root of a trace. So the parent's
//! context is stored with the new span, and published for our tracer before the bridge builds the span: when the span is
//! entered or closed, or gets a child.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use opentelemetry::Context;
use tracing::{Subscriber, span::Id};
use tracing_subscriber::{
    layer,
    registry::{LookupSpan, SpanRef},
};

thread_local! {
    static PUBLISHED: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// There has been such a span. Until then nothing is looked up.
static ANY: AtomicBool = AtomicBool::new(false);

/// In the extensions of a span with such a parent.
struct Parent(Context);

/// The parent of the span that is being built, where the bridge does not know it.
pub(crate) fn published_parent() -> Option<Context> {
    if ANY.load(Relaxed) { PUBLISHED.try_with(|published| published.borrow().clone()).ok().flatten() } else { None }
}

/// Keeps the parent for a span that was made with it.
pub(super) fn store<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, parent: Context) {
    ANY.store(true, Relaxed);
    span.extensions_mut().replace(Parent(parent));
}

/// Clears the parent context, which has been used by now or is not needed.
#[inline]
pub(super) fn clear() {
    if ANY.load(Relaxed) {
        replace(None);
    }
}

#[cold]
fn replace(parent: Option<Context>) {
    let before = PUBLISHED.try_with(|published| published.replace(parent));
    drop(before);
}

/// The bridge is about to build this span, as a parent or because it is entered or closed.
#[inline]
pub(super) fn publish<S>(id: &Id, context: &layer::Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if ANY.load(Relaxed) {
        look_up(id, context);
    }
}

#[cold]
fn look_up<S>(id: &Id, context: &layer::Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(span) = context.span(id) else { return };
    let parent = span.extensions().get::<Parent>().map(|parent| parent.0.clone());
    if parent.is_some() {
        replace(parent);
    }
}
