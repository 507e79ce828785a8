//! The errors of the wallet.

use std::error::Error;

use sea_orm::DbErr;

use super::change::{BalanceError, InvalidChange};

/// The cause of an error.
pub(super) type Source = Box<dyn Error + Send + Sync>;

/// An error of the wallet.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error(transparent)]
    Invalid(#[from] InvalidChange),
    #[error(transparent)]
    Balance(#[from] BalanceError),
    /// 422
    #[error("this Idempotency-Key was used for another change")]
    KeyReused,
    /// 503: the balance has not changed.
    #[error("{reason}")]
    Unavailable { reason: &'static str, source: Option<Source> },
    /// 503: the balance may have changed.
    ///
    /// If the request is repeated with the same key, the balance changes at most once.
    #[error("{reason}: send the request again with the Idempotency-Key {key}")]
    Unknown { reason: &'static str, key: String, source: Option<Source> },
    #[error("the history cannot be read")]
    History(#[source] DbErr),
}

impl WalletError {
    /// Returns whether a repetition of the change can never succeed.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::KeyReused)
    }
}
