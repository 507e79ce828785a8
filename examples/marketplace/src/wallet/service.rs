//! What a wallet can do: hold a balance, move it, and tell how it came about.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use tokio::sync::Mutex;

use super::{
    WalletError,
    balances::Balances,
    change::{Accepted, BalanceError, Change, Known, Outcome},
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
    known: Arc<Mutex<HashMap<(String, String), Known>>>,
}

impl Wallet {
    /// Opens the wallets: what the ledger says is booked into `balances`, which must be empty.
    pub async fn open(db: DatabaseConnection, balances: Arc<dyn Balances>) -> Result<Self, WalletError> {
        let mut last = 0;
        loop {
            let page = Entity::find().filter(Column::Id.gt(last)).order_by_asc(Column::Id).limit(1000).all(&db).await;
            let page = page.map_err(WalletError::History)?;
            let Some(end) = page.last() else { return Ok(Self { db, balances, known: Arc::default() }) };
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

    /// Makes a change. A change with a known key is not made again: it gets the answer of the first one.
    pub async fn change(&self, change: Change) -> Result<Accepted, WalletError> {
        change.validate()?;
        let wallet = self.clone();
        uninterrupted(async move { wallet.make(change).await }).await
    }

    async fn make(&self, change: Change) -> Result<Accepted, WalletError> {
        let id = (change.user.clone(), change.key.clone());
        let mut known = self.known.lock().await;
        if let Some(known) = known.get(&id) {
            return change.answer(known);
        }
        let answer = match change.is_debit() {
            true => self.balances.debit(&change.user, change.amount.negated()).await,
            false => self.balances.credit(&change.user, change.amount).await,
        };
        let outcome = match answer {
            Ok(balance) => Outcome::Accepted { balance },
            Err(BalanceError::Insufficient { balance, .. }) => Outcome::Refused { balance },
            Err(error) => return Err(error.into()),
        };
        if let Outcome::Accepted { .. } = outcome
            && let Err(error) = record(&self.db, &change).await
        {
            match change.is_debit() {
                true => self.balances.credit(&change.user, change.amount.negated()).await?,
                false => self.balances.debit(&change.user, change.amount).await?,
            };
            let reason = "the history cannot be written";
            return Err(WalletError::Unavailable { reason, source: Some(error.into()) });
        }
        let stored = Known { amount: change.amount, reason: change.reason.clone(), outcome };
        known.insert(id, stored.clone());
        change.answer(&stored)
    }

    /// The user's movements, the newest first, at most a hundred.
    pub async fn history(&self, user: &str) -> Result<Vec<Entry>, WalletError> {
        let entries = Entity::find().filter(Column::UserId.eq(user)).order_by_desc(Column::Id).limit(HISTORY);
        entries.all(&self.db).await.map_err(WalletError::History)
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

async fn record(db: &DatabaseConnection, change: &Change) -> Result<(), DbErr> {
    let entry = ActiveModel {
        user_id: Set(change.user.clone()),
        amount: Set(change.amount),
        reason: Set(change.reason.clone()),
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
