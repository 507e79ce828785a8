//! The maintenance task of the wallet: rebuilds lost balances, and sends changes that wait for the log.

use std::{
    error::Error,
    sync::Weak,
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tower_apm::{Transaction, trace_context};
use uuid::Uuid;

use super::{
    balances::{OLD_ANSWERS, State},
    error::Source,
    log::{Epoch, Event, LogError},
    rebuild::{self, RebuildError},
    service::Inner,
};
use crate::clock;

/// How often the state of the balances is checked.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How often the task looks for waiting changes.
const RELAY_EVERY: Duration = Duration::from_secs(1);

/// The times of the last runs.
struct LastRuns {
    relayed: Instant,
    forgotten: Instant,
}

/// Runs until the wallet is dropped.
pub(super) async fn run(wallet: Weak<Inner>) {
    let (mut failures, mut last) = (0, LastRuns { relayed: Instant::now(), forgotten: Instant::now() });
    loop {
        let Some(inner) = wallet.upgrade() else { return };
        match maintain(&inner, &mut last).await {
            Ok(()) => failures = 0,
            Err(error) => {
                tracing::warn!(error = &*error as &dyn Error, "the wallet cannot be maintained");
                failures += 1;
            }
        }
        let delay = if failures > 0 { rebuild::backoff(failures, jitter()) } else { CHECK_EVERY };
        let wake = inner.wake.clone();
        drop(inner);
        // a request that waits for the balances notifies the task
        let _ = timeout(delay, wake.notified()).await;
        if failures > 0 {
            tokio::time::sleep(delay).await;
        }
    }
}

async fn maintain(wallet: &Inner, last: &mut LastRuns) -> Result<(), Source> {
    let ready = ensure_ready(wallet).await;
    if let Some(health) = &wallet.health {
        match &ready {
            Ok(_) => health.set_ready(),
            // without the causes of the error, which can contain addresses
            Err(error) => health.set_not_ready(error.to_string()),
        }
    }
    let epoch = match ready {
        Ok(epoch) => epoch,
        Err(RebuildError::Replaced | RebuildError::Log(LogError::Fenced)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if last.relayed.elapsed() >= RELAY_EVERY {
        last.relayed = Instant::now();
        relay(wallet, &epoch).await?;
    }
    if last.forgotten.elapsed() >= wallet.answer_kept / 60 {
        last.forgotten = Instant::now();
        forget_answers(wallet, &epoch).await?;
    }
    Ok(())
}

/// Removes old answers from the store. After this, the keys are looked up in the history.
async fn forget_answers(wallet: &Inner, epoch: &Epoch) -> Result<(), Source> {
    let before_ms = clock::now_ms().saturating_sub(i64::try_from(wallet.answer_kept.as_millis()).unwrap_or(i64::MAX));
    loop {
        let old = wallet.balances.old_answers(epoch, before_ms).await?;
        let booked = wallet.history.find_all(&old).await?;
        if !booked.is_empty() {
            wallet.balances.forget_answers(epoch, &booked).await?;
        }
        // answers to changes that the consumer has not booked yet are kept
        if old.len() < OLD_ANSWERS || booked.len() < old.len() {
            return Ok(());
        }
    }
}

/// Returns the epoch of the balances. Rebuilds the balances if they are lost.
pub(super) async fn ensure_ready(wallet: &Inner) -> Result<Epoch, RebuildError> {
    let observed = wallet.balances.state().await?;
    match &observed {
        State::Ready(epoch) if epoch.belongs_to(wallet.log.name()) => return Ok(epoch.clone()),
        State::Rebuilding { is_active: true, .. } => return Err(RebuildError::Replaced),
        _ => {}
    }
    let transaction = Transaction::start("rebuild the balances", "background");
    transaction.set_label("module", "wallet");
    let rebuild = async {
        let rebuilt = rebuild::rebuild(&*wallet.balances, &*wallet.log, &wallet.history, &observed).await;
        if let Err(error) = &rebuilt {
            Transaction::current().error(error).handled(true).capture();
        }
        rebuilt
    };
    transaction.run(rebuild).await
}

/// Sends the changes that have waited longer than `relay_after`: their request has ended or has failed.
async fn relay(wallet: &Inner, epoch: &Epoch) -> Result<(), Source> {
    let before = clock::now_ms().saturating_sub(i64::try_from(wallet.relay_after.as_millis()).unwrap_or(i64::MAX));
    for event in wallet.balances.waiting(epoch).await?.into_iter().filter(|event| event.at_ms <= before) {
        let sender = trace_context::extract_message(|name| {
            event.traceparent.as_deref().filter(|_| name == "traceparent").map(str::as_bytes)
        });
        let transaction = Transaction::start_from(&sender, "relay a wallet change", "background");
        transaction.set_label("module", "wallet").set_label("account", &event.user);
        transaction.set_label("idempotency_key", &event.key);
        transaction.run(relay_one(wallet, &event)).await?;
    }
    Ok(())
}

async fn relay_one(wallet: &Inner, event: &Event) -> Result<(), Source> {
    let result = async {
        wallet.append(event).await?;
        wallet.balances.confirm(event).await?;
        Ok(())
    };
    let result: Result<(), Source> = result.await;
    if let Err(error) = &result {
        Transaction::current().error(&**error).handled(true).capture();
    }
    result
}

/// Returns a random number from 0 to 1.
pub(super) fn jitter() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}
