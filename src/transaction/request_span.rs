//! The light `tracing` span that goes with a request: log lines have a span, and
//! `tokio::spawn(work().in_current_span())` carries the transaction.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use opentelemetry::Context;
use tracing::{
    Dispatch, Level, Span, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer, registry::LookupSpan};

use super::{
    Handle,
    current::{Entered, enter_attached, enter_handle, is_any_running},
    explicit_parent, found_in,
};

/// `tracing-opentelemetry` must not see this target: the transaction itself is the OpenTelemetry span.
pub(crate) const REQUEST_TARGET: &str = "tower_apm::request";

thread_local! {
    /// Set while our own future enters and exits its span: it attaches the context itself, for less.
    static OWN: Cell<bool> = const { Cell::new(false) };
    static ENTERED: RefCell<Vec<(Id, Entered)>> = const { RefCell::new(Vec::new()) };
}

/// Our layer is part of some subscriber, so the span is expected to be seen.
static EXPECTED: AtomicBool = AtomicBool::new(false);

/// Made while the transaction's context is current; that is how the layer below gets it.
pub(crate) fn new_request_span() -> Span {
    let span = tracing::info_span!(target: "tower_apm::request", "request");
    if span.is_disabled() && EXPECTED.swap(false, Relaxed) {
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
    if span.is_none() {
        return work();
    }
    OWN.set(true);
    let entered = span.enter();
    OWN.set(false);
    let result = work();
    OWN.set(true);
    drop(entered);
    OWN.set(false);
    result
}

/// Attaches the OpenTelemetry context, in which the request's span was made, wherever that span is entered.
#[derive(Debug)]
pub(crate) struct RequestSpanLayer;

struct MadeIn {
    context: Context,
    handle: Handle,
}

/// The context of the request's span, where a span with this explicit parent has no other above it that the bridge knows.
fn request_above<S>(parent: &Id, context: &layer::Context<'_, S>) -> Option<Context>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let unknown = |level: &Level| *level > Level::INFO;
    let found = context.span(parent)?.scope().find(|span| !unknown(span.metadata().level()))?;
    found.extensions().get::<MadeIn>().map(|made_in| made_in.context.clone())
}

impl<S> Layer<S> for RequestSpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    /// A filter of this layer's own would cost every span of the process more than the layer does; the hint keeps what
    /// is below INFO as cheap as it was.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_register_dispatch(&self, _: &Dispatch) {
        EXPECTED.store(true, Relaxed);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        if attributes.metadata().target() == REQUEST_TARGET {
            let current = Context::current();
            let handle = found_in(&current);
            if let Some(span) = context.span(id).filter(|_| !handle.is_none()) {
                span.extensions_mut().insert(MadeIn { context: current, handle });
            }
        } else if let Some(parent) = attributes.parent() {
            explicit_parent::withdraw();
            if let (Some(span), Some(parent)) = (context.span(id), request_above(parent, &context)) {
                explicit_parent::keep(&span, parent);
            }
        }
    }

    fn on_close(&self, _: Id, _: layer::Context<'_, S>) {
        explicit_parent::withdraw();
    }

    fn on_enter(&self, id: &Id, context: layer::Context<'_, S>) {
        explicit_parent::withdraw();
        if OWN.get() {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let entered = if span.metadata().target() == REQUEST_TARGET {
            span.extensions().get::<MadeIn>().map(|made_in| enter_handle(made_in.handle.clone(), &made_in.context))
        } else if !is_any_running() {
            // a task of its own, in a span below some transaction: the bridge, which comes first, has made it current
            Some(found_in(&Context::current())).filter(|found| !found.is_none()).map(enter_attached)
        } else {
            None
        };
        if let Some(entered) = entered {
            let _ = ENTERED.try_with(|all| all.borrow_mut().push((id.clone(), entered)));
        }
    }

    fn on_exit(&self, id: &Id, _: layer::Context<'_, S>) {
        if OWN.get() {
            return;
        }
        // taken out first: dropping the guard may run code that comes by here again
        let entered = ENTERED.try_with(|all| {
            let mut all = all.borrow_mut();
            let at = all.iter().rposition(|(entered, _)| entered == id)?;
            Some(all.remove(at))
        });
        drop(entered);
    }
}
