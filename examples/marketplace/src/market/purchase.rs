//! One sale, step by step: whatever stops it, the listing is open again and no balance has changed.
//!
//! The chain is asked first whether it is there at all. Then:
//!
//! 1. The listing goes from open to settling, in one statement, so that of many buyers one gets on.
//! 2. The price is set aside from the buyer's balance.
//! 3. The chain hands the token over. From here on the sale stands.
//! 4. Listing and ledger are written in one database transaction, and the seller is paid.
//! 5. The seller's chat room hears of it.

use std::error::Error;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, ExprTrait, QueryFilter, sea_query::Expr};
use serde::Serialize;
use serde_json::json;
use tower_apm::Transaction;
use uuid::Uuid;

use super::{
    Market,
    entity::{Column, Entity, Model as Listing, Status},
};
use crate::{
    chain::{ChainError, Settled},
    money::Amount,
    uninterrupted::uninterrupted,
    wallet::{Change, Payment, WalletError},
};

/// Proof of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    pub listing_id: i64,
    pub token_id: String,
    pub seller: String,
    pub buyer: String,
    pub price: Amount,
    /// The chain's transaction that handed the token over.
    pub tx_hash: String,
    /// The block that holds it.
    pub block: u64,
}

/// Why nothing was bought.
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
    #[error("the sale cannot be written or read")]
    Database(#[from] DbErr),
}

/// The chain did not hand the token over.
#[derive(Debug, thiserror::Error)]
#[error("token {token_id} of listing {listing_id} was not transferred to {buyer}")]
pub struct SettlementError {
    pub listing_id: i64,
    pub token_id: String,
    pub buyer: String,
    pub source: ChainError,
}

impl Market {
    /// Buys a listing. Once begun, a purchase is carried through also if the returned future is dropped.
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
        let payment = Payment { buyer, seller: &listing.seller, price: listing.price, token_id: &listing.token_id };

        let unsettled = |source| {
            tx.set_custom_context("settlement", json!({ "refused": ChainError::to_string(&source) }));
            let (token_id, buyer) = (listing.token_id.clone(), buyer.to_owned());
            SettlementError { listing_id: id, token_id, buyer, source }
        };
        self.chain.ping().await.map_err(unsettled)?;
        self.change_status(id, Status::Open, Status::Settling).await?;
        // until orders have ids of their own
        let order = Uuid::new_v4();
        let change = |user: &str, step: &str, amount, verb: &str| Change {
            user: user.to_owned(),
            key: format!("order:{id}:{order}:{step}"),
            amount,
            reason: format!("{verb} {}", listing.token_id),
        };
        if let Err(error) = self.wallet.change(change(buyer, "pay", listing.price.negated(), "bought")).await {
            self.change_status(id, Status::Settling, Status::Open).await?;
            return Err(error.into());
        }
        let settled = match self.chain.transfer(payment).await {
            Ok(settled) => settled,
            Err(source) => {
                self.wallet.change(change(buyer, "refund", listing.price, "refund of")).await?;
                self.change_status(id, Status::Settling, Status::Open).await?;
                return Err(unsettled(source).into());
            }
        };
        // From here on whatever fails is found by the chain's own id of the sale.
        tx.set_label("tx_hash", &settled.tx_hash).set_custom_context("settlement", &settled);
        self.record_sale(id, payment, &settled).await?;
        if let Err(error) = self.wallet.change(change(&listing.seller, "payout", listing.price, "sold")).await {
            // An ERROR event with an error in it is an error document; an id is text, in labels of every kind.
            tracing::error!(error = &error as &dyn Error, listing_id = %id, "a seller is not paid");
        }
        self.announce(&listing, payment).await;

        let Settled { tx_hash, block } = settled;
        let Listing { token_id, seller, price, .. } = listing;
        Ok(Receipt { listing_id: id, token_id, seller, buyer: buyer.to_owned(), price, tx_hash, block })
    }

    /// Moves a listing on, unless someone else was faster.
    async fn change_status(&self, id: i64, from: Status, to: Status) -> Result<(), PurchaseError> {
        let changed = Entity::update_many()
            .col_expr(Column::Status, Expr::value(to))
            .filter(Column::Id.eq(id).and(Column::Status.eq(from)))
            .exec(&self.db)
            .await?;
        if changed.rows_affected == 1 { Ok(()) } else { Err(PurchaseError::Taken(id)) }
    }

    async fn record_sale(&self, id: i64, payment: Payment<'_>, settled: &Settled) -> Result<(), DbErr> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Sold))
            .col_expr(Column::Buyer, Expr::value(payment.buyer))
            .col_expr(Column::TxHash, Expr::value(settled.tx_hash.as_str()))
            .filter(Column::Id.eq(id))
            .exec(&self.db)
            .await?;
        Ok(())
    }

    /// Tells the seller's room. The sale stands, whether or not someone hears of it.
    async fn announce(&self, listing: &Listing, payment: Payment<'_>) {
        let text = format!("{} bought {} for {}", payment.buyer, payment.token_id, payment.price);
        if let Err(error) = self.chat.announce_sale(listing.seller.clone(), text).await {
            tracing::warn!(error = &error as &dyn Error, listing_id = listing.id, "a sale is not announced");
            Transaction::current().error(&error).handled(true).label("step", "announce").capture();
        }
    }
}
