//! Rooms: what was said is kept, and told to those who listen.

use std::{collections::HashSet, sync::Arc};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::{
    entity::{ActiveModel, Column, Entity, Model as Message},
    fanout::Fanout,
};
use crate::clock;

/// How many earlier messages a listener gets first.
const RECENT: u64 = 20;

/// All rooms. A room is there as soon as someone speaks or listens in it; every user has one of their own name.
#[derive(Clone)]
pub struct Chat {
    db: DatabaseConnection,
    fanout: Arc<dyn Fanout>,
}

/// Why a message was not kept or not found.
#[derive(Debug, thiserror::Error)]
#[error("the chat's messages cannot be written or read")]
pub struct ChatError(#[from] DbErr);

impl Chat {
    /// Rooms whose messages lie in `db` and go out through `fanout`.
    pub fn new(db: DatabaseConnection, fanout: Arc<dyn Fanout>) -> Self {
        Self { db, fanout }
    }

    /// Says something in a room.
    pub async fn say(&self, room: String, from: String, text: String) -> Result<Message, ChatError> {
        let message = ActiveModel {
            room: Set(room),
            sender: Set(from),
            text: Set(text),
            created_at_ms: Set(clock::now_ms()),
            ..Default::default()
        };
        let message = message.insert(&self.db).await?;
        self.fanout.publish(message.clone()).await;
        Ok(message)
    }

    /// The room's last messages, then every further one as it is said; each once.
    pub async fn listen(&self, room: &str) -> Result<BoxStream<'static, Message>, ChatError> {
        // Subscribed first, so that nothing falls between the two.
        let live = self.fanout.subscribe(room).await;
        let recent = Entity::find().filter(Column::Room.eq(room)).order_by_desc(Column::Id).limit(RECENT);
        let mut recent = recent.all(&self.db).await?;
        recent.reverse();
        let known: HashSet<i64> = recent.iter().map(|message| message.id).collect();
        let live = live.filter(move |message| std::future::ready(!known.contains(&message.id)));
        Ok(stream::iter(recent).chain(live).boxed())
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").finish_non_exhaustive()
    }
}
