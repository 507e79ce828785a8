//! Selects the `tracing` spans that the bridge to OpenTelemetry records.

use std::sync::Arc;

use tracing::{
    Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id},
    subscriber::Interest,
};
use tracing_subscriber::{
    layer::{Context, Filter},
    registry::LookupSpan,
};

use super::{OtherBridge, SpanSelection, explicit_parent, request_span};

/// The filter of the bridge, which enables the spans of a [`SpanSelection`].
///
/// Its hooks run before the bridge's; those of our other layer run after both.
#[derive(Debug)]
pub(crate) struct RecordedSpans {
    selection: Arc<SpanSelection>,
    /// None in the subscriber of `install()` and of the test kit, which has no layers of others.
    other: Option<Arc<OtherBridge>>,
}

impl RecordedSpans {
    /// Returns the filter for the agent's own subscriber.
    pub(crate) fn in_own_subscriber(selection: Arc<SpanSelection>) -> Self {
        request_span::expect_hidden();
        Self { selection, other: None }
    }

    /// Returns the filter for a subscriber of the service, which may have other layers.
    pub(crate) fn in_service_subscriber(other: Arc<OtherBridge>, selection: Arc<SpanSelection>) -> Self {
        Self { selection, other: Some(other) }
    }

    /// Returns true if no other layer of the subscriber shows the spans of requests.
    pub(super) fn hides_request_span(&self) -> bool {
        self.other.is_none()
    }

    fn is_inactive(&self) -> bool {
        let Some(other) = &self.other else { return false };
        if !other.is_known() {
            other.decide(self);
        }
        other.is_inactive()
    }
}

impl<S> Filter<S> for RecordedSpans
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
            explicit_parent::supply(parent, &context);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        explicit_parent::supply(id, &context);
        request_span::bridge_enters(id);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        explicit_parent::supply(&id, &context);
    }
}
