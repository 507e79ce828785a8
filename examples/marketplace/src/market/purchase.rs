//! The purchase of a listing by a request. The steps of the order are in [`saga`](super::saga).

use std::error::Error;

use sea_orm::{DbErr, EntityTrait};
use serde::Serialize;
use serde_json::json;
use tower_apm::Transaction;

use super::{
    Market,
    entity::{Entity, Model as Listing, Status},
    order::Order,
    saga::{Outcome, Step, StepError, UndecidedError, undecided},
};
use crate::{
    chain::{ChainError, Settled},
    money::Amount,
    uninterrupted::uninterrupted,
    wallet::{BalanceError, WalletError},
};

/// Proof of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    pub listing_id: i64,
    pub order_id: String,
    pub token_id: String,
    pub seller: String,
    pub buyer: String,
    pub price: Amount,
    /// The chain's transaction that transferred the token.
    pub tx_hash: String,
    /// The block that contains the transaction.
    pub block: u64,
}

/// The reason why a request has not bought a listing.
///
/// Unless the error is `Undecided`, balances and listing are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum PurchaseError {
    #[error("there is no listing {0}")]
    NoListing(i64),
    #[error("listing {0} is sold or about to be")]
    Taken(i64),
    #[error("buyer is the seller of this listing")]
    OwnListing,
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error("the purchase was not settled")]
    Settlement(#[from] SettlementError),
    /// The order continues after the request, and ends with a sale or with an open listing.
    #[error("the purchase is not decided yet: {0}; the listing shows the outcome")]
    Undecided(#[from] UndecidedError),
    #[error("the listing cannot be read")]
    Database(#[from] DbErr),
}

/// The chain has not transferred the token.
#[derive(Debug, thiserror::Error)]
#[error("token {token_id} of listing {listing_id} was not transferred to {buyer}")]
pub struct SettlementError {
    pub listing_id: i64,
    pub token_id: String,
    pub buyer: String,
    pub source: ChainError,
}

impl Market {
    /// Buys a listing. If the returned future is dropped, the purchase continues.
    pub async fn purchase(&self, id: i64, buyer: String) -> Result<Receipt, PurchaseError> {
        let market = self.clone();
        uninterrupted(async move { market.sell(id, &buyer).await }).await
    }

    async fn sell(&self, id: i64, buyer: &str) -> Result<Receipt, PurchaseError> {
        let listing = Entity::find_by_id(id).one(&self.db).await?.ok_or(PurchaseError::NoListing(id))?;
        let tx = Transaction::current();
        tx.set_label("token_id", &listing.token_id);
        if listing.status != Status::Open {
            return Err(PurchaseError::Taken(id));
        }
        if listing.seller == buyer {
            return Err(PurchaseError::OwnListing);
        }
        let mut order = self.orders.create(listing, buyer);
        self.check_parts(&order).await?;

        let reserved = self.orders.reserve(&mut order).await;
        if let Ok(false) = reserved {
            return Err(PurchaseError::Taken(id));
        }
        tx.set_label("order_id", &order.id);
        // After an error, the listing may be reserved: perhaps only the answer of the database was lost.
        reserved.map_err(|error| undecided(&order, Step::Reserve, error))?;
        match self.run(&mut order).await {
            Ok(Outcome::Sold(settled)) => Ok(order.receipt(settled)),
            Ok(Outcome::Unfinished(settled, error)) => {
                tracing::warn!(error = &error as &dyn Error, order_id = order.id, "a sale is not finished yet");
                tx.error(&error).handled(true).label("step", "payout").capture();
                self.release(&order, &error).await;
                Ok(order.receipt(settled))
            }
            Ok(Outcome::NotPaid(error)) => Err(error.into()),
            Ok(Outcome::Refused(refusal)) => {
                let refusal = refusal.unwrap_or(ChainError::Empty);
                Err(order.unsettled(refusal).into())
            }
            Err(error) => {
                self.release(&order, &error).await;
                Err(error.into())
            }
        }
    }

    /// Checks that the chain and the wallet answer and that the balance covers the price. Most purchases that cannot
    /// succeed therefore fail before the listing is reserved.
    async fn check_parts(&self, order: &Order) -> Result<(), PurchaseError> {
        self.chain.ping().await.map_err(|source| order.unsettled(source))?;
        let (balance, needed) = (self.wallet.balance(&order.buyer).await?, order.listing.price);
        if balance < needed {
            return Err(WalletError::from(BalanceError::Insufficient { balance, needed }).into());
        }
        Ok(())
    }

    /// Releases the order, so that the repair continues it soon. Otherwise the repair waits until the lease expires.
    async fn release(&self, order: &Order, error: &UndecidedError) {
        if !matches!(error.source, StepError::Wallet(_) | StepError::Chain(_)) {
            return; // the database is unavailable, or the lease belongs to another process
        }
        if let Err(error) = self.orders.release(order).await {
            tracing::warn!(
                error = &error as &dyn Error,
                order_id = order.id,
                "the lease of an order cannot be released"
            );
        }
    }

    /// Announces the sale in the seller's room. The sale is final even if the announcement fails.
    pub(super) async fn announce(&self, order: &Order) {
        let Listing { id, token_id, seller, price, .. } = &order.listing;
        let text = format!("{} bought {token_id} for {price}", order.buyer);
        if let Err(error) = self.chat.announce_sale(seller.clone(), text).await {
            tracing::warn!(error = &error as &dyn Error, listing_id = id, "a sale cannot be announced");
            Transaction::current().error(&error).handled(true).label("step", "announce").capture();
        }
    }
}

impl Order {
    fn receipt(self, Settled { tx_hash, block }: Settled) -> Receipt {
        let Listing { id, token_id, seller, price, .. } = self.listing;
        Receipt { listing_id: id, order_id: self.id, token_id, seller, buyer: self.buyer, price, tx_hash, block }
    }

    /// Returns the error of an order that the chain does not settle, and records the chain's answer.
    pub(super) fn unsettled(&self, source: ChainError) -> SettlementError {
        Transaction::current().set_custom_context("settlement", json!({ "refused": source.to_string() }));
        let (token_id, buyer) = (self.listing.token_id.clone(), self.buyer.clone());
        SettlementError { listing_id: self.listing.id, token_id, buyer, source }
    }
}
