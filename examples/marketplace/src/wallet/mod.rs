//! Wallets: balances that change at once, and the history of the changes.
//!
//! Balances are in a fast, volatile store (Redis). Changes are in a durable log (Kafka), from which a consumer
//! (`marketplace history`) writes the history into the relational database in batches. The history and what is
//! unconsumed in the log are the truth; balances that are lost are computed from them.
//!
//! A change has an identity: its user and its key. It takes three steps:
//!
//! 1. *Begin*, one script in the store: a known key gets its stored answer. A debit takes the amount if the balance
//!    covers it. The change is put among those that wait for the log.
//! 2. *Append* to the log, until it is durable.
//! 3. *Confirm*, one script: a credit adds the amount, the change no longer waits, and its answer is stored for an hour and
//!    until the change is in the history. Later, the key is found there.
//!
//! Money can be spent only when its credit is durable, so the history never shows a negative balance. A change that
//! stays between the steps is sent again by a task of any instance; duplicates are dropped by user and key.
//! The data set in the store has an epoch. If the store loses it, a new epoch begins with a marker in the log, and changes
//! of older epochs behind the marker do not count: [`rebuild`] computes balances up to the marker.
//!
//! | away | what happens |
//! |---|---|
//! | Redis | balances and changes get 503. After its return, the balances are rebuilt before the first answer |
//! | Kafka | changes get 503 and wait in Redis; they are recorded later. Balances are served. With 500 waiting changes, further ones are refused |
//! | database | changes go on, unless they have an `Idempotency-Key` that is not in Redis. The history gets 503 and catches up later |
//! | consumer | everything goes on; the history lags behind. It must return within 28 days, when Kafka deletes records |
//! | API process | its unfinished changes are recorded by another instance, or at its next start |
//!
//! A 503 means either that nothing changed, or that the outcome is not known; then the request can be sent again with the
//! same `Idempotency-Key` (in the error's text), which changes the balance at most once. A request over the time limit gets
//! 408 while its change goes on: it too can be sent again with the same `Idempotency-Key`.
//!
//! The table applies to processes that have started. The start of the API and of `marketplace history` ends with an error if
//! Redis, Kafka or the database that it needs cannot be reached; a supervisor starts the process again.
//!
//! Without Redis, balances are in the memory of the process. Without Kafka, a change is written directly into the history,
//! and step 2 lasts until the transaction of its batch is committed.

pub mod balances;
mod booking;
pub mod change;
#[cfg(feature = "kafka")]
pub mod consumer;
pub mod entity;
mod error;
pub mod history;
pub mod log;
mod maintenance;
mod parts;
pub mod rebuild;
mod routes;
mod service;

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::json;
use tower_apm::ApmLayer;

pub use self::{
    change::{Accepted, BalanceError, Change},
    error::WalletError,
    parts::PartsError,
    service::{Wallet, WalletParts},
};
use crate::app::App;

/// The routes below `/wallet`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/{user}/balance", get(routes::balance))
        .route("/{user}/credits", post(routes::credit))
        .route("/{user}/debits", post(routes::debit))
        .route("/{user}/history", get(routes::history))
        .layer(apm())
}

/// What support wants to know of every request to a wallet, whichever handler takes it.
fn apm() -> ApmLayer {
    tower_apm::layer()
        .module("wallet")
        .on_response(|tx, parts| {
            if let Some(balance) = parts.extensions.get::<routes::Balance>() {
                tx.set_custom_context("wallet", balance); // as it was after the request
            }
        })
        .on_error(|tx, error| match error.downcast_ref() {
            Some(WalletError::Balance(BalanceError::Insufficient { balance, needed })) => {
                tx.set_label("reason", "insufficient funds");
                tx.set_custom_context("shortfall", json!({ "balance": balance, "needed": needed }));
            }
            Some(WalletError::Unavailable { reason, .. } | WalletError::Unknown { reason, .. }) => {
                tx.set_label("reason", *reason);
            }
            _ => {}
        })
}
