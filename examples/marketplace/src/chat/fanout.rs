//! Delivers published events to the listeners of a room.

use std::{io, sync::Arc};

use async_trait::async_trait;

use super::{
    entity::Model as Message,
    event::Event,
    rooms::{Rooms, Source},
};
pub use super::{
    redis_fanout::RedisFanout,
    rooms::{BACKLOG, Listener},
};

/// Delivers events to the current listeners of their room. Events are not stored.
#[async_trait]
pub trait Fanout: Send + Sync {
    /// Publishes an event in its room. Succeeds even if the room has no listeners.
    async fn publish(&self, event: &Arc<Message>) -> Result<(), PublishError>;

    /// Starts to listen in a room. The listener receives all events that are published after this call.
    async fn subscribe(&self, room: &str) -> Listener;
}

/// The reason why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("a chat event cannot be published to Redis")]
    Redis(#[from] redis::RedisError),
    #[error("a chat event cannot be encoded")]
    Json(#[from] serde_json::Error),
    #[error("publishing a chat event took too long")]
    TimedOut(#[source] io::Error),
}

/// Delivers events inside this process.
#[derive(Debug, Default)]
pub struct InProcessFanout {
    rooms: Arc<Rooms>,
}

#[async_trait]
impl Fanout for InProcessFanout {
    async fn publish(&self, event: &Arc<Message>) -> Result<(), PublishError> {
        self.rooms.deliver(&event.room, Event::Stored(event.clone()));
        Ok(())
    }

    async fn subscribe(&self, room: &str) -> Listener {
        self.rooms.add_listener(room, Source::Active).0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{super::entity::EventType, *};

    fn event(id: i64, room: &str) -> Arc<Message> {
        let (room, sender, text) = (room.to_owned(), "alice".to_owned(), "hello".to_owned());
        Arc::new(Message { id, event_type: EventType::Message, room, sender, text, created_at_ms: 0 })
    }

    #[tokio::test]
    async fn listeners_receive_the_events_of_their_room() {
        let fanout = InProcessFanout::default();
        let (mut first, mut second) = (fanout.subscribe("a").await, fanout.subscribe("a").await);
        let mut other = fanout.subscribe("b").await;
        fanout.publish(&event(1, "a")).await.unwrap();
        assert_eq!(first.next().await.unwrap().id(), Some(1));
        assert_eq!(second.next().await.unwrap().id(), Some(1));
        assert!(other.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn room_is_removed_with_its_last_listener() {
        let fanout = InProcessFanout::default();
        let (first, second) = (fanout.subscribe("a").await, fanout.subscribe("a").await);
        drop(first);
        assert_eq!(fanout.rooms.names().len(), 1);
        drop(second);
        assert!(fanout.rooms.names().is_empty());
        fanout.publish(&event(1, "a")).await.unwrap();
        assert!(fanout.rooms.names().is_empty());
    }

    #[tokio::test]
    async fn slow_listener_misses_the_oldest_events_and_receives_their_number() {
        let fanout = InProcessFanout::default();
        let mut slow = fanout.subscribe("a").await;
        for id in 0..BACKLOG as i64 + 10 {
            fanout.publish(&event(id, "a")).await.unwrap();
        }
        assert_eq!(slow.next().await, Some(Event::Missed(Some(10))));
        for id in 10..BACKLOG as i64 + 10 {
            assert_eq!(slow.next().await.unwrap().id(), Some(id));
        }
        fanout.publish(&event(100, "a")).await.unwrap();
        assert_eq!(slow.next().await.unwrap().id(), Some(100));
    }

    #[tokio::test]
    async fn listeners_of_an_interrupted_room_receive_missed_when_events_arrive_again() {
        let rooms = Arc::new(Rooms::default());
        let (mut waiting, _) = rooms.add_listener("a", Source::Pending);
        let a = ["a".to_owned()];
        rooms.activate(&a);
        assert!(waiting.next().now_or_never().is_none(), "the listener had not begun to read");
        rooms.interrupt_active();
        rooms.activate(&a);
        rooms.activate(&a);
        assert_eq!(waiting.next().now_or_never().flatten(), Some(Event::Missed(None)));
        assert!(waiting.next().now_or_never().is_none());

        let (mut reading, source) = rooms.add_listener("b", Source::Pending);
        rooms.interrupt_active();
        assert_eq!(*source.borrow(), Source::Pending);
        rooms.interrupt_pending("b");
        rooms.activate(&["b".to_owned()]);
        assert_eq!(reading.next().now_or_never().flatten(), Some(Event::Missed(None)));
        assert_eq!(*source.borrow(), Source::Active);
    }
}
