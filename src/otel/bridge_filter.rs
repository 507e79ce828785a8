//! Selects the `tracing` spans that the bridge to OpenTelemetry records.

use std::{
    cell::Cell,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tracing::{
    Dispatch, Metadata, Subscriber, dispatcher,
    level_filters::LevelFilter,
    span::{Attributes, Id},
    subscriber::Interest,
};
use tracing_subscriber::{
    layer::{Context, Filter},
    registry::LookupSpan,
};

use super::{
    explicit_parent,
    other_bridge::{self, OtherBridge},
    span_selection::SpanSelection,
};

/// True if the process has a subscriber that hides the spans of requests.
static ANY_HIDES: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The span that the bridge is about to enter: it is not the span of a request.
    static BRIDGED: Cell<u64> = const { Cell::new(0) };
}

/// The filter of the bridge, which enables the spans of a [`SpanSelection`].
///
/// Its hooks run before the bridge's; those of our other layer run after both.
#[derive(Debug)]
pub(crate) struct BridgeFilter {
    selection: Arc<SpanSelection>,
    /// None in the subscriber of `install()` and of the test kit, which has no layers of others.
    other: Option<Arc<OtherBridge>>,
}

impl BridgeFilter {
    /// Returns the filter for the agent's own subscriber.
    pub(crate) fn in_own_subscriber(selection: Arc<SpanSelection>) -> Self {
        ANY_HIDES.store(true, Relaxed);
        Self { selection, other: None }
    }

    /// Returns the filter for a subscriber of the service, which may have other layers.
    pub(crate) fn in_service_subscriber(other: Arc<OtherBridge>, selection: Arc<SpanSelection>) -> Self {
        Self { selection, other: Some(other) }
    }

    /// Returns true if no other layer of the subscriber shows the spans of requests.
    fn hides_request_span(&self) -> bool {
        self.other.is_none()
    }

    /// Decides before the first span whether another layer records the spans.
    #[cold]
    fn decide(&self, other: &OtherBridge) {
        let is_second =
            |subscriber: &Dispatch| subscriber.downcast_ref::<Self>().is_some_and(|first| !ptr::eq(first, self));
        match other.subscriber() {
            // another layer of the agent or of a second one: one is enough, and no mistake
            Some((subscriber, _)) if is_second(&subscriber) => other.set_inactive(),
            subscriber => other.probe(subscriber),
        }
    }

    fn is_inactive(&self) -> bool {
        let Some(other) = &self.other else { return false };
        if !other.is_known() {
            self.decide(other);
        }
        other.is_inactive()
    }
}

impl<S> Filter<S> for BridgeFilter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.selection.records(metadata) && !self.is_inactive()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !self.selection.records(metadata) {
            return Interest::never();
        }
        match &self.other {
            Some(other) if other.is_inactive() => Interest::never(),
            Some(other) if !other.is_known() => {
                other.set_metadata(metadata);
                Interest::sometimes()
            }
            _ => Interest::always(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.selection.level())
    }

    /// The parent is built with its first child.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(other) = &self.other {
            other.make_room(id, context.clone());
        }
        if let Some(parent) = attributes.parent() {
            explicit_parent::publish(parent, &context);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        explicit_parent::publish(id, &context);
        BRIDGED.set(id.into_u64());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        explicit_parent::publish(&id, &context);
    }
}

/// Returns true if the current subscriber keeps the spans of requests out of all output.
pub(super) fn is_request_span_hidden() -> bool {
    let hides =
        |current: &Dispatch| current.downcast_ref::<BridgeFilter>().is_some_and(BridgeFilter::hides_request_span);
    ANY_HIDES.load(Relaxed) && dispatcher::get_default(hides)
}

/// Returns true if the bridge is about to enter this span.
pub(super) fn take_bridged(id: &Id) -> bool {
    BRIDGED.take() == id.into_u64()
}

/// Applies the decision of a layer: `tracing` asks for interests again, and a warning reports an inactive layer.
///
/// This is called where no subscriber is running.
#[inline]
pub(super) fn settle_other_bridge() {
    if other_bridge::is_stale() {
        settle_here();
    }
}

#[cold]
fn settle_here() {
    // with a single subscriber, `tracing` asks the subscriber of the current thread, which may not exist
    if dispatcher::get_default(|current| current.downcast_ref::<BridgeFilter>().is_some()) {
        other_bridge::apply_decision();
    }
}
