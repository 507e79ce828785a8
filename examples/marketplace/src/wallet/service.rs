//! What a wallet can do: hold a balance, move it, and tell how it came about.

use std::sync::Arc;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::{
    balances::{BalanceError, Balances},
    entity::{ActiveModel, Column, Entity, Model as Entry},
};
use crate::{clock, money::Amount, uninterrupted::uninterrupted};

/// The most entries that a history shows.
const HISTORY: u64 = 100;

/// Everyone's wallets: balances in a store of their own, each movement in the ledger.
#[derive(Clone)]
pub struct Wallet {
    db: DatabaseConnection,
    balances: Arc<dyn Balances>,
}

/// Why a wallet did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error(transparent)]
    Balance(#[from] BalanceError),
    #[error("the ledger cannot be written or read")]
    Ledger(#[from] DbErr),
}

impl Wallet {
    /// Opens the wallets: what the ledger says is booked into `balances`, which must be empty.
    pub async fn open(db: DatabaseConnection, balances: Arc<dyn Balances>) -> Result<Self, WalletError> {
        let mut last = 0;
        loop {
            let page = Entity::find().filter(Column::Id.gt(last)).order_by_asc(Column::Id).limit(1000).all(&db).await?;
            let Some(end) = page.last() else { return Ok(Self { db, balances }) };
            last = end.id;
            for entry in page {
                balances.credit(&entry.user_id, entry.amount).await?;
            }
        }
    }

    /// The user's balance; zero for one who was never seen.
    pub async fn balance(&self, user: &str) -> Result<Amount, WalletError> {
        Ok(self.balances.get(user).await?)
    }

    /// Puts money into the user's wallet; returns the new balance.
    pub async fn credit(&self, user: String, amount: Amount, reason: String) -> Result<Amount, WalletError> {
        let wallet = self.clone();
        uninterrupted(async move {
            let balance = wallet.balances.credit(&user, amount).await?;
            if let Err(error) = record(&wallet.db, &user, amount, &reason).await {
                wallet.balances.debit(&user, amount).await?;
                return Err(error.into());
            }
            Ok(balance)
        })
        .await
    }

    /// Takes money out of the user's wallet; returns the new balance.
    pub async fn debit(&self, user: String, amount: Amount, reason: String) -> Result<Amount, WalletError> {
        let wallet = self.clone();
        uninterrupted(async move {
            let balance = wallet.balances.debit(&user, amount).await?;
            if let Err(error) = record(&wallet.db, &user, amount.negated(), &reason).await {
                wallet.balances.credit(&user, amount).await?;
                return Err(error.into());
            }
            Ok(balance)
        })
        .await
    }

    /// The user's movements, the newest first, at most a hundred.
    pub async fn history(&self, user: &str) -> Result<Vec<Entry>, WalletError> {
        let entries = Entity::find().filter(Column::UserId.eq(user)).order_by_desc(Column::Id).limit(HISTORY);
        Ok(entries.all(&self.db).await?)
    }

    /// Sets money aside for a purchase. The ledger does not know of it until [`Wallet::record_payment`].
    pub(crate) async fn hold(&self, buyer: &str, price: Amount) -> Result<(), BalanceError> {
        self.balances.debit(buyer, price).await.map(|_| ())
    }

    /// Gives back what [`Wallet::hold`] took: the purchase did not happen.
    pub(crate) async fn release(&self, buyer: &str, price: Amount) -> Result<(), BalanceError> {
        self.balances.credit(buyer, price).await.map(|_| ())
    }

    /// Writes a payment into the ledger, on `db`, the transaction that also records what was bought.
    pub(crate) async fn record_payment(db: &impl ConnectionTrait, payment: Payment<'_>) -> Result<(), DbErr> {
        record(db, payment.buyer, payment.price.negated(), &format!("bought {}", payment.token_id)).await?;
        record(db, payment.seller, payment.price, &format!("sold {}", payment.token_id)).await
    }

    /// Pays out to the seller what was held from the buyer.
    pub(crate) async fn pay_out(&self, payment: Payment<'_>) -> Result<(), BalanceError> {
        self.balances.credit(payment.seller, payment.price).await.map(|_| ())
    }
}

/// Who pays whom how much, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payment<'a> {
    pub(crate) buyer: &'a str,
    pub(crate) seller: &'a str,
    pub(crate) price: Amount,
    pub(crate) token_id: &'a str,
}

async fn record(db: &impl ConnectionTrait, user: &str, amount: Amount, reason: &str) -> Result<(), DbErr> {
    let entry = ActiveModel {
        user_id: Set(user.to_owned()),
        amount: Set(amount),
        reason: Set(reason.to_owned()),
        created_at_ms: Set(clock::now_ms()),
        ..Default::default()
    };
    Entity::insert(entry).exec_without_returning(db).await.map(|_| ())
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").finish_non_exhaustive()
    }
}
