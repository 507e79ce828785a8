//! One trace, read from the development server.

use std::fmt;

use serde_json::Value;
use tower_apm::devserver::{DevServer, Kind, Query};

use crate::processes::TIMEOUT;

/// The events of one trace, of both services.
pub(crate) struct Trace(Vec<TraceEvent>);

/// One event and the service that sent it.
pub(crate) struct TraceEvent {
    kind: Kind,
    service: String,
    event: Value,
}

impl Trace {
    /// Waits until the trace has this number of transactions, spans and errors.
    pub(crate) async fn complete(apm: &DevServer, trace_id: &str, sizes: [usize; 3]) -> Self {
        let read = |store: &tower_apm::devserver::Store| {
            let events = store.query(&Query::new().trace_id(trace_id)).events;
            Self(events.iter().map(|event| TraceEvent::read(event)).collect())
        };
        let kinds = [Kind::Transaction, Kind::Span, Kind::Error];
        let found = apm.store().wait_for(TIMEOUT, |store| {
            let trace = read(store);
            let enough = kinds.iter().zip(sizes).all(|(kind, size)| trace.size(*kind) >= size);
            enough.then_some(trace)
        });
        let trace = found.await.unwrap_or_else(|| panic!("not {sizes:?} but {:?}", read(apm.store())));
        assert_eq!(kinds.map(|kind| trace.size(kind)), sizes, "{trace:?}");
        trace
    }

    /// Returns the number of events. Calls that are compressed into one span are counted separately, because compression
    /// depends on their duration.
    fn size(&self, kind: Kind) -> usize {
        let calls = |event: &TraceEvent| event.at("/composite/count").as_u64().unwrap_or(1);
        self.of(kind).map(calls).sum::<u64>() as usize
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &TraceEvent> {
        self.0.iter().filter(move |event| event.kind == kind)
    }

    /// Returns the only transaction of a service with this name.
    pub(crate) fn transaction(&self, service: &str, name: &str) -> &TraceEvent {
        self.one(Kind::Transaction, service, |event| event["name"] == name, name)
    }

    /// Returns the only exit span of a service with this HTTP method.
    pub(crate) fn call(&self, service: &str, method: &str) -> &TraceEvent {
        let is_call = |event: &Value| {
            event["subtype"] == "http" && event["name"].as_str().is_some_and(|name| name.starts_with(method))
        };
        self.one(Kind::Span, service, is_call, method)
    }

    /// Returns the only error of a service with this message.
    pub(crate) fn error(&self, service: &str, message: &str) -> &TraceEvent {
        self.one(Kind::Error, service, |event| event["exception"]["message"] == message, message)
    }

    fn one(&self, kind: Kind, service: &str, is_it: impl Fn(&Value) -> bool, what: &str) -> &TraceEvent {
        let found: Vec<_> = self.of(kind).filter(|event| event.service == service && is_it(&event.event)).collect();
        assert_eq!(found.len(), 1, "{kind:?} {service} {what} in {self:?}");
        found[0]
    }
}

impl TraceEvent {
    fn read(event: &tower_apm::devserver::Event) -> Self {
        let service = event.service().unwrap_or_default().to_owned();
        Self { kind: event.kind(), service, event: event.body() }
    }

    pub(crate) fn id(&self) -> &str {
        self.text("/id")
    }

    /// Returns the value at a path such as `/a/b`, or null.
    pub(crate) fn at(&self, path: &str) -> &Value {
        self.event.pointer(path).unwrap_or(&Value::Null)
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    pub(crate) fn assert_child_of(&self, parent: &Self) {
        assert_eq!(self.text("/trace_id"), parent.text("/trace_id"));
        assert_eq!(self.text("/parent_id"), parent.id(), "{self:?} is not below {parent:?}");
    }

    /// Checks the service target of an exit span.
    pub(crate) fn assert_target(&self, url: &str) {
        let host = url.strip_prefix("http://").unwrap();
        let target = (self.text("/context/service/target/type"), self.text("/context/service/target/name"));
        assert_eq!(target, ("http", host), "{self:?}");
        assert_eq!(self.text("/context/destination/service/resource"), host, "{self:?}");
    }
}

impl fmt::Debug for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:?} of {}: {}", self.kind, self.service, self.event)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
