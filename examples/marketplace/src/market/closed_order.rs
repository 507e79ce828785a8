//! The table `closed_orders`: orders that ended before the buyer had paid. `late_payment` uses them.

use sea_orm::entity::prelude::*;

use crate::money::Amount;

/// An order that ended before the buyer had paid.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "closed_orders")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(unique)]
    pub order_id: String,
    pub token_id: String,
    pub buyer: String,
    pub price: Amount,
    /// When the order ended.
    pub created_at_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
