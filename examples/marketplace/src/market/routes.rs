//! The market's endpoints.

use std::{collections::BTreeMap, time::Duration};

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tower_apm::Transaction;

use super::{
    Receipt, Sales,
    entity::{Model as Listing, Status},
};
use crate::{
    app::App,
    customer::Customer,
    error::AppError,
    input::{Params, Payload, Search, Validate, amount, text},
    money::Amount,
};

/// The maximum number of listings on a page.
const PAGE: u64 = 100;
/// The maximum delay of a report.
const MAX_DELAY_MS: u64 = 5000;

/// The body of a new listing.
#[derive(Debug, Deserialize)]
pub(super) struct NewListing {
    token_id: String,
    seller: String,
    price: Amount,
}

impl Validate for NewListing {
    fn validate(&self) -> Result<(), AppError> {
        text("token_id", &self.token_id, 128)?;
        text("seller", &self.seller, 128)?;
        amount("price", self.price)
    }
}

/// The body of a purchase.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    buyer: String,
}

impl Validate for Order {
    fn validate(&self) -> Result<(), AppError> {
        text("buyer", &self.buyer, 128)
    }
}

/// Which listings to show.
#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    status: Option<Status>,
    #[serde(default)]
    offset: u32,
    limit: Option<u32>,
}

/// The page of listings in a response. The module's hook records it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Page {
    offset: u32,
    limit: u64,
    found: usize,
}

/// The delay of a report.
#[derive(Debug, Deserialize)]
pub(super) struct Delay {
    #[serde(default)]
    delay_ms: u64,
}

/// `POST /market/listings`
pub(super) async fn create(
    State(app): State<App>,
    _: Customer,
    tx: Transaction,
    Payload(new): Payload<NewListing>,
) -> Result<(StatusCode, Json<Listing>), AppError> {
    tx.set_label("token_id", &new.token_id);
    let listing = app.market.list(new.token_id, new.seller, new.price).await?;
    tx.set_label("listing_id", listing.id.to_string());
    Ok((StatusCode::CREATED, Json(listing)))
}

/// `GET /market/listings?status=open&offset=0&limit=100`
pub(super) async fn list(
    State(app): State<App>,
    _: Option<Customer>,
    Search(filter): Search<Filter>,
) -> Result<(Extension<Page>, Json<Vec<Listing>>), AppError> {
    let limit = filter.limit.map_or(PAGE, u64::from).min(PAGE);
    let listings = app.market.find(filter.status, filter.offset.into(), limit).await?;
    Ok((Extension(Page { offset: filter.offset, limit, found: listings.len() }), Json(listings)))
}

/// `GET /market/listings/{id}`
pub(super) async fn show(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Params(id): Params<i64>,
) -> Result<Json<Listing>, AppError> {
    tx.set_label("listing_id", id.to_string());
    let listing = app.market.get(id).await?;
    tx.set_label("token_id", &listing.token_id);
    Ok(Json(listing))
}

/// `POST /market/listings/{id}/purchase`
pub(super) async fn purchase(
    State(app): State<App>,
    _: Customer,
    tx: Transaction,
    Params(id): Params<i64>,
    Payload(order): Payload<Order>,
) -> Result<Json<Receipt>, AppError> {
    tx.set_label("listing_id", id.to_string()).set_custom_context("order", &order);
    Ok(Json(app.market.purchase(id, order.buyer).await?))
}

/// `GET /market/reports/sales?delay_ms=2000`: sales by seller. The delay makes the request an example of a
/// slow request.
pub(super) async fn sales(
    State(app): State<App>,
    _: Option<Customer>,
    Search(Delay { delay_ms }): Search<Delay>,
) -> Result<Json<BTreeMap<String, Sales>>, AppError> {
    if delay_ms > MAX_DELAY_MS {
        let reason = format!("must be at most {MAX_DELAY_MS}");
        return Err(AppError::Invalid { field: "delay_ms".to_owned(), reason });
    }
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    Ok(Json(app.market.sales().await?))
}
