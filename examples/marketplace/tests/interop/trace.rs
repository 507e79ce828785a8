//! One trace, as the development server tells it in JSON.

use std::fmt;

use serde_json::Value;
use tower_apm::devserver::{DevServer, Kind, Query};

use crate::processes::PATIENCE;

/// Everything that both services sent of one trace.
pub(crate) struct Trace(Vec<Told>);

/// One event, with the metadata that it came under.
pub(crate) struct Told {
    kind: Kind,
    service: String,
    event: Value,
}

impl Trace {
    /// As soon as there are this many transactions, spans and errors in it.
    pub(crate) async fn complete(apm: &DevServer, trace_id: &str, sizes: [usize; 3]) -> Self {
        let read = |store: &tower_apm::devserver::Store| {
            let events = store.query(&Query::new().trace_id(trace_id)).events;
            Self(events.iter().map(|event| Told::read(event)).collect())
        };
        let kinds = [Kind::Transaction, Kind::Span, Kind::Error];
        let found = apm.store().wait_for(PATIENCE, |store| {
            let trace = read(store);
            let enough = kinds.iter().zip(sizes).all(|(kind, size)| trace.size(*kind) >= size);
            enough.then_some(trace)
        });
        let trace = found.await.unwrap_or_else(|| panic!("not {sizes:?} but {:?}", read(apm.store())));
        assert_eq!(kinds.map(|kind| trace.size(kind)), sizes, "{trace:?}");
        trace
    }

    /// How many happened: like calls that are compressed into one span are counted each, for whether they are depends
    /// on how long they took.
    fn size(&self, kind: Kind) -> usize {
        let calls = |told: &Told| told.at("/composite/count").as_u64().unwrap_or(1);
        self.of(kind).map(calls).sum::<u64>() as usize
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Told> {
        self.0.iter().filter(move |told| told.kind == kind)
    }

    /// The only transaction of this name of this service.
    pub(crate) fn transaction(&self, service: &str, name: &str) -> &Told {
        self.one(Kind::Transaction, service, |event| event["name"] == name, name)
    }

    /// The only call to another service with this method that this service made.
    pub(crate) fn call(&self, service: &str, method: &str) -> &Told {
        let is_call = |event: &Value| {
            event["subtype"] == "http" && event["name"].as_str().is_some_and(|name| name.starts_with(method))
        };
        self.one(Kind::Span, service, is_call, method)
    }

    /// The only error of this service with this message.
    pub(crate) fn error(&self, service: &str, message: &str) -> &Told {
        self.one(Kind::Error, service, |event| event["exception"]["message"] == message, message)
    }

    fn one(&self, kind: Kind, service: &str, is_it: impl Fn(&Value) -> bool, what: &str) -> &Told {
        let found: Vec<_> = self.of(kind).filter(|told| told.service == service && is_it(&told.event)).collect();
        assert_eq!(found.len(), 1, "{kind:?} {service} {what} in {self:?}");
        found[0]
    }
}

impl Told {
    fn read(event: &tower_apm::devserver::Event) -> Self {
        let service = event.service().unwrap_or_default().to_owned();
        Self { kind: event.kind(), service, event: event.body() }
    }

    pub(crate) fn id(&self) -> &str {
        self.text("/id")
    }

    /// The value at `/a/b`; null where there is none.
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

    /// Type and name of the service that it called.
    pub(crate) fn assert_target(&self, url: &str) {
        let host = url.strip_prefix("http://").unwrap();
        let target = (self.text("/context/service/target/type"), self.text("/context/service/target/name"));
        assert_eq!(target, ("http", host), "{self:?}");
        assert_eq!(self.text("/context/destination/service/resource"), host, "{self:?}");
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:?} of {}: {}", self.kind, self.service, self.event)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
