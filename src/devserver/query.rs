//! Which stored events somebody wants to see.

use super::event::{Event, Kind};

/// A filter over stored events; every part that is set must match.
///
/// ```
/// use tower_apm::devserver::{Kind, Query};
///
/// let query = Query::new().kind(Kind::Transaction).service("marketplace").limit(10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    kind: Option<Kind>,
    service: Option<String>,
    trace_id: Option<String>,
    name: Option<String>,
    text: Option<String>,
    limit: usize,
    /// Only events whose number in the store is smaller.
    before: u64,
}

impl Default for Query {
    fn default() -> Self {
        Self { kind: None, service: None, trace_id: None, name: None, text: None, limit: usize::MAX, before: u64::MAX }
    }
}

impl Query {
    /// Matches all events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events of this kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only events of the service with exactly this name.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Only events of this trace.
    #[must_use]
    pub fn trace_id(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    /// Only events with exactly this among their [names](Event::names).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only events that hold this text anywhere, in a key or a value, in whatever case.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        self.text = Some(text.as_ref().to_lowercase());
        self
    }

    /// At most so many events, the newest ones. Default: all.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Only events before this one, by its number in the store.
    pub(crate) fn before(mut self, number: u64) -> Self {
        self.before = number;
        self
    }

    /// Only events before the one with this number are wanted.
    pub(crate) fn end(&self) -> u64 {
        self.before
    }

    /// How many events are wanted at most.
    pub(crate) fn most(&self) -> usize {
        self.limit
    }

    pub(crate) fn matches(&self, event: &Event) -> bool {
        let equal = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        self.kind.is_none_or(|kind| kind == event.kind())
            && equal(&self.service, event.service())
            && equal(&self.trace_id, event.trace_id())
            && self.name.as_ref().is_none_or(|wanted| event.names().any(|name| name == wanted))
            && self.text.as_ref().is_none_or(|wanted| event.raw().to_lowercase().contains(wanted))
    }
}
