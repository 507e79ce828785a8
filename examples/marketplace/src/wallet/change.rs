//! A change of a balance, and the answer to it.

use axum::http::HeaderName;

use super::WalletError;
use crate::money::Amount;

/// The header with the key of a change.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The prefix of the keys of the market's orders. Clients cannot use keys with this prefix.
pub(crate) const ORDER_KEYS: &str = "order:";

/// The maximum number of characters of a user.
pub const MAX_USER: usize = 128;
/// The maximum number of characters of a key.
pub const MAX_KEY: usize = 128;
/// The maximum number of characters of a reason.
pub const MAX_REASON: usize = 200;

/// A change of one user's balance, identified by the user and the key.
///
/// A change with a known key is not made again: it gets the answer of the first one. An answer that is not kept any more is
/// read from the history: then the balance can differ from that of the first answer if other changes of the same user ran at
/// the same time, because the history can have another order. The amount and the acceptance are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub user: String,
    /// 1 to 128 visible ASCII characters.
    pub key: String,
    /// Positive for a credit, negative for a debit.
    pub amount: Amount,
    pub reason: String,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub user: String,
    pub key: String,
    pub amount: Amount,
    /// The balance after the change. See [`Change`] for repeated answers.
    pub balance: Amount,
}

/// A value of a change that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct InvalidChange {
    pub field: &'static str,
    pub reason: &'static str,
}

impl Change {
    /// Checks that the values fit into the columns of the history.
    pub fn validate(&self) -> Result<(), InvalidChange> {
        let invalid = |field, reason| Err(InvalidChange { field, reason });
        if !is_text(&self.user, MAX_USER) {
            return invalid("user", "must have 1 to 128 characters and no NUL");
        }
        if !is_key(&self.key) {
            return invalid("idempotency-key", "must have 1 to 128 visible ASCII characters");
        }
        if !is_text(&self.reason, MAX_REASON) {
            return invalid("reason", "must have 1 to 200 characters and no NUL");
        }
        if self.amount == Amount::ZERO || self.amount > Amount::MAX_MOVED || self.amount < Amount::MAX_MOVED.negated() {
            return invalid("amount", "must not be zero and must be at most 9 billion");
        }
        Ok(())
    }

    /// Returns whether the change takes money out of the wallet.
    pub fn is_debit(&self) -> bool {
        self.amount < Amount::ZERO
    }

    /// Returns the answer to this change if its key is already known.
    pub(super) fn answer(self, known: &Known) -> Result<Accepted, WalletError> {
        if known.amount != self.amount || known.reason != self.reason {
            return Err(WalletError::KeyReused);
        }
        match known.outcome {
            Outcome::Accepted { balance } => {
                Ok(Accepted { user: self.user, key: self.key, amount: self.amount, balance })
            }
            Outcome::Refused { balance } => {
                Err(BalanceError::Insufficient { balance, needed: self.amount.negated() }.into())
            }
        }
    }
}

/// The stored answer for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub amount: Amount,
    pub reason: String,
    pub outcome: Outcome,
}

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The change is in the log, and `balance` was the balance after it.
    Accepted { balance: Amount },
    /// The debit was refused, because `balance` did not cover it.
    Refused { balance: Amount },
}

/// The reason why a balance does not allow a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    #[error("the balance is {balance}, {needed} are needed")]
    Insufficient { balance: Amount, needed: Amount },
    #[error("the balance would exceed what a wallet can hold")]
    Overflow,
}

/// Whether a column of `max` characters can store a text.
pub(super) fn is_text(text: &str, max: usize) -> bool {
    !text.is_empty() && !text.contains('\0') && text.chars().count() <= max
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change { user: "bob".into(), key: "k".into(), amount: "-5".parse().unwrap(), reason: "fee".into() }
    }

    #[test]
    fn values_that_cannot_be_stored_are_refused() {
        change().validate().unwrap();
        let long = "ä".repeat(128);
        Change { user: long.clone(), ..change() }.validate().unwrap();
        for (change, field) in [
            (Change { user: long + "ä", ..change() }, "user"),
            (Change { user: "a\0b".into(), ..change() }, "user"),
            (Change { user: String::new(), ..change() }, "user"),
            (Change { key: "two words".into(), ..change() }, "idempotency-key"),
            (Change { key: "ä".into(), ..change() }, "idempotency-key"),
            (Change { key: "k".repeat(129), ..change() }, "idempotency-key"),
            (Change { key: String::new(), ..change() }, "idempotency-key"),
            (Change { reason: "r".repeat(201), ..change() }, "reason"),
            (Change { amount: Amount::ZERO, ..change() }, "amount"),
        ] {
            assert_eq!(change.validate().unwrap_err().field, field, "{change:?}");
        }
    }

    #[test]
    fn known_key_gets_the_stored_answer_unless_the_change_differs() {
        let balance: Amount = "7".parse().unwrap();
        let known = |outcome| Known { amount: change().amount, reason: "fee".into(), outcome };
        let accepted = known(Outcome::Accepted { balance });
        assert_eq!(change().answer(&accepted).unwrap().balance, balance);
        let refused = change().answer(&known(Outcome::Refused { balance })).unwrap_err();
        assert!(matches!(refused, WalletError::Balance(BalanceError::Insufficient { .. })), "{refused:?}");
        for other in
            [Change { amount: change().amount.negated(), ..change() }, Change { reason: "another".into(), ..change() }]
        {
            assert!(matches!(other.answer(&accepted), Err(WalletError::KeyReused)));
        }
    }
}
