//! The store of balances, which decides whether a debit is covered.
//!
//! A store is volatile. It holds one data set at a time, named by an epoch. A store that has lost its data set is not
//! ready until the data set is rebuilt.

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

/// The most millionths that a credit can lead to. All credits that can wait in addition do not overflow 64 bits.
pub const MAX_BALANCE: i64 = 4_600_000_000_000_000_000;

/// How long a refusal is kept, and the answer to a change that is in the history.
pub const ANSWER_KEPT: Duration = Duration::from_secs(60 * 60);

/// How long the answer to a change is kept that is not in the history: the longest time that the consumer can be away.
pub const UNBOOKED_ANSWER_KEPT: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// The number of answers that [`Balances::old_answers`] returns.
pub const OLD_ANSWERS: usize = 500;

/// How long a rebuild can make no progress before another one can replace it.
pub const REBUILD_LEASE: Duration = Duration::from_secs(10);

/// A store of balances. Each method is atomic.
#[async_trait]
pub trait Balances: Send + Sync {
    async fn state(&self) -> Result<State, StoreError>;

    /// Returns the user's balance, or `None` if `epoch` is not ready.
    async fn get(&self, epoch: &Epoch, user: &str) -> Result<Option<Amount>, StoreError>;

    /// Begins a change: takes the amount of a debit, and stores the event until it is confirmed.
    ///
    /// Unless `is_new`, a key that is not stored begins nothing: [`Begin::Unknown`].
    async fn begin(&self, event: &Event, is_new: bool) -> Result<Begin, StoreError>;

    /// Confirms a change that is in the log: adds the amount of a credit, and stores the answer.
    async fn confirm(&self, event: &Event) -> Result<Confirm, StoreError>;

    /// Returns what is stored under a key in another epoch than that of the change.
    async fn find(&self, epoch: &Epoch, user: &str, key: &str) -> Result<Find, StoreError>;

    /// Returns the changes that are not confirmed, or nothing if `epoch` is not ready.
    async fn waiting(&self, epoch: &Epoch) -> Result<Vec<Event>, StoreError>;

    /// Returns users and keys of some changes that were confirmed before `before_ms`, the oldest first.
    async fn old_answers(&self, epoch: &Epoch, before_ms: i64) -> Result<Vec<(String, String)>, StoreError>;

    /// Removes the answers to changes that are in the history.
    async fn forget_answers(&self, epoch: &Epoch, changes: &[(String, String)]) -> Result<(), StoreError>;

    /// Gives up a data set whose epoch the log has replaced. Does nothing if another epoch is ready.
    async fn discard(&self, epoch: &Epoch) -> Result<(), StoreError>;

    /// Begins the rebuild of `epoch` if the state is still `observed`. Returns whether it began.
    async fn start_rebuild(&self, observed: &State, epoch: &Epoch) -> Result<bool, StoreError>;

    /// Shows that the rebuild makes progress, for [`REBUILD_LEASE`].
    async fn renew_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError>;

    /// Gives up a rebuild that has failed, so that another one can begin at once.
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
    /// The key is stored, or the debit was refused.
    Known(Known),
    /// The change began earlier and was not confirmed.
    Waiting(Event),
    /// [`MAX_WAITING`] changes wait already.
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

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request was not sent, so nothing was changed.
    #[error("the store of balances cannot be reached")]
    Unreachable(#[source] Source),
    /// The request can have been executed.
    #[error("the store of balances did not answer")]
    Failed(#[source] Source),
}
