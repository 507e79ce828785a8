//! The table `messages`: the stored events of all rooms.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A stored event: a row of the table, and the JSON that listeners receive.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub room: String,
    #[serde(rename = "from")]
    pub sender: String,
    pub text: String,
    pub created_at_ms: i64,
}

/// The type of a stored event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))")]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A user wrote a message.
    #[sea_orm(string_value = "message")]
    Message,
    /// The market sold a token of the user after whom the room is named.
    #[sea_orm(string_value = "sale")]
    Sale,
}

impl EventType {
    /// Returns the value of the field `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Sale => "sale",
        }
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
