//! The operations of a wallet, without HTTP. The documentation of the [module](super) describes the protocol.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::HeaderMap;
use sea_orm::DbErr;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tower_apm::trace_context;

use super::{
    WalletError,
    balances::{ANSWER_KEPT, Balances, Begin, Confirm, Find, State, StoreError},
    change::{Accepted, BalanceError, Change, Known},
    error::Source,
    history::{Entry, History},
    log::{AppendError, ChangeLog, Epoch, Event, LogError},
    maintenance,
    rebuild::{self, RebuildError},
};
use crate::{clock, health::PartHealth, money::Amount, uninterrupted::uninterrupted};

/// How long a request waits for a rebuild.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the start waits for a rebuild.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a waiting request checks the state.
const POLL: Duration = Duration::from_millis(50);
/// How long a change waits before another task sends it.
const RELAY_AFTER: Duration = Duration::from_secs(5);

const REBUILDING: &str = "the balances are being rebuilt";
const REPLACED: &str = "the balances were rebuilt in the meantime and the change was not made: send the request again";
const UNREACHABLE: &str = "the balances cannot be reached";
const BEHIND: &str = "the log is behind: too many changes wait for it";
const KEY_UNCHECKED: &str = "the history cannot be read, so the Idempotency-Key cannot be checked";
const NOT_RECORDED: &str = "the change is not recorded yet";
const NOT_CONFIRMED: &str = "the change is recorded but not confirmed yet";
const NO_ANSWER: &str = "the balances did not answer";

/// The wallets of all users. Clones share their state.
#[derive(Clone)]
pub struct Wallet {
    inner: Arc<Inner>,
    _maintenance: Arc<AbortOnDrop>,
}

pub(super) struct Inner {
    pub(super) balances: Arc<dyn Balances>,
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) history: History,
    /// The last epoch that was ready. The store checks the epoch of each change.
    epoch: Mutex<Option<Epoch>>,
    /// Wakes the maintenance task.
    pub(super) wake: Arc<Notify>,
    pub(super) relay_after: Duration,
    pub(super) answer_kept: Duration,
    pub(super) health: Option<PartHealth>,
}

