//! The table `listings`: tokens that are for sale, reserved for an order, or sold.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::money::Amount;

/// A listing, as it is stored and as clients receive it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "listings")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub token_id: String,
    pub seller: String,
    pub price: Amount,
    pub status: Status,
    /// Set while an order is in progress, and when the listing is sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
    /// Set when the chain has settled the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
    /// Set when the chain has settled the order.
    #[serde(skip)]
    pub block: Option<i64>,
    /// Set while an order is in progress, and when the listing is sold.
    #[serde(skip)]
    pub order_id: Option<String>,
    /// Set only while an order is in progress. After this time, any instance may continue the order.
    #[serde(skip)]
    pub lease_until_ms: Option<i64>,
    pub created_at_ms: i64,
}

/// The state of a listing. `saga` documents the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))")]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// For sale.
    #[sea_orm(string_value = "open")]
    Open,
    /// Reserved for an order. Whether the buyer has paid is unknown.
    #[sea_orm(string_value = "reserved")]
    Reserved,
    /// The buyer has paid. Whether the chain has settled the order is unknown.
    #[sea_orm(string_value = "paid")]
    Paid,
    /// The chain has settled the order. Whether the seller has been paid is unknown.
    #[sea_orm(string_value = "settled")]
    Settled,
    /// The chain has refused the order. Whether the buyer has been refunded is unknown.
    #[sea_orm(string_value = "refunding")]
    Refunding,
    /// Sold, and the seller is paid.
    #[sea_orm(string_value = "sold")]
    Sold,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
