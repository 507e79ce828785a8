//! The listeners of this process, by room.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
    watch,
};

use super::event::Event;

/// The number of events that wait for a slow listener. Further events replace the oldest.
pub const BACKLOG: usize = 64;

/// The rooms that have listeners.
///
/// A room exists while it has listeners. The memory of a room is bounded: its listeners share one buffer of
/// [`BACKLOG`] events.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: Mutex<HashMap<String, Room>>,
    /// Notified when a room was added or removed.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct Room {
    events: broadcast::Sender<Event>,
    source: watch::Sender<Source>,
}

/// Whether the events of a room arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The room is new and not yet subscribed.
    Pending,
    /// Events arrive.
    Active,
    /// Events may have been lost since a listener began to read.
    Interrupted,
}

/// A listener of a room. Dropping the last listener removes the room.
#[derive(Debug)]
pub struct Listener {
    room: String,
    /// `None` only while the listener is dropped.
    events: Option<broadcast::Receiver<Event>>,
    rooms: Arc<Rooms>,
}

impl Rooms {
    /// Adds a listener. `source` is the state of the room if the room is new.
    pub(super) fn add_listener(self: &Arc<Self>, name: &str, source: Source) -> (Listener, watch::Receiver<Source>) {
        let mut rooms = self.lock();
        let room = rooms.entry(name.to_owned()).or_insert_with(|| {
            self.changed.notify_one();
            Room { events: broadcast::channel(BACKLOG).0, source: watch::channel(source).0 }
        });
        let events = Some(room.events.subscribe());
        (Listener { room: name.to_owned(), events, rooms: self.clone() }, room.source.subscribe())
    }

    /// Delivers an event to the listeners of a room without blocking. If there are no listeners, the event is dropped.
    pub(super) fn deliver(&self, room: &str, event: Event) {
        if let Some(room) = self.lock().get(room) {
            // fails only if there are no listeners
            let _ = room.events.send(event);
        }
    }

    /// Returns the names of the rooms that have listeners.
    pub(super) fn names(&self) -> HashSet<String> {
        self.lock().keys().cloned().collect()
    }

    /// Records that events of these rooms arrive. Listeners of interrupted rooms receive [`Event::Missed`].
    pub(super) fn activate<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let rooms = self.lock();
        for room in names.into_iter().filter_map(|name| rooms.get(name)) {
            match room.source.send_replace(Source::Active) {
                Source::Pending | Source::Active => {}
                Source::Interrupted => _ = room.events.send(Event::Missed(None)),
            }
        }
    }

    /// Records that no events arrive until the next [`activate`](Self::activate).
    pub(super) fn interrupt_active(&self) {
        self.interrupt(|_, source| source == Source::Active);
    }

    /// Records that a listener of this room begins to read although the room is not yet subscribed.
    pub(super) fn interrupt_pending(&self, name: &str) {
        self.interrupt(|room, source| room == name && source == Source::Pending);
    }

    fn interrupt(&self, is_affected: impl Fn(&str, Source) -> bool) {
        for (name, room) in self.lock().iter() {
            room.source.send_if_modified(|source| {
                let affected = is_affected(name, *source);
                if affected {
                    *source = Source::Interrupted;
                }
                affected
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Waits for the next event.
    ///
    /// A listener that is more than [`BACKLOG`] events behind misses the oldest events and receives [`Event::Missed`] with their
    /// number.
    pub async fn next(&mut self) -> Option<Event> {
        match self.events.as_mut()?.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(Event::Missed(Some(count))),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        self.events = None;
        if rooms.get(&self.room).is_some_and(|room| room.events.receiver_count() == 0) {
            rooms.remove(&self.room);
            self.rooms.changed.notify_one();
        }
    }
}
