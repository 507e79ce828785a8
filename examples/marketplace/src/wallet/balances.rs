//! Who has how much right now: the store that decides whether a debit is covered.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::change::BalanceError;
use crate::money::Amount;

/// A store of balances. Each call is atomic: of two debits that are covered only once, one is refused.
#[async_trait]
pub trait Balances: Send + Sync {
    /// The user's balance; nothing for one who was never seen.
    async fn get(&self, user: &str) -> Result<Amount, BalanceError>;

    /// Adds to the balance and returns the new one.
    async fn credit(&self, user: &str, amount: Amount) -> Result<Amount, BalanceError>;

    /// Takes from the balance and returns the new one, or takes nothing when it does not cover `amount`.
    async fn debit(&self, user: &str, amount: Amount) -> Result<Amount, BalanceError>;
}

/// Balances in this process's memory.
#[derive(Debug, Default)]
pub struct InMemoryBalances {
    by_user: Mutex<HashMap<String, Amount>>,
}

impl InMemoryBalances {
    fn change(
        &self,
        user: &str,
        change: impl FnOnce(Amount) -> Result<Amount, BalanceError>,
    ) -> Result<Amount, BalanceError> {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(by_user.get(user).copied().unwrap_or_default())?;
        by_user.insert(user.to_owned(), changed);
        Ok(changed)
    }
}

#[async_trait]
impl Balances for InMemoryBalances {
    async fn get(&self, user: &str) -> Result<Amount, BalanceError> {
        Ok(self.by_user.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied().unwrap_or_default())
    }

    async fn credit(&self, user: &str, amount: Amount) -> Result<Amount, BalanceError> {
        self.change(user, |balance| balance.checked_add(amount).ok_or(BalanceError::Overflow))
    }

    async fn debit(&self, user: &str, amount: Amount) -> Result<Amount, BalanceError> {
        self.change(user, |balance| {
            balance
                .checked_sub(amount)
                .filter(|rest| *rest >= Amount::ZERO)
                .ok_or(BalanceError::Insufficient { balance, needed: amount })
        })
    }
}
