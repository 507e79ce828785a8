//! The table `ledger_entries`: every movement of money, never changed once written.

use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::money::Amount;

/// One movement on one user's wallet; below zero when money left it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "ledger_entries")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[serde(rename = "user")]
    pub user_id: String,
    pub amount: Amount,
    pub reason: String,
    pub created_at_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
