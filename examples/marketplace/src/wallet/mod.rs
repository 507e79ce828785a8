//! Wallets: balances that change immediately, and the history of the changes.
//!
//! Balances are in a fast, volatile store (Redis). Changes are in a durable log (Kafka), from which a consumer
//! (`marketplace history`) writes the history into the relational database in batches. The history and the
//! unconsumed changes in the log are the source of truth. Lost balances are rebuilt from them.
//!
//! A change is identified by its user and its key. Making a change takes three steps:
//!
//! 1. *Begin* is one script in the store. If the key is known, the script returns the stored answer. A debit is
//!    subtracted if the balance covers it. The change is added to the changes that wait for the log.
//! 2. *Append* writes the change to the log and waits until it is durable.
//! 3. *Confirm* is another script. It adds the amount of a credit, removes the change from the waiting changes, and
//!    stores the answer. The answer is kept for at least an hour and until the change is in the history. After that,
//!    the key is looked up in the history.
//!
//! Money can be spent only after its credit is durable, so the history never shows a negative balance. If a change
//! stops between two steps, a task of any instance continues it. Duplicates are recognized by user and key, and
//! dropped.
//!
//! The data set in the store has an epoch. If the store loses the data set, a new epoch begins with a marker in the
//! log. Changes of older epochs after the marker are ignored, because [`rebuild`] computes the balances up to the
//! marker.
//!
//! | unavailable part | what happens |
//! |---|---|
//! | Redis | requests for balances and changes get 503. When Redis is available again, the balances are rebuilt before the first answer |
//! | Kafka | changes get 503 and wait in Redis until they can be recorded. Balances are still served. If 500 changes are waiting, further changes are refused |
//! | database | with Kafka, changes are still accepted, unless they have an `Idempotency-Key` that is not in Redis. Without Kafka, changes get 503. Requests for the history get 503, and the history catches up later |
//! | consumer | all requests are still served, but the history lags behind. The consumer must start again within 28 days, before Kafka deletes records |
//! | API process | another instance records the unfinished changes, or the process does at its next start |
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

/// Records the balance after each request to a wallet, and the details of refused debits.
fn apm() -> ApmLayer {
    tower_apm::layer()
        .module("wallet")
        .on_response(|tx, parts| {
            if let Some(balance) = parts.extensions.get::<routes::Balance>() {
                tx.set_custom_context("wallet", balance); // the balance after the request
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
