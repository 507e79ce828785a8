//! The market: tokens are listed, found and bought.

pub mod entity;
mod purchase;
mod routes;
mod service;

use axum::{
    Router,
    routing::{get, post},
};

pub use self::{
    purchase::{PurchaseError, Receipt, SettlementError},
    service::{Market, MarketError, Sales},
};
use crate::app::App;

/// The routes below `/market`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/listings", get(routes::list).post(routes::create))
        .route("/listings/{id}", get(routes::show))
        .route("/listings/{id}/purchase", post(routes::purchase))
        .route("/reports/sales", get(routes::sales))
}
