//! From one who speaks in a room to all who listen there.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::broadcast::{self, error::RecvError};

use super::entity::Model as Message;

/// How many messages a slow listener may be behind before it misses some.
const BACKLOG: usize = 64;

/// Hands messages to the listeners of their room.
#[async_trait]
pub trait Fanout: Send + Sync {
    /// Gives the message to everyone who listens now; returns at once, whether or not someone does.
    async fn publish(&self, message: Message);

    /// The room's messages from now on. A listener that falls too far behind misses the oldest.
    async fn subscribe(&self, room: &str) -> BoxStream<'static, Message>;
}

/// Fan-out among the listeners of this process.
#[derive(Debug, Default)]
pub struct InProcessFanout {
    rooms: Mutex<HashMap<String, broadcast::Sender<Message>>>,
}

#[async_trait]
impl Fanout for InProcessFanout {
    async fn publish(&self, message: Message) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(&message.room) {
            let name = message.room.clone();
            if room.send(message).is_err() {
                rooms.remove(&name);
            }
        }
    }

    async fn subscribe(&self, room: &str) -> BoxStream<'static, Message> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        // Rooms that nobody listens to any more leave when someone comes, so that there are never more than listeners.
        rooms.retain(|name, sender| name == room || sender.receiver_count() > 0);
        let receiver = rooms.entry(room.to_owned()).or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe();
        stream::unfold(receiver, |mut receiver| async {
            loop {
                match receiver.recv().await {
                    Ok(message) => return Some((message, receiver)),
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn message(id: i64, room: &str) -> Message {
        Message { id, room: room.to_owned(), sender: "alice".to_owned(), text: "hello".to_owned(), created_at_ms: 0 }
    }

    #[tokio::test]
    async fn each_room_hears_its_own() {
        let fanout = InProcessFanout::default();
        let (mut first, mut second) = (fanout.subscribe("a").await, fanout.subscribe("a").await);
        let mut other = fanout.subscribe("b").await;
        fanout.publish(message(1, "a")).await;
        assert_eq!(first.next().await.unwrap().id, 1);
        assert_eq!(second.next().await.unwrap().id, 1);
        assert!(other.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn rooms_without_listeners_are_forgotten() {
        let fanout = InProcessFanout::default();
        for room in 0..100 {
            drop(fanout.subscribe(&room.to_string()).await);
        }
        assert_eq!(fanout.rooms.lock().unwrap().len(), 1);
        fanout.publish(message(1, "99")).await;
        assert!(fanout.rooms.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_slow_listener_misses_the_oldest() {
        let fanout = InProcessFanout::default();
        let mut slow = fanout.subscribe("a").await;
        for id in 0..BACKLOG as i64 + 10 {
            fanout.publish(message(id, "a")).await;
        }
        assert_eq!(slow.next().await.unwrap().id, 10);
    }
}
