//! What the market can do: list, find, sum up. How a sale goes is in [`purchase`](super::purchase).

use std::collections::BTreeMap;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};
use serde::Serialize;

use super::entity::{ActiveModel, Column, Entity, Model as Listing, Status};
use crate::{chain::ChainClient, chat::Chat, clock, money::Amount, wallet::Wallet};

/// The market: its listings, and what it needs to sell them.
#[derive(Debug, Clone)]
pub struct Market {
    pub(super) db: DatabaseConnection,
    pub(super) wallet: Wallet,
    pub(super) chain: ChainClient,
    pub(super) chat: Chat,
}

/// Why the market has no answer.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    #[error("there is no listing {0}")]
    NoListing(i64),
    #[error("the listings cannot be written or read")]
    Database(#[from] DbErr),
}

/// What one seller has sold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sales {
    /// Tokens sold.
    pub sold: u64,
    /// What they brought in.
    pub revenue: Amount,
}

impl Market {
    /// Opens the market. Listings that were about to be sold when it last stopped are not touched, only told of.
    pub async fn open(
        db: DatabaseConnection,
        wallet: Wallet,
        chain: ChainClient,
        chat: Chat,
    ) -> Result<Self, MarketError> {
        let undecided = Entity::find().filter(Column::Status.eq(Status::Settling)).count(&db).await?;
        if undecided > 0 {
            tracing::warn!(
                listings = undecided,
                "sales were under way when the market stopped: look them up on the chain"
            );
        }
        Ok(Self { db, wallet, chain, chat })
    }

    /// Puts a token up for sale.
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

    /// Listings from the oldest on, of one status or all.
    pub async fn find(&self, status: Option<Status>, offset: u64, limit: u64) -> Result<Vec<Listing>, MarketError> {
        let mut listings = Entity::find().order_by_asc(Column::Id).offset(offset).limit(limit);
        if let Some(status) = status {
            listings = listings.filter(Column::Status.eq(status));
        }
        Ok(listings.all(&self.db).await?)
    }

    /// One listing.
    pub async fn get(&self, id: i64) -> Result<Listing, MarketError> {
        Entity::find_by_id(id).one(&self.db).await?.ok_or(MarketError::NoListing(id))
    }

    /// What each seller has sold.
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
