//! Rebuilds lost balances from the history and the log.
//!
//! 1. An instance claims the rebuild: it sets the state of the store to `rebuilding` with a new epoch. After this, no
//!    change of an older epoch is confirmed. Then the instance fences earlier rebuilds in the log, and checks that its
//!    claim still holds. The claim comes first, so that instances do not fence each other repeatedly.
//! 2. A marker in each partition ends the older epochs. Their later changes are ignored.
//! 3. The changes between the consumer's position and the markers are read from the log.
//! 4. The sums of the history are read, and the changes that are already in the sums are removed. Both steps use the
//!    same state of the database.
//! 5. The balances are written to the store, which becomes ready if no other rebuild has begun.

use std::{collections::BTreeMap, time::Duration};

use sea_orm::DbErr;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    balances::{Balances, REBUILD_LEASE, Rebuilt, State, StoreError},
    history::{History, Snapshot},
    log::{ChangeLog, Epoch, LogError},
};
use crate::money::Amount;

/// The reason why the balances were not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the balances cannot be written")]
    Store(#[from] StoreError),
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    #[error("the history cannot be read")]
    History(#[from] DbErr),
    /// Another instance rebuilds the balances, or the store has lost its data again.
    #[error("the rebuild was replaced")]
    Replaced,
    #[error("the balance of a user does not fit into 64 bits")]
    Overflow,
}

/// Rebuilds the balances if their state is `observed`.
pub(super) async fn rebuild(
    balances: &dyn Balances,
    log: &dyn ChangeLog,
    history: &History,
    observed: &State,
) -> Result<Epoch, RebuildError> {
    let epoch = Epoch::new(log.name());
    if !balances.start_rebuild(observed, &epoch).await? {
        return Err(RebuildError::Replaced);
    }
    let load = async {
        let mut writer = log.begin_epoch().await?;
        // A later claim will fence this rebuild. An earlier claim is detected here.
        match balances.state().await? {
            State::Rebuilding { epoch: current, .. } if current == epoch => {}
            _ => return Err(RebuildError::Replaced),
        }
        writer.write_markers(&epoch).await?;
        let unconsumed = writer.read_unconsumed(&history.positions(log.name()).await?).await?;
        let rebuilt = apply(history.snapshot(log.name(), unconsumed).await?).ok_or(RebuildError::Overflow)?;
        balances.load(&epoch, &rebuilt).await?;
        Ok::<_, RebuildError>(rebuilt)
    };
    let rebuilt = tokio::select! {
        rebuilt = load => rebuilt,
        error = renew(balances, &epoch) => Err(error.into()),
    };
    let rebuilt = match rebuilt {
        Ok(rebuilt) => rebuilt,
        Err(error) => {
            if let Err(error) = balances.abandon_rebuild(&epoch).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a failed rebuild keeps its lease until it expires"
                );
            }
            return Err(error);
        }
    };
    if !balances.finish_rebuild(&epoch, &rebuilt).await? {
        return Err(RebuildError::Replaced);
    }
    tracing::info!(%epoch, users = rebuilt.balances.len(), unconsumed = rebuilt.answers.len(), "balances were rebuilt");
    Ok(epoch)
}

/// Renews the lease of the rebuild regularly. Returns only after an error.
async fn renew(balances: &dyn Balances, epoch: &Epoch) -> StoreError {
    let mut ticks = interval(REBUILD_LEASE / 4);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await; // the first tick completes immediately, and the lease is new
    loop {
        ticks.tick().await;
        if let Err(error) = balances.renew_rebuild(epoch).await {
            return error;
        }
    }
}

/// Applies the unconsumed changes to the sums. Returns `None` if a balance does not fit into 64 bits.
fn apply(snapshot: Snapshot) -> Option<Rebuilt> {
    let mut balances: BTreeMap<String, Amount> = snapshot.sums;
    let mut answers = Vec::with_capacity(snapshot.unconsumed.len());
    for event in snapshot.unconsumed {
        let balance = balances.entry(event.user.clone()).or_default();
        *balance = balance.checked_add(event.amount)?;
        answers.push((event, *balance));
    }
    Some(Rebuilt { balances: balances.into_iter().collect(), answers })
}

/// Returns the delay before the next attempt after `failures` failed attempts. `jitter` is between 0 and 1.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let delay = Duration::from_millis(100) * 2_u32.pow(failures.min(5));
    delay.mul_f64(0.5 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::log::Event;

    fn event(user: &str, key: &str, amount: &str) -> Event {
        Event {
            epoch: Epoch::new("log"),
            user: user.into(),
            key: key.into(),
            amount: amount.parse().unwrap(),
            reason: "r".into(),
            at_ms: 0,
            traceparent: None,
        }
    }

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn unconsumed_changes_are_added_to_the_sums_in_their_order() {
        let sums = [("bob".to_owned(), amount("10")), ("eve".to_owned(), amount("1"))].into();
        let unconsumed = vec![event("bob", "1", "5"), event("carol", "1", "2"), event("bob", "2", "-12")];
        let rebuilt = apply(Snapshot { sums, unconsumed: unconsumed.clone() }).unwrap();
        let balances = [("bob", "3"), ("carol", "2"), ("eve", "1")].map(|(u, b)| (u.to_owned(), amount(b)));
        assert_eq!(rebuilt.balances, balances);
        let answers: Vec<_> = unconsumed.into_iter().zip(["15", "2", "3"].map(amount)).collect();
        assert_eq!(rebuilt.answers, answers);
    }

    #[test]
    fn balance_that_does_not_fit_is_reported() {
        let sums = [("bob".to_owned(), Amount::from_millionths(i64::MAX))].into();
        assert_eq!(apply(Snapshot { sums, unconsumed: vec![event("bob", "1", "1")] }), None);
    }

    #[test]
    fn backoff_grows_to_a_limit() {
        assert_eq!(backoff(0, 1.0), Duration::from_millis(100));
        assert_eq!(backoff(0, 0.0), Duration::from_millis(50));
        assert_eq!(backoff(3, 1.0), Duration::from_millis(800));
        assert_eq!(backoff(100, 1.0), Duration::from_millis(3200));
    }
}