/// The parts of a wallet.
pub struct WalletParts {
    pub balances: Arc<dyn Balances>,
    pub log: Arc<dyn ChangeLog>,
    pub history: History,
    /// How long a change waits before another task sends it to the log. `None` means 5 s.
    pub relay_after: Option<Duration>,
    /// How long the answer to a change in the history is kept. `None` means [`ANSWER_KEPT`].
    pub answer_kept: Option<Duration>,
    /// Reports whether the balances are ready.
    pub health: Option<PartHealth>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Wallet {
    /// Opens the wallets. Rebuilds the balances first if they are lost.
    pub async fn open(parts: WalletParts) -> Result<Self, WalletError> {
        let WalletParts { balances, log, history, relay_after, answer_kept, health } = parts;
        let inner = Arc::new(Inner {
            balances,
            log,
            history,
            epoch: Mutex::default(),
            wake: Arc::default(),
            relay_after: relay_after.unwrap_or(RELAY_AFTER),
            answer_kept: answer_kept.unwrap_or(ANSWER_KEPT),
            health,
        });
        inner.start().await?;
        let maintenance = tokio::spawn(maintenance::run(Arc::downgrade(&inner))).abort_handle();
        Ok(Self { inner, _maintenance: Arc::new(AbortOnDrop(maintenance)) })
    }

    /// Makes a change, or returns the answer of the first change with the same user and key.
    ///
    /// If the returned future is dropped, the change continues.
    pub async fn change(&self, change: Change) -> Result<Accepted, WalletError> {
        self.make(change, false).await
    }

    /// Makes a change whose key was never used before. The history is therefore not searched for the key.
    pub(super) async fn change_with_new_key(&self, change: Change) -> Result<Accepted, WalletError> {
        self.make(change, true).await
    }

    async fn make(&self, change: Change, is_new: bool) -> Result<Accepted, WalletError> {
        change.validate()?;
        let inner = self.inner.clone();
        uninterrupted(async move { inner.change(change, is_new).await }).await
    }

    /// Returns the user's balance, or 0 for an unknown user.
    pub async fn balance(&self, user: &str) -> Result<Amount, WalletError> {
        for _ in 0..2 {
            let epoch = self.inner.epoch().await?;
            match self.inner.balances.get(&epoch, user).await.map_err(unavailable)? {
                Some(balance) => return Ok(balance),
                None => self.inner.forget_epoch(&epoch),
            }
        }
        Err(WalletError::Unavailable { reason: REBUILDING, source: None })
    }

    /// Returns those of the changes, given by user and key, that the history contains. It lags behind the balances.
    pub(crate) async fn recorded(&self, changes: &[(String, String)]) -> Result<Vec<(String, String)>, DbErr> {
        self.inner.history.find_all(changes).await
    }

    /// The user's changes, the newest first, at most 100. They lag behind the balance.
    pub async fn history(&self, user: &str) -> Result<Vec<Entry>, WalletError> {
        self.inner.history.entries(user).await.map_err(WalletError::History)
    }
}

impl Inner {
    async fn start(&self) -> Result<(), WalletError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match maintenance::ensure_ready(self).await {
                Ok(epoch) => {
                    self.set_epoch(epoch);
                    return Ok(());
                }
                // another instance rebuilds the balances
                Err(RebuildError::Replaced | RebuildError::Log(LogError::Fenced)) if Instant::now() < deadline => {
                    sleep(rebuild::backoff(1, maintenance::jitter())).await;
                }
                Err(error) => {
                    let reason = "the balances cannot be rebuilt";
                    return Err(WalletError::Unavailable { reason, source: Some(error.into()) });
                }
            }
        }
    }

    async fn change(&self, change: Change, is_new: bool) -> Result<Accepted, WalletError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let traceparent = traceparent();
        // The epoch in which the history did not contain the key. The result is valid only in this epoch, because the
        // answers of a later epoch begin at the end of a later history.
        let mut searched = None;
        let event = loop {
            let epoch = self.epoch().await?;
            let event = Event::new(&change, epoch.clone(), clock::now_ms(), traceparent.clone());
            let begun = self.balances.begin(&event, is_new || searched.as_ref() == Some(&epoch)).await;
            match begun.map_err(|error| unknown_or_unavailable(error, &change))? {
                Begin::Begun => break event,
                Begin::Waiting(waiting) if waiting.change() == change => break waiting,
                Begin::Waiting(_) => return Err(WalletError::KeyReused),
                Begin::Known(known) => return change.answer(&known),
                Begin::Unknown => match self.history.find(&change.user, &change.key).await {
                    Ok(Some(known)) => return change.answer(&known),
                    Ok(None) => searched = Some(epoch),
                    Err(error) => {
                        let source = Some(error.into());
                        return Err(WalletError::Unavailable { reason: KEY_UNCHECKED, source });
                    }
                },
                Begin::Full => return Err(WalletError::Unavailable { reason: BEHIND, source: None }),
                Begin::Overflow => return Err(BalanceError::Overflow.into()),
                Begin::NotReady if Instant::now() < deadline => self.forget_epoch(&epoch),
                Begin::NotReady => return Err(WalletError::Unavailable { reason: REBUILDING, source: None }),
            }
        };
        self.append(&event).await.map_err(|error| unknown(NOT_RECORDED, &change, Some(error)))?;
        let known = self.confirm(&event, &change).await?;
        change.answer(&known)
    }

    /// Appends a change to the log.
    pub(super) async fn append(&self, event: &Event) -> Result<(), Source> {
        match self.log.append(event).await {
            Err(AppendError::Replaced) => {
                // the epoch in the log is newer than the balances, so the balances are out of date
                self.balances.discard(&event.epoch).await?;
                self.forget_epoch(&event.epoch);
                self.wake.notify_one();
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Confirms a change that was appended.
    async fn confirm(&self, event: &Event, change: &Change) -> Result<Known, WalletError> {
        let unconfirmed = |error: StoreError| unknown(NOT_CONFIRMED, change, Some(error.into()));
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.balances.confirm(event).await.map_err(unconfirmed)? {
                Confirm::Known(known) => return Ok(known),
                // the change was confirmed so long ago that the answer has expired
                Confirm::Unknown => {
                    return self.find_booked(change).await?.ok_or_else(|| unknown(NOT_CONFIRMED, change, None));
                }
                Confirm::NotReady => {}
            }
            self.forget_epoch(&event.epoch);
            let epoch = self.epoch().await.map_err(|error| unknown(NOT_CONFIRMED, change, Some(error.into())))?;
            if epoch != event.epoch {
                match self.balances.find(&epoch, &event.user, &event.key).await.map_err(unconfirmed)? {
                    Find::Known(known) => return Ok(known),
                    // the change is either in the history or ignored
                    Find::Unknown => {
                        let replaced = WalletError::Unavailable { reason: REPLACED, source: None };
                        return self.find_booked(change).await?.ok_or(replaced);
                    }
                    Find::NotReady => self.forget_epoch(&epoch),
                }
            }
            if Instant::now() >= deadline {
                return Err(unknown(NOT_CONFIRMED, change, None));
            }
        }
    }

    async fn find_booked(&self, change: &Change) -> Result<Option<Known>, WalletError> {
        let not_read = |error: DbErr| unknown(NOT_CONFIRMED, change, Some(error.into()));
        self.history.find(&change.user, &change.key).await.map_err(not_read)
    }

    /// Returns the epoch that is ready. If the balances are being rebuilt, waits for a short time.
    async fn epoch(&self) -> Result<Epoch, WalletError> {
        if let Some(epoch) = self.lock_epoch().clone() {
            return Ok(epoch);
        }
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.balances.state().await.map_err(unavailable)? {
                State::Ready(epoch) if epoch.belongs_to(self.log.name()) => {
                    self.set_epoch(epoch.clone());
                    return Ok(epoch);
                }
                _ if Instant::now() < deadline => {
                    self.wake.notify_one();
                    sleep(POLL).await;
                }
                _ => return Err(WalletError::Unavailable { reason: REBUILDING, source: None }),
            }
        }
    }

    fn set_epoch(&self, epoch: Epoch) {
        *self.lock_epoch() = Some(epoch);
    }

    /// Forgets the epoch, which is no longer ready.
    fn forget_epoch(&self, epoch: &Epoch) {
        let mut current = self.lock_epoch();
        if current.as_ref() == Some(epoch) {
            *current = None;
        }
    }

    fn lock_epoch(&self) -> std::sync::MutexGuard<'_, Option<Epoch>> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the `traceparent` of the current request.
fn traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    trace_context::inject(&mut headers);
    headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn unavailable(error: StoreError) -> WalletError {
    WalletError::Unavailable { reason: UNREACHABLE, source: Some(error.into()) }
}

fn unknown(reason: &'static str, change: &Change, source: Option<Source>) -> WalletError {
    WalletError::Unknown { reason, key: change.key.clone(), source }
}

fn unknown_or_unavailable(error: StoreError, change: &Change) -> WalletError {
    match error {
        StoreError::Unreachable(_) => unavailable(error),
        StoreError::Failed(_) => unknown(NO_ANSWER, change, Some(error.into())),
    }
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WalletParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalletParts").finish_non_exhaustive()
    }
}
