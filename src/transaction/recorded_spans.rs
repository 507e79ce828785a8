//! Which spans of `tracing` the bridge to OpenTelemetry sees.

use tracing::{
    Level, Metadata, Subscriber,
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
    request_span::{self, REQUEST_TARGET},
};

/// The bridge's filter: spans up to INFO, for below that crates describe their inner workings; and not the request's, which
/// stands for a transaction that is there already.
///
/// Its hooks run before the bridge's; those of our other layer run after both.
#[derive(Debug)]
pub(crate) struct RecordedSpans {
    hides_request_span: bool,
}

impl RecordedSpans {
    /// `hides_request_span`: no other layer of the subscriber shows the spans of requests.
    pub(crate) fn new(hides_request_span: bool) -> Self {
        Self { hides_request_span }
    }

    pub(super) fn hides_request_span(&self) -> bool {
        self.hides_request_span
    }
}

pub(super) fn is_recorded(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target() != REQUEST_TARGET
}

impl<S> Filter<S> for RecordedSpans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_recorded(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_recorded(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    /// The parent is built with its first child.
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, context: Context<'_, S>) {
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
