//! A store that keeps balances in the memory of the process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;

use super::{
    ANSWER_KEPT, Balances, Begin, Confirm, Find, MAX_BALANCE, MAX_WAITING, OLD_ANSWERS, REBUILD_LEASE, Rebuilt, State,
    StoreError,
};
use crate::{
    clock,
    money::Amount,
    wallet::{
        change::{Known, Outcome},
        log::{Epoch, Event},
    },
};

/// Balances in the memory of the process, for one instance without Redis.
#[derive(Debug, Default)]
pub struct InMemoryBalances {
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    state: Stored,
    data: Data,
}

#[derive(Debug, Default)]
enum Stored {
    #[default]
    Lost,
    Rebuilding {
        epoch: Epoch,
        renewed: Option<Instant>,
    },
    Ready(Epoch),
}

type Id = (String, String);

/// How often refusals that have expired are removed.
const PURGE_EVERY_MS: i64 = 60_000;

/// The data set of the current epoch.
#[derive(Debug, Default)]
struct Data {
    balances: HashMap<String, Amount>,
    /// Sorted by id.
    waiting: BTreeMap<Id, Event>,
    /// The answers, with their times in milliseconds since 1970.
    answers: HashMap<Id, (Known, i64)>,
    /// The answers to accepted changes, by time.
    accepted: BTreeSet<(i64, Id)>,
    purged_ms: i64,
}

impl InMemoryBalances {
    /// Removes all data, like a restart of a Redis server.
    pub fn lose(&self) {
        *self.lock() = Store::default();
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn ready(&mut self, epoch: &Epoch) -> Option<&mut Data> {
        matches!(&self.state, Stored::Ready(ready) if ready == epoch).then_some(&mut self.data)
    }

    fn is_rebuilding(&self, epoch: &Epoch) -> bool {
        matches!(&self.state, Stored::Rebuilding { epoch: current, .. } if current == epoch)
    }

    fn state(&self) -> State {
        match &self.state {
            Stored::Lost => State::Lost,
            Stored::Rebuilding { epoch, renewed } => {
                let is_active = renewed.is_some_and(|renewed| renewed.elapsed() < REBUILD_LEASE);
                State::Rebuilding { epoch: epoch.clone(), is_active }
            }
            Stored::Ready(epoch) => State::Ready(epoch.clone()),
        }
    }
}

fn id(event: &Event) -> Id {
    (event.user.clone(), event.key.clone())
}

fn known(event: &Event, outcome: Outcome) -> Known {
    Known { amount: event.amount, reason: event.reason.clone(), outcome }
}

/// Returns whether a refusal has expired. Answers to accepted changes do not expire: they are removed later.
fn is_expired(known: &Known, since_ms: i64) -> bool {
    let kept_ms = i64::try_from(ANSWER_KEPT.as_millis()).unwrap_or(i64::MAX);
    matches!(known.outcome, Outcome::Refused { .. }) && clock::now_ms() - since_ms > kept_ms
}

impl Data {
    fn answer(&self, id: &Id) -> Option<Known> {
        let (known, since_ms) = self.answers.get(id)?;
        (!is_expired(known, *since_ms)).then(|| known.clone())
    }

    fn store_answer(&mut self, id: Id, known: Known) {
        let now_ms = clock::now_ms();
        if now_ms - self.purged_ms > PURGE_EVERY_MS {
            self.answers.retain(|_, (known, since_ms)| !is_expired(known, *since_ms));
            self.purged_ms = now_ms;
        }
        self.forget_answer(&id);
        if let Outcome::Accepted { .. } = known.outcome {
            self.accepted.insert((now_ms, id.clone()));
        }
        self.answers.insert(id, (known, now_ms));
    }

    fn forget_answer(&mut self, id: &Id) {
        if let Some((_, since_ms)) = self.answers.remove(id) {
            self.accepted.remove(&(since_ms, id.clone()));
        }
    }

