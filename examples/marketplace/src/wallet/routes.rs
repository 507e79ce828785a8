//! The wallet's endpoints.

use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use tower_apm::Transaction;

use super::entity::Model as Entry;
use crate::{
    app::App,
    customer::Customer,
    error::AppError,
    input::{Params, Payload, Validate, amount, text},
    money::Amount,
};

/// The body of a credit or a debit.
#[derive(Debug, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
pub(super) struct Balance {
    user: String,
    balance: Amount,
}

/// A balance, for the client and for the module's hook.
type Answer = (Extension<Balance>, Json<Balance>);

fn answer(user: String, balance: Amount) -> Answer {
    let balance = Balance { user, balance };
    (Extension(balance.clone()), Json(balance))
}

/// `GET /wallet/{user}/balance`
pub(super) async fn balance(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Params(user): Params<String>,
) -> Result<Answer, AppError> {
    tx.set_label("account", &user);
    let balance = app.wallet.balance(&user).await?;
    Ok(answer(user, balance))
}

/// `POST /wallet/{user}/credits`: anyone may pay in, also a payment provider that is no customer.
pub(super) async fn credit(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Params(user): Params<String>,
    Payload(movement): Payload<Movement>,
) -> Result<Answer, AppError> {
    text("user", &user, 128)?;
    tx.set_label("account", &user).set_custom_context("movement", &movement);
    let balance = app.wallet.credit(user.clone(), movement.amount, movement.reason).await?;
    Ok(answer(user, balance))
}

/// `POST /wallet/{user}/debits`
pub(super) async fn debit(
    State(app): State<App>,
    _: Customer,
    tx: Transaction,
    Params(user): Params<String>,
    Payload(movement): Payload<Movement>,
) -> Result<Answer, AppError> {
    tx.set_label("account", &user).set_custom_context("movement", &movement);
    let balance = app.wallet.debit(user.clone(), movement.amount, movement.reason).await?;
    Ok(answer(user, balance))
}

/// `GET /wallet/{user}/history`
pub(super) async fn history(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Params(user): Params<String>,
) -> Result<Json<Vec<Entry>>, AppError> {
    tx.set_label("account", &user);
    Ok(Json(app.wallet.history(&user).await?))
}
