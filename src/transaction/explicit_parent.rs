//! Spans that name the request's span as their parent (`info_span!(parent: &request, ..)`).
//!
//! `tracing-opentelemetry` does not see the request's span and takes such a span for the first of a trace. Its parent
//! is put beside it when it is made, and handed to our tracer when the bridge has the span built: when it is entered,
//! closed, or has a child.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use opentelemetry::Context;
use tracing::{
    Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer, layer,
    registry::{LookupSpan, SpanRef},
};

thread_local! {
    static SUPPLIED: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// There has been such a span. Until then nothing is looked up.
static ANY: AtomicBool = AtomicBool::new(false);

/// In the extensions of a span with such a parent.
struct Parent(Context);

/// The parent of the span that is being built, where the bridge does not know it.
pub(crate) fn supplied_parent() -> Option<Context> {
    if ANY.load(Relaxed) { SUPPLIED.try_with(|supplied| supplied.borrow().clone()).ok().flatten() } else { None }
}

/// Keeps the parent for a span that was made with it.
pub(super) fn keep<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, parent: Context) {
    ANY.store(true, Relaxed);
    span.extensions_mut().insert(Parent(parent));
}

/// What was supplied is used by now, or not needed.
pub(super) fn withdraw() {
    if ANY.load(Relaxed) {
        let before = SUPPLIED.try_with(|supplied| supplied.borrow_mut().take());
        drop(before);
    }
}

/// Comes before the bridge; the layer of the request's span comes after it, and withdraws.
#[derive(Debug)]
pub(crate) struct SupplyParentLayer;

fn supply<'a, S>(id: &Id, context: &layer::Context<'a, S>)
where
    S: Subscriber + for<'b> LookupSpan<'b>,
{
    let Some(span) = context.span(id) else { return };
    let parent = span.extensions().get::<Parent>().map(|parent| parent.0.clone());
    if let Some(parent) = parent {
        let _ = SUPPLIED.try_with(|supplied| supplied.replace(Some(parent)));
    }
}

impl<S> Layer<S> for SupplyParentLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    /// A child has its parent built.
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, context: layer::Context<'_, S>) {
        if ANY.load(Relaxed)
            && let Some(parent) = attributes.parent()
        {
            supply(parent, &context);
        }
    }

    fn on_enter(&self, id: &Id, context: layer::Context<'_, S>) {
        if ANY.load(Relaxed) {
            supply(id, &context);
        }
    }

    fn on_close(&self, id: Id, context: layer::Context<'_, S>) {
        if ANY.load(Relaxed) {
            supply(&id, &context);
        }
    }
}
