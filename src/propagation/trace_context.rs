//! Where a message or a call comes from, for work that is not an HTTP request.

use std::fmt;

use http::HeaderMap;
use opentelemetry::{
    Context, baggage::BaggageExt, baggage::KeyValueMetadata, propagation::Extractor, trace::TraceContextExt,
};

use super::{Incoming, extract, extract_bytes, extract_text};
use crate::record::{Link, SpanId, TraceId};

/// The trace context of a sender: the ids of its trace and span, and its baggage.
///
/// A consumer either continues the trace ([`Transaction::start_from`](crate::Transaction::start_from)) or links to it
/// ([`Transaction::link`](crate::Transaction::link)). A consumer that processes several messages at once must use links.
/// [`trace_context::extract`](crate::trace_context::extract) and similar functions read the context. They never fail: if the
/// headers are missing or invalid, the context is empty.
#[derive(Clone, Default)]
pub struct TraceContext {
    incoming: Option<Incoming>,
    baggage: Vec<KeyValueMetadata>,
}

// Values of baggage may be secret: their number only.
impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceContext").field("incoming", &self.incoming).field("baggage", &self.baggage.len()).finish()
    }
}

impl TraceContext {
    /// From the headers of an HTTP request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let (incoming, baggage) = extract(headers);
        Self { incoming, baggage }
    }

    pub(crate) fn from_text(carrier: &dyn Extractor) -> Self {
        let (incoming, baggage) = extract_text(carrier);
        Self { incoming, baggage }
    }

    pub(crate) fn from_bytes<'a>(get: &dyn Fn(&str) -> Option<&'a [u8]>) -> Self {
        let (incoming, baggage) = extract_bytes(get);
        Self { incoming, baggage }
    }

    /// Returns `true` if the carrier contained no valid trace context.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    /// Returns the id of the sender's trace.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.incoming.as_ref().map(|incoming| incoming.trace_id)
    }

    /// Returns the id of the sender's span.
    #[must_use]
    pub fn span_id(&self) -> Option<SpanId> {
        self.incoming.as_ref().map(|incoming| incoming.parent_id)
    }

    pub(crate) fn incoming(&self) -> Option<&Incoming> {
        self.incoming.as_ref()
    }

    pub(crate) fn link(&self) -> Option<Link> {
        self.incoming.as_ref().map(Incoming::link)
    }

    /// A context with this as its remote parent and with its baggage.
    pub(crate) fn onto(&self, context: &Context) -> Context {
        let context = self.with_baggage(context.clone());
        match &self.incoming {
            Some(incoming) => context.with_remote_span_context(incoming.span_context()),
            None => context,
        }
    }

    pub(crate) fn with_baggage(&self, context: Context) -> Context {
        if self.baggage.is_empty() { context } else { context.with_baggage(self.baggage.iter().cloned()) }
    }
}
