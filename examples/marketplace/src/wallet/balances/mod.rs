//! The store of balances, which decides whether a balance covers a debit.
//!
//! A store is volatile. It contains one data set at a time, which is identified by an epoch. If a store loses its data
//! set, it is not ready until the data set is rebuilt.

mod memory;
mod redis;
mod redis_text;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    memory::InMemoryBalances,
    redis::{RedisBalances, RedisError},
};
use super::{
    change::Known,
    error::Source,
    log::{Epoch, Event},
};
use crate::money::Amount;

/// How many changes can wait for the log. Further changes are refused.
pub const MAX_WAITING: usize = 500;

/// The maximum balance after a credit, in millionths.
///
/// The limit leaves room for all credits that can wait at the same time, so that their sum does not overflow 64 bits.
pub const MAX_BALANCE: i64 = 4_600_000_000_000_000_000;

/// How long a refusal is kept. Also how long the answer to a change in the history is kept.
pub const ANSWER_KEPT: Duration = Duration::from_secs(60 * 60);

/// How long the answer to a change is kept if the change is not in the history.
///
/// The consumer can be down for at most this time.
pub const UNBOOKED_ANSWER_KEPT: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// The number of answers that [`Balances::old_answers`] returns.
pub const OLD_ANSWERS: usize = 500;

/// How long a rebuild can go without progress before another rebuild can replace it.
pub const REBUILD_LEASE: Duration = Duration::from_secs(10);

/// A store of balances. Each method is atomic.
#[async_trait]
pub trait Balances: Send + Sync {
    async fn state(&self) -> Result<State, StoreError>;

    /// Returns the user's balance, or `None` if `epoch` is not ready.
    async fn get(&self, epoch: &Epoch, user: &str) -> Result<Option<Amount>, StoreError>;

    /// Begins a change: subtracts the amount of a debit, and stores the event until it is confirmed.
    ///
    /// If `is_new` is false and the key is not stored, nothing begins and the result is [`Begin::Unknown`].
    async fn begin(&self, event: &Event, is_new: bool) -> Result<Begin, StoreError>;

    /// Confirms a change that is in the log: adds the amount of a credit, and stores the answer.
    async fn confirm(&self, event: &Event) -> Result<Confirm, StoreError>;

    /// Returns the stored answer for a key in `epoch`, which can differ from the epoch of the change.
    async fn find(&self, epoch: &Epoch, user: &str, key: &str) -> Result<Find, StoreError>;

    /// Returns the changes that are not confirmed, or nothing if `epoch` is not ready.
    async fn waiting(&self, epoch: &Epoch) -> Result<Vec<Event>, StoreError>;

    /// Returns the users and keys of at most [`OLD_ANSWERS`] changes that were confirmed before `before_ms`, the oldest
    /// first.
    async fn old_answers(&self, epoch: &Epoch, before_ms: i64) -> Result<Vec<(String, String)>, StoreError>;

    /// Removes the answers to changes that are in the history.
    async fn forget_answers(&self, epoch: &Epoch, changes: &[(String, String)]) -> Result<(), StoreError>;

    /// Discards a data set whose epoch was replaced in the log. Does nothing if another epoch is ready.
    async fn discard(&self, epoch: &Epoch) -> Result<(), StoreError>;

    /// Begins the rebuild of `epoch` if the state is still `observed`. Returns whether it began.
    async fn start_rebuild(&self, observed: &State, epoch: &Epoch) -> Result<bool, StoreError>;

    /// Renews the lease of the rebuild for [`REBUILD_LEASE`], because it makes progress.
    async fn renew_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError>;

    /// Ends a rebuild that has failed, so that another rebuild can begin immediately.
    async fn abandon_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError>;

    /// Writes balances, and the answers to changes with the balance after each of them, into the data set of `epoch`.
    async fn load(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<(), StoreError>;

    /// Makes `epoch` ready if its rebuild was not replaced and its data is complete. Returns whether it is ready.
    async fn finish_rebuild(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<bool, StoreError>;
}

/// The state of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The store has no data.
    Lost,
    /// A data set is being rebuilt. If the rebuild is not active, another one can replace it.
    Rebuilding {
        epoch: Epoch,
        is_active: bool,
    },
    Ready(Epoch),
}

/// The result of [`Balances::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The epoch of the event is not ready.
    NotReady,
    /// The key is not stored, and the change was not declared new.
    Unknown,
    /// The key is stored, or the debit was refused now.
    Known(Known),
    /// The change began earlier and was not confirmed.
    Waiting(Event),
    /// [`MAX_WAITING`] changes are already waiting.
    Full,
    /// The credit would exceed [`MAX_BALANCE`].
    Overflow,
    Begun,
}

/// The result of [`Balances::confirm`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// The epoch of the event is not ready.
    NotReady,
    /// Neither the change nor its answer is stored.
    Unknown,
    /// The answer to the change.
    Known(Known),
}

/// The result of [`Balances::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// The epoch is not ready.
    NotReady,
    Unknown,
    Known(Known),
}

/// A data set that was computed from the history and the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub balances: Vec<(String, Amount)>,
    /// Changes that are in the log but not yet in the history, with the balance after each of them.
    pub answers: Vec<(Event, Amount)>,
}

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request was not sent, so nothing was changed.
    #[error("the store of balances cannot be reached")]
    Unreachable(#[source] Source),
    /// The request may have been executed.
    #[error("the store of balances did not answer")]
    Failed(#[source] Source),
}
