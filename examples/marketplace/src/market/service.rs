//! Creates and finds listings, and sums up sales. Purchases are in [`purchase`](super::purchase).

use std::{collections::BTreeMap, time::Duration};

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde::Serialize;

use super::{
    entity::{ActiveModel, Column, Entity, Model as Listing, Status},
    order::Orders,
};
use crate::{chain::ChainClient, chat::Chat, clock, money::Amount, wallet::Wallet};

/// The market: its listings, and the parts that sell them.
#[derive(Debug, Clone)]
pub struct Market {
    pub(super) db: DatabaseConnection,
    pub(super) orders: Orders,
    pub(super) wallet: Wallet,
    pub(super) chain: ChainClient,
    pub(super) chat: Chat,
}

/// The reason why the market cannot answer a request.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    #[error("there is no listing {0}")]
    NoListing(i64),
    #[error("the listings cannot be written or read")]
    Database(#[from] DbErr),
}

/// The sales of one seller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sales {
    /// The number of sold tokens.
    pub sold: u64,
    /// The sum of their prices.
    pub revenue: Amount,
}

impl Market {
    /// Opens a market. `order_lease` is the duration of the lease of an order.
    pub fn new(db: DatabaseConnection, wallet: Wallet, chain: ChainClient, chat: Chat, order_lease: Duration) -> Self {
        let orders = Orders::new(db.clone(), order_lease);
        Self { db, orders, wallet, chain, chat }
    }

    /// Lists a token for sale.
    pub async fn list(&self, token_id: String, seller: String, price: Amount) -> Result<Listing, MarketError> {
        let listing = ActiveModel {
            token_id: Set(token_id),
            seller: Set(seller),
            price: Set(price),
            status: Set(Status::Open),
            created_at_ms: Set(clock::now_ms()),
            ..Default::default()
        };
        Ok(listing.insert(&self.db).await?)
    }

    /// Returns listings with the status, or all listings if it is `None`. The oldest comes first.
    pub async fn find(&self, status: Option<Status>, offset: u64, limit: u64) -> Result<Vec<Listing>, MarketError> {
        let mut listings = Entity::find().order_by_asc(Column::Id).offset(offset).limit(limit);
        if let Some(status) = status {
            listings = listings.filter(Column::Status.eq(status));
        }
        Ok(listings.all(&self.db).await?)
    }

    /// Returns a listing.
    pub async fn get(&self, id: i64) -> Result<Listing, MarketError> {
        Entity::find_by_id(id).one(&self.db).await?.ok_or(MarketError::NoListing(id))
    }

    /// Returns the sales of each seller.
    pub async fn sales(&self) -> Result<BTreeMap<String, Sales>, MarketError> {
        let mut by_seller = BTreeMap::<String, Sales>::new();
        for listing in Entity::find().filter(Column::Status.eq(Status::Sold)).all(&self.db).await? {
            let sales = by_seller.entry(listing.seller).or_default();
            sales.sold += 1;
            sales.revenue = sales.revenue.checked_add(listing.price).unwrap_or(sales.revenue);
        }
        Ok(by_seller)
    }
}
