//! Spans of the crate `sqlx-tracing`. They are recorded instead of the events of sqlx.

use std::sync::OnceLock;

use tracing::{
    dispatcher::WeakDispatch,
    span::{Attributes, Id},
};

/// Starts the OpenTelemetry span of a new `tracing` span, if it is a span of sqlx-tracing.
///
/// The bridge starts each span when the span is entered for the first time. sqlx-tracing enters the span of a stream with
/// the first row. sqlx can log the statement before that, and the event would then find no span with this statement.
#[inline]
pub(crate) fn start_span(attributes: &Attributes<'_>, id: &Id, dispatch: &OnceLock<WeakDispatch>) {
    if attributes.metadata().target().starts_with("sqlx_tracing")
        && let Some(dispatch) = dispatch.get().and_then(WeakDispatch::upgrade)
    {
        let _ = tracing_opentelemetry::get_otel_context(id, &dispatch);
    }
}