    fn balance(&self, user: &str) -> Amount {
        self.balances.get(user).copied().unwrap_or_default()
    }

    fn begin(&mut self, event: &Event, is_new: bool) -> Begin {
        let id = id(event);
        if let Some(known) = self.answer(&id) {
            return Begin::Known(known);
        }
        if let Some(waiting) = self.waiting.get(&id) {
            return Begin::Waiting(waiting.clone());
        }
        if !is_new {
            return Begin::Unknown;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Begin::Full;
        }
        let balance = self.balance(&event.user);
        let sum = balance.checked_add(event.amount);
        if event.amount > Amount::ZERO {
            if sum.is_none_or(|sum| sum.millionths() > MAX_BALANCE) {
                return Begin::Overflow;
            }
        } else {
            let Some(rest) = sum.filter(|rest| *rest >= Amount::ZERO) else {
                let refused = known(event, Outcome::Refused { balance });
                self.store_answer(id, refused.clone());
                return Begin::Known(refused);
            };
            self.balances.insert(event.user.clone(), rest);
        }
        self.waiting.insert(id, event.clone());
        Begin::Begun
    }

    fn confirm(&mut self, event: &Event) -> Confirm {
        let id = id(event);
        if let Some(known) = self.answer(&id) {
            return Confirm::Known(known);
        }
        if self.waiting.remove(&id).is_none() {
            return Confirm::Unknown;
        }
        let mut balance = self.balance(&event.user);
        if event.amount > Amount::ZERO {
            balance = balance.checked_add(event.amount).unwrap_or(balance);
            self.balances.insert(event.user.clone(), balance);
        }
        let accepted = known(event, Outcome::Accepted { balance });
        self.store_answer(id, accepted.clone());
        Confirm::Known(accepted)
    }
}

#[async_trait]
impl Balances for InMemoryBalances {
    async fn state(&self) -> Result<State, StoreError> {
        Ok(self.lock().state())
    }

    async fn get(&self, epoch: &Epoch, user: &str) -> Result<Option<Amount>, StoreError> {
        Ok(self.lock().ready(epoch).map(|data| data.balance(user)))
    }

    async fn begin(&self, event: &Event, is_new: bool) -> Result<Begin, StoreError> {
        Ok(self.lock().ready(&event.epoch).map_or(Begin::NotReady, |data| data.begin(event, is_new)))
    }

    async fn confirm(&self, event: &Event) -> Result<Confirm, StoreError> {
        Ok(self.lock().ready(&event.epoch).map_or(Confirm::NotReady, |data| data.confirm(event)))
    }

    async fn find(&self, epoch: &Epoch, user: &str, key: &str) -> Result<Find, StoreError> {
        let mut store = self.lock();
        let Some(data) = store.ready(epoch) else { return Ok(Find::NotReady) };
        Ok(data.answer(&(user.to_owned(), key.to_owned())).map_or(Find::Unknown, Find::Known))
    }

    async fn waiting(&self, epoch: &Epoch) -> Result<Vec<Event>, StoreError> {
        let mut store = self.lock();
        Ok(store.ready(epoch).map(|data| data.waiting.values().cloned().collect()).unwrap_or_default())
    }

    async fn old_answers(&self, epoch: &Epoch, before_ms: i64) -> Result<Vec<(String, String)>, StoreError> {
        let mut store = self.lock();
        let Some(data) = store.ready(epoch) else { return Ok(Vec::new()) };
        let old = data.accepted.iter().take_while(|(since_ms, _)| *since_ms <= before_ms);
        Ok(old.take(OLD_ANSWERS).map(|(_, id)| id.clone()).collect())
    }

    async fn forget_answers(&self, epoch: &Epoch, changes: &[(String, String)]) -> Result<(), StoreError> {
        if let Some(data) = self.lock().ready(epoch) {
            changes.iter().for_each(|id| data.forget_answer(id));
        }
        Ok(())
    }

