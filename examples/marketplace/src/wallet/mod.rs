//! Wallets: balances, credits, debits and how they came about.

pub mod balances;
pub mod change;
pub mod entity;
mod error;
mod routes;
mod service;

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::json;
use tower_apm::ApmLayer;

pub(crate) use self::service::Payment;
pub use self::{
    change::{Accepted, BalanceError, Change},
    error::WalletError,
    service::Wallet,
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
        .on_error(|tx, error| {
            if let Some(WalletError::Balance(BalanceError::Insufficient { balance, needed })) = error.downcast_ref() {
                tx.set_label("reason", "insufficient funds");
                tx.set_custom_context("shortfall", json!({ "balance": balance, "needed": needed }));
            }
        })
}
