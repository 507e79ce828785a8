//! The table `listings`: tokens for sale, and those sold.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::money::Amount;

/// A token for sale, as it is stored and as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "listings")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub token_id: String,
    pub seller: String,
    pub price: Amount,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
    pub created_at_ms: i64,
}

/// Where a listing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))")]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// For sale.
    #[sea_orm(string_value = "open")]
    Open,
    /// One buyer's purchase is on its way to the chain; others are turned away until it is decided.
    #[sea_orm(string_value = "settling")]
    Settling,
    /// Sold.
    #[sea_orm(string_value = "sold")]
    Sold,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