    async fn discard(&self, epoch: &Epoch) -> Result<(), StoreError> {
        let mut store = self.lock();
        if store.ready(epoch).is_some() {
            store.state = Stored::Rebuilding { epoch: epoch.clone(), renewed: None };
        }
        Ok(())
    }

    async fn start_rebuild(&self, observed: &State, epoch: &Epoch) -> Result<bool, StoreError> {
        let mut store = self.lock();
        if store.state() != *observed || matches!(observed, State::Rebuilding { is_active: true, .. }) {
            return Ok(false);
        }
        store.state = Stored::Rebuilding { epoch: epoch.clone(), renewed: Some(Instant::now()) };
        store.data = Data::default();
        Ok(true)
    }

    async fn renew_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError> {
        let mut store = self.lock();
        if store.is_rebuilding(epoch) {
            store.state = Stored::Rebuilding { epoch: epoch.clone(), renewed: Some(Instant::now()) };
        }
        Ok(())
    }

    async fn abandon_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError> {
        let mut store = self.lock();
        if store.is_rebuilding(epoch) {
            store.state = Stored::Rebuilding { epoch: epoch.clone(), renewed: None };
        }
        Ok(())
    }

    async fn load(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<(), StoreError> {
        let mut store = self.lock();
        if store.is_rebuilding(epoch) {
            store.data.balances.extend(rebuilt.balances.iter().cloned());
            for (event, balance) in &rebuilt.answers {
                store.data.store_answer(id(event), known(event, Outcome::Accepted { balance: *balance }));
            }
        }
        Ok(())
    }

    async fn finish_rebuild(&self, epoch: &Epoch, _: &Rebuilt) -> Result<bool, StoreError> {
        let mut store = self.lock();
        let is_current = store.is_rebuilding(epoch);
        if is_current {
            store.state = Stored::Ready(epoch.clone());
        }
        Ok(is_current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(epoch: &Epoch, key: &str, amount: &str) -> Event {
        Event {
            epoch: epoch.clone(),
            user: "bob".into(),
            key: key.into(),
            amount: amount.parse().unwrap(),
            reason: "r".into(),
            at_ms: 0,
            traceparent: None,
        }
    }

    async fn ready(balances: &InMemoryBalances) -> Epoch {
        let epoch = Epoch::new("log");
        let state = balances.state().await.unwrap();
        assert!(balances.start_rebuild(&state, &epoch).await.unwrap());
        assert!(balances.finish_rebuild(&epoch, &Rebuilt::default()).await.unwrap());
        epoch
    }

    #[tokio::test]
    async fn old_answers_are_those_of_accepted_changes_until_they_are_forgotten() {
        let balances = InMemoryBalances::default();
        let epoch = ready(&balances).await;
        for n in 0..=OLD_ANSWERS {
            let credit = event(&epoch, &format!("k{n}"), "1");
            balances.begin(&credit, true).await.unwrap();
            balances.confirm(&credit).await.unwrap();
            balances.confirm(&credit).await.unwrap();
        }
        balances.begin(&event(&epoch, "refused", "-9999"), true).await.unwrap();
        assert_eq!(balances.old_answers(&epoch, 0).await.unwrap(), []);
        let old = balances.old_answers(&epoch, i64::MAX).await.unwrap();
        assert_eq!(old.len(), OLD_ANSWERS);
        balances.forget_answers(&epoch, &old).await.unwrap();
        let rest = balances.old_answers(&epoch, i64::MAX).await.unwrap();
        assert!(rest.len() == 1 && !old.contains(&rest[0]), "{rest:?}");
        assert_eq!(balances.find(&epoch, &old[0].0, &old[0].1).await.unwrap(), Find::Unknown);
        balances.lose();
        let epoch = ready(&balances).await;
        assert_eq!(balances.old_answers(&epoch, i64::MAX).await.unwrap(), []);
    }
}
