//! Stores events, publishes them, and lists the events of a room.

use std::{collections::HashSet, error::Error, sync::Arc};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use tokio::sync::watch;
use tower_apm::Transaction;

use super::{
    entity::{ActiveModel, Column, Entity, EventType, Model as Message},
    event::Event,
    fanout::Fanout,
};
use crate::clock;

/// The number of stored events that a new listener receives first.
const RECENT: u64 = 20;

/// The sender of the events that the market publishes.
const MARKET: &str = "market";

/// All rooms. Rooms do not have to be created. Each user has a room with the user's name.
#[derive(Clone)]
pub struct Chat {
    db: DatabaseConnection,
    fanout: Arc<dyn Fanout>,
    /// Each open WebSocket has a receiver.
    sockets: watch::Sender<()>,
}

/// The database failed to store or read messages.
#[derive(Debug, thiserror::Error)]
#[error("the chat's messages cannot be written or read")]
pub struct ChatError(#[from] DbErr);

impl Chat {
    /// Creates a chat that stores events in `db` and delivers them with `fanout`.
    pub fn new(db: DatabaseConnection, fanout: Arc<dyn Fanout>) -> Self {
        Self { db, fanout, sockets: watch::Sender::new(()) }
    }

    /// Stores a message of a user and delivers it to the listeners of the room.
    ///
    /// Succeeds if the message was stored, even if it cannot be delivered. A failed delivery is recorded as a handled
    /// error.
    pub async fn say(&self, room: String, from: String, text: String) -> Result<Message, ChatError> {
        self.publish(EventType::Message, room, from, text).await
    }

    /// Stores a sale in the room of the seller and delivers it like [`say`](Self::say).
    pub async fn announce_sale(&self, seller: String, text: String) -> Result<Message, ChatError> {
        self.publish(EventType::Sale, seller, MARKET.to_owned(), text).await
    }

    async fn publish(
        &self,
        event_type: EventType,
        room: String,
        sender: String,
        text: String,
    ) -> Result<Message, ChatError> {
        let message = ActiveModel {
            event_type: Set(event_type),
            room: Set(room),
            sender: Set(sender),
            text: Set(text),
            created_at_ms: Set(clock::now_ms()),
            ..Default::default()
        };
        let message = Arc::new(message.insert(&self.db).await?);
        if let Err(error) = self.fanout.publish(&message).await {
            tracing::warn!(error = &error as &dyn Error, message_id = message.id, "a stored message is not delivered");
            Transaction::current().error(&error).handled(true).label("step", "publish").capture();
        }
        Ok(Arc::unwrap_or_clone(message))
    }

    /// Returns the last stored events of a room, then each further event. Each event is returned once.
    pub async fn listen(&self, room: &str) -> Result<BoxStream<'static, Event>, ChatError> {
        // The subscription comes before the query, so that no event is lost between the two.
        let live = self.fanout.subscribe(room).await;
        let recent = Entity::find().filter(Column::Room.eq(room)).order_by_desc(Column::Id).limit(RECENT);
        let mut recent = recent.all(&self.db).await?;
        recent.reverse();
        let known: HashSet<i64> = recent.iter().map(|message| message.id).collect();
        let recent = stream::iter(recent).map(|message| Event::Stored(Arc::new(message)));
        let live = stream::unfold(live, async |mut live| live.next().await.map(|event| (event, live)))
            .filter(move |event| std::future::ready(event.id().is_none_or(|id| !known.contains(&id))));
        Ok(recent.chain(live).boxed())
    }

    /// Returns a guard for an open WebSocket.
    pub(super) fn open_socket(&self) -> watch::Receiver<()> {
        self.sockets.subscribe()
    }

    /// Waits until all WebSockets are closed.
    ///
    /// Needed at shutdown, because a server does not wait for upgraded connections.
    pub async fn sockets_closed(&self) {
        self.sockets.closed().await;
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").finish_non_exhaustive()
    }
}
