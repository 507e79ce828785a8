//! Parts that fail before or after a step of a change.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use marketplace::{
    money::Amount,
    wallet::{
        balances::{Balances, Begin, Confirm, Find, Rebuilt, State, StoreError},
        log::{AppendError, ChangeLog, Epoch, EpochWriter, Event, LogError},
    },
};

/// A fault of a step. A step that hangs simulates a process that was killed at this step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    FailBefore,
    FailAfter,
    HangBefore,
    HangAfter,
}

/// The current fault of a part, until another fault is set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switch(Arc<Mutex<Option<Fault>>>);

impl Switch {
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap() = fault;
    }

    async fn around<T, E>(&self, step: impl Future<Output = Result<T, E>>, error: impl Fn() -> E) -> Result<T, E> {
        let fault = *self.0.lock().unwrap();
        match fault {
            None => step.await,
            Some(Fault::FailBefore) => Err(error()),
            Some(Fault::FailAfter) => step.await.and_then(|_| Err(error())),
            Some(Fault::HangBefore) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                let _ = step.await;
                std::future::pending().await
            }
        }
    }
}

/// A log whose append fails.
pub(crate) struct FaultyLog {
    pub(crate) log: Arc<dyn ChangeLog>,
    pub(crate) append: Switch,
}

#[async_trait]
impl ChangeLog for FaultyLog {
    fn name(&self) -> &str {
        self.log.name()
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        self.append.around(self.log.append(event), || AppendError::Failed("a fault".into())).await
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        self.log.begin_epoch().await
    }
}

/// Balances whose steps fail.
pub(crate) struct FaultyBalances {
    pub(crate) balances: Arc<dyn Balances>,
    pub(crate) begin: Switch,
    pub(crate) confirm: Switch,
    pub(crate) load: Switch,
}

fn failed() -> StoreError {
    StoreError::Failed("a fault".into())
}

#[async_trait]
impl Balances for FaultyBalances {
    async fn state(&self) -> Result<State, StoreError> {
        self.balances.state().await
    }

    async fn get(&self, epoch: &Epoch, user: &str) -> Result<Option<Amount>, StoreError> {
        self.balances.get(epoch, user).await
    }

    async fn begin(&self, event: &Event, is_new: bool) -> Result<Begin, StoreError> {
        self.begin.around(self.balances.begin(event, is_new), failed).await
    }

    async fn confirm(&self, event: &Event) -> Result<Confirm, StoreError> {
        self.confirm.around(self.balances.confirm(event), failed).await
    }

    async fn find(&self, epoch: &Epoch, user: &str, key: &str) -> Result<Find, StoreError> {
        self.balances.find(epoch, user, key).await
    }

    async fn waiting(&self, epoch: &Epoch) -> Result<Vec<Event>, StoreError> {
        self.balances.waiting(epoch).await
    }

    async fn old_answers(&self, epoch: &Epoch, before_ms: i64) -> Result<Vec<(String, String)>, StoreError> {
        self.balances.old_answers(epoch, before_ms).await
    }

    async fn forget_answers(&self, epoch: &Epoch, changes: &[(String, String)]) -> Result<(), StoreError> {
        self.balances.forget_answers(epoch, changes).await
    }

    async fn discard(&self, epoch: &Epoch) -> Result<(), StoreError> {
        self.balances.discard(epoch).await
    }

    async fn start_rebuild(&self, observed: &State, epoch: &Epoch) -> Result<bool, StoreError> {
        self.balances.start_rebuild(observed, epoch).await
    }

    async fn renew_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError> {
        self.balances.renew_rebuild(epoch).await
    }

    async fn abandon_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError> {
        self.balances.abandon_rebuild(epoch).await
    }

    async fn load(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<(), StoreError> {
        self.load.around(self.balances.load(epoch, rebuilt), failed).await
    }

    async fn finish_rebuild(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<bool, StoreError> {
        self.balances.finish_rebuild(epoch, rebuilt).await
    }
}
