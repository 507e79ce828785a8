//! Wallets: balances, credits, debits and how they came about.

pub mod balances;
pub mod entity;
mod routes;
mod service;

use axum::{
    Router,
    routing::{get, post},
};

pub(crate) use self::service::Payment;
pub use self::service::{Wallet, WalletError};
use crate::app::App;

/// The routes below `/wallet`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/{user}/balance", get(routes::balance))
        .route("/{user}/credits", post(routes::credit))
        .route("/{user}/debits", post(routes::debit))
        .route("/{user}/history", get(routes::history))
}
