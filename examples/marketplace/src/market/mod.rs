//! The market: tokens are listed, found and bought.

pub mod closed_order;
pub mod entity;
mod late_payment;
mod order;
mod purchase;
mod repair;
mod routes;
mod saga;
mod service;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    routing::{get, post},
};
use tower_apm::ApmLayer;

pub use self::{
    purchase::{PurchaseError, Receipt, SettlementError},
    saga::{Step, StepError, UndecidedError},
    service::{Market, MarketError, Sales},
};
use crate::{
    app::App,
    wallet::{BalanceError, WalletError},
};

/// The routes below `/market`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/listings", get(routes::list).post(routes::create))
        .route("/listings/{id}", get(routes::show))
        .route("/listings/{id}/purchase", post(routes::purchase))
        .route("/reports/sales", get(routes::sales))
        .layer(apm())
}

/// Records data of every request to the market.
fn apm() -> ApmLayer {
    tower_apm::layer()
        .module("market")
        .on_request(|tx, parts| {
            if let Some(client) = parts.headers.get("x-client").and_then(|client| client.to_str().ok()) {
                tx.set_label("client", client); // the self-reported name of the client
            }
        })
        .on_response(|tx, parts| {
            if let Some(page) = parts.extensions.get::<routes::Page>() {
                tx.set_custom_context("page", page);
            }
        })
        .on_error(|tx, error| {
            if let Some(error) = error.downcast_ref::<PurchaseError>() {
                tx.set_label("reason", reason(error));
            }
        })
}

/// Returns the reason of a failed purchase as a label with few values.
fn reason(error: &PurchaseError) -> &'static str {
    match error {
        PurchaseError::NoListing(_) => "no listing",
        PurchaseError::Taken(_) => "taken",
        PurchaseError::OwnListing => "own listing",
        PurchaseError::Wallet(WalletError::Balance(BalanceError::Insufficient { .. })) => "insufficient funds",
        PurchaseError::Wallet(WalletError::Balance(BalanceError::Overflow)) => "overflow",
        PurchaseError::Wallet(_) => "wallet",
        PurchaseError::Undecided(_) => "undecided",
        PurchaseError::Settlement(_) => "not settled",
        PurchaseError::Database(_) => "database",
    }
}
