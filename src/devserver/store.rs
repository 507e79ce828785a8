//! The events in memory: bounded by count and bytes, the oldest make room.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    event::{Event, Kind, Protocol},
    query::Query,
    stats::{ByKind, Stats},
};

/// What a [`DevServer`](super::DevServer) has received. Cheap to clone; all clones are one store, which outlives its
/// server.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Goes up with every change.
    version: watch::Sender<u64>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Arc<Event>>,
    stats: Stats,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// How many events match, whether listed or not.
    pub total: usize,
    /// The newest of them first, as many as the query's limit allows.
    pub events: Vec<Arc<Event>>,
}

impl Store {
    pub(crate) fn new(limits: Limits) -> Self {
        let (version, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { inner: Mutex::default(), version, limits }) }
    }

    /// The events that match, newest first.
    #[must_use]
    pub fn query(&self, query: &Query) -> Page {
        let inner = self.lock();
        let mut page = Page { total: 0, events: Vec::new() };
        for event in inner.events.iter().rev().filter(|event| query.matches(event)) {
            page.total += 1;
            if page.events.len() < query.most() {
                page.events.push(event.clone());
            }
        }
        page
    }

    /// Waits until `look` finds what it looks for, or gives its last try once `timeout` is over: `None` then, unless it
    /// finds it in the last moment. `look` is called at once and after every change.
    ///
    /// Works in any tokio runtime that has its timers enabled.
    pub async fn wait_for<T>(&self, timeout: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut version = self.shared.version.subscribe();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            version.mark_unchanged();
            if let Some(found) = look(self) {
                return Some(found);
            }
            if !matches!(tokio::time::timeout_at(deadline, version.changed()).await, Ok(Ok(()))) {
                return look(self);
            }
        }
    }

    /// A number that goes up with every change, so that a poll costs nothing while nothing happens.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.shared.version.borrow()
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = self.lock();
        Stats { version: self.version(), held: inner.events.len(), ..inner.stats.clone() }
    }

    /// Forgets all events. The counts of what came stay.
    pub fn clear(&self) {
        self.change(|inner, _| {
            inner.events.clear();
            inner.stats.bytes = 0;
            inner.stats.held_by_type = ByKind::default();
        });
    }

    pub(crate) fn request(&self) {
        self.change(|inner, _| inner.stats.requests += 1);
    }

    pub(crate) fn accept(&self, protocol: Protocol, kind: Kind, metadata: &Arc<RawValue>, body: Arc<RawValue>) {
        let event = Event::new(protocol, kind, SystemTime::now(), metadata.clone(), body);
        self.change(|inner, limits| {
            *inner.stats.accepted.of(kind) += 1;
            *inner.stats.held_by_type.of(kind) += 1;
            inner.stats.bytes += event.size();
            inner.events.push_back(Arc::new(event));
            while inner.events.len() > 1
                && (inner.events.len() > limits.events || inner.stats.bytes > limits.bytes)
                && let Some(oldest) = inner.events.pop_front()
            {
                *inner.stats.held_by_type.of(oldest.kind()) -= 1;
                inner.stats.bytes -= oldest.size();
                inner.stats.evicted += 1;
            }
        });
    }

    /// So many of a kind are refused for the same reason.
    pub(crate) fn reject_many(&self, kind: Kind, count: u64, why: &str) {
        self.change(|inner, _| {
            *inner.stats.rejected.of(kind) += count;
            inner.stats.last_rejection = Some(why.to_owned());
        });
    }

    pub(crate) fn reject(&self, kind: Option<Kind>, why: &str) {
        self.change(|inner, _| {
            match kind {
                Some(kind) => *inner.stats.rejected.of(kind) += 1,
                None => inner.stats.unrecognized += 1,
            }
            inner.stats.last_rejection = Some(why.to_owned());
        });
    }

    fn change(&self, change: impl FnOnce(&mut Inner, Limits)) {
        change(&mut self.lock(), self.shared.limits);
        self.shared.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(events: usize, bytes: usize) -> Store {
        Store::new(Limits { events, bytes })
    }

    fn accept(store: &Store, name: &str) {
        let metadata: Arc<RawValue> = RawValue::from_string("{}".to_owned()).unwrap().into();
        let body = RawValue::from_string(format!(r#"{{"name":"{name}"}}"#)).unwrap();
        store.accept(Protocol::Intake, Kind::Span, &metadata, body.into());
    }

    fn names(page: &Page) -> Vec<String> {
        page.events.iter().flat_map(|event| event.names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let store = store(2, usize::MAX);
        ["a", "b", "c"].iter().for_each(|name| accept(&store, name));
        assert_eq!(names(&store.query(&Query::new())), ["c", "b"]);
        let stats = store.stats();
        assert_eq!((stats.held, stats.evicted, stats.accepted.span), (2, 1, 3));
        assert_eq!((stats.held_by_type.span, stats.held_by_type.events()), (2, 2));
    }

    #[test]
    fn bytes_are_bounded_but_the_newest_event_stays() {
        let store = store(100, 600);
        accept(&store, &"a".repeat(300));
        accept(&store, &"b".repeat(5_000));
        assert_eq!(names(&store.query(&Query::new())), ["b".repeat(5_000)]);
        accept(&store, "c");
        assert_eq!(names(&store.query(&Query::new())), ["c"]);
        store.clear();
        assert_eq!((store.stats().held, store.stats().bytes), (0, 0));
    }

    #[test]
    fn the_total_counts_what_the_limit_hides() {
        let store = store(100, usize::MAX);
        ["a", "b", "a", "a"].iter().for_each(|name| accept(&store, name));
        let page = store.query(&Query::new().name("a").limit(2));
        assert_eq!((page.total, page.events.len()), (3, 2));
        assert_eq!(store.query(&Query::new().text("\"NAME\":\"b\"")).total, 1);
        assert_eq!(store.query(&Query::new().kind(Kind::Error)).total, 0);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_event_or_with_the_deadline() {
        let store = store(100, usize::MAX);
        let three = |store: &Store| (store.query(&Query::new()).total == 3).then_some(());
        let (other, wait) = (store.clone(), store.wait_for(Duration::from_secs(60), three));
        let (found, ()) = tokio::join!(wait, async move {
            for name in ["a", "b", "c"] {
                tokio::task::yield_now().await;
                accept(&other, name);
            }
        });
        assert_eq!(found, Some(()));
        assert_eq!(store.wait_for(Duration::from_millis(1), |_| None::<()>).await, None);
    }
}
