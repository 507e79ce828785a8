//! The events in memory: bounded by count and bytes, the oldest make room.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    event::{Event, Kind, Metadata, Protocol},
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
    /// The number that the next event gets. Numbers go up by one with each event.
    next: u64,
    stats: Stats,
}

impl Inner {
    /// The number of the oldest event.
    fn first(&self) -> u64 {
        self.next - self.events.len() as u64
    }
}

/// Messages name keys, which can be as long as a line: 1 KiB of one is enough.
pub(crate) fn shorten(message: &str) -> &str {
    const MAX_MESSAGE: usize = 1024;
    let mut end = MAX_MESSAGE.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
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

    pub(crate) fn accept(&self, protocol: Protocol, kind: Kind, metadata: &Metadata, body: Arc<RawValue>) {
        let event = Event::new(protocol, kind, SystemTime::now(), metadata, body);
        self.change(|inner, limits| {
            *inner.stats.accepted.of(kind) += 1;
            *inner.stats.held_by_type.of(kind) += 1;
            inner.stats.bytes += event.size();
            inner.events.push_back(Arc::new(event));
            inner.next += 1;
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
            inner.stats.last_rejection = Some(shorten(why).to_owned());
        });
    }

    pub(crate) fn reject(&self, kind: Option<Kind>, why: &str) {
        self.change(|inner, _| {
            match kind {
                Some(kind) => *inner.stats.rejected.of(kind) += 1,
                None => inner.stats.unrecognized += 1,
            }
            inner.stats.last_rejection = Some(shorten(why).to_owned());
        });
    }

    /// The event of this number, unless it has made room.
    pub(crate) fn event(&self, number: u64) -> Option<Arc<Event>> {
        let inner = self.lock();
        let at = number.checked_sub(inner.first())?;
        inner.events.get(usize::try_from(at).ok()?).cloned()
    }

    /// The newest events before this number, newest first, each with its number. Some hundreds of them.
    pub(crate) fn before(&self, number: u64) -> Vec<(u64, Arc<Event>)> {
        const SOME: usize = 256;
        let inner = self.lock();
        let first = inner.first();
        let end = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX).min(inner.events.len());
        let some = inner.events.range(end.saturating_sub(SOME)..end).enumerate().rev();
        let start = first + end.saturating_sub(SOME) as u64;
        some.map(|(place, event)| (start + place as u64, event.clone())).collect()
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
        let metadata = Metadata::new(RawValue::from_string("{}".to_owned()).unwrap().into());
        let body = RawValue::from_string(format!(r#"{{"name":"{name}"}}"#)).unwrap();
        store.accept(Protocol::Intake, Kind::Span, &metadata, body.into());
    }

    fn names(page: &Page) -> Vec<String> {
        page.events.iter().flat_map(|event| event.names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn oldest_events_are_evicted_and_counted() {
        let store = store(2, usize::MAX);
        ["a", "b", "c"].iter().for_each(|name| accept(&store, name));
        assert_eq!(names(&store.query(&Query::new())), ["c", "b"]);
        let stats = store.stats();
        assert_eq!((stats.held, stats.evicted, stats.accepted.span), (2, 1, 3));
        assert_eq!((stats.held_by_type.span, stats.held_by_type.events()), (2, 2));
    }

    #[test]
    fn bytes_are_limited_and_the_newest_event_is_kept() {
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
    fn total_includes_events_over_the_page_limit() {
        let store = store(100, usize::MAX);
        ["a", "b", "a", "a"].iter().for_each(|name| accept(&store, name));
        let page = store.query(&Query::new().name("a").limit(2));
        assert_eq!((page.total, page.events.len()), (3, 2));
        assert_eq!(store.query(&Query::new().text("\"NAME\":\"b\"")).total, 1);
        assert_eq!(store.query(&Query::new().kind(Kind::Error)).total, 0);
    }

    #[test]
    fn event_numbers_continue_after_eviction_and_clearing() {
        let store = store(3, usize::MAX);
        ["a", "b", "c", "d"].iter().for_each(|name| accept(&store, name));
        let named = |events: Vec<(u64, Arc<Event>)>| -> Vec<_> {
            events.iter().map(|(number, event)| (*number, event.names().next().unwrap().to_owned())).collect()
        };
        assert_eq!(named(store.before(u64::MAX)), [(3, "d".into()), (2, "c".into()), (1, "b".into())]);
        assert_eq!(named(store.before(2)), [(1, "b".into())]);
        assert!(store.before(1).is_empty() && store.event(0).is_none() && store.event(4).is_none());
        store.clear();
        accept(&store, "e");
        assert_eq!(named(store.before(u64::MAX)), [(4, "e".into())]);
        assert!(store.event(3).is_none() && store.event(4).is_some());
    }

    #[tokio::test]
    async fn wait_ends_with_the_event_or_at_the_deadline() {
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
