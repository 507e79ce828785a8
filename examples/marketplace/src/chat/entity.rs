//! The table `messages`: what was said in each room.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One message, as it is stored and as listeners get it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub room: String,
    #[serde(rename = "from")]
    pub sender: String,
    pub text: String,
    pub created_at_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
