//! The wallet's endpoints.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::entity::Model as Entry;
use crate::{
    app::App,
    customer::Customer,
    error::AppError,
    input::{Params, Payload, Validate, amount, text},
    money::Amount,
};

/// The body of a credit or a debit.
#[derive(Debug, Deserialize)]
pub(super) struct Movement {
    amount: Amount,
    reason: String,
}

impl Validate for Movement {
    fn validate(&self) -> Result<(), AppError> {
        amount("amount", self.amount)?;
        text("reason", &self.reason, 200)
    }
}

/// A user's balance.
#[derive(Debug, Serialize)]
pub(super) struct Balance {
    user: String,
    balance: Amount,
}

/// `GET /wallet/{user}/balance`
pub(super) async fn balance(
    State(app): State<App>,
    _: Option<Customer>,
    Params(user): Params<String>,
) -> Result<Json<Balance>, AppError> {
    let balance = app.wallet.balance(&user).await?;
    Ok(Json(Balance { user, balance }))
}

/// `POST /wallet/{user}/credits`: anyone may pay in, also a payment provider that is no customer.
pub(super) async fn credit(
    State(app): State<App>,
    _: Option<Customer>,
    Params(user): Params<String>,
    Payload(movement): Payload<Movement>,
) -> Result<Json<Balance>, AppError> {
    text("user", &user, 128)?;
    let balance = app.wallet.credit(user.clone(), movement.amount, movement.reason).await?;
    Ok(Json(Balance { user, balance }))
}

/// `POST /wallet/{user}/debits`
pub(super) async fn debit(
    State(app): State<App>,
    _: Customer,
    Params(user): Params<String>,
    Payload(movement): Payload<Movement>,
) -> Result<Json<Balance>, AppError> {
    let balance = app.wallet.debit(user.clone(), movement.amount, movement.reason).await?;
    Ok(Json(Balance { user, balance }))
}

/// `GET /wallet/{user}/history`
pub(super) async fn history(
    State(app): State<App>,
    _: Option<Customer>,
    Params(user): Params<String>,
) -> Result<Json<Vec<Entry>>, AppError> {
    Ok(Json(app.wallet.history(&user).await?))
}
