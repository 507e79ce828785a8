//! The wallet's endpoints.

use axum::{
    Extension, Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use serde::{Deserialize, Serialize};
use tower_apm::Transaction;
use uuid::Uuid;

use super::{
    change::{Change, IDEMPOTENCY_KEY, MAX_REASON, MAX_USER, ORDER_KEYS},
    history::Entry,
};
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
        text("reason", &self.reason, MAX_REASON)
    }
}

/// A user's balance. After a change, the answer also contains the key of the change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Balance {
    user: String,
    balance: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// The key of a change.
pub(super) enum Key {
    /// From the header `Idempotency-Key`.
    Given(String),
    New(Uuid),
}

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self::New(Uuid::new_v4())) };
        // a key with characters that are not ASCII is refused later
        let key = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if key.starts_with(ORDER_KEYS) {
            let reason = format!("must not start with {ORDER_KEYS}");
            return Err(AppError::Invalid { field: IDEMPOTENCY_KEY.to_string(), reason });
        }
        Ok(Self::Given(key))
    }
}

/// The user in the path.
pub(super) struct Account(String);

impl<S: Send + Sync> FromRequestParts<S> for Account {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        let Params(user) = Params::<String>::from_request_parts(parts, state).await?;
        text("user", &user, MAX_USER)?;
        Ok(Self(user))
    }
}

/// A balance, for the client and for the module's hook.
type Answer = (Extension<Balance>, Json<Balance>);

fn answer(user: String, balance: Amount, key: Option<String>) -> Answer {
    let balance = Balance { user, balance, key };
    // The recorded answer has no key, because the agent redacts fields named `key`. The key is a label instead.
    (Extension(Balance { key: None, ..balance.clone() }), Json(balance))
}

/// Makes a change of `amount`, which is negative for a debit.
async fn change(
    app: &App,
    tx: &Transaction,
    user: String,
    key: Key,
    amount: Amount,
    reason: String,
) -> Result<Answer, AppError> {
    let (key, is_new) = match key {
        Key::Given(key) => (key, false),
        Key::New(key) => (key.to_string(), true),
    };
    tx.set_label("idempotency_key", &key);
    let change = Change { user, key, amount, reason };
    let accepted = match is_new {
        true => app.wallet.change_with_new_key(change).await?,
        false => app.wallet.change(change).await?,
    };
    Ok(answer(accepted.user, accepted.balance, Some(accepted.key)))
}

/// `GET /wallet/{user}/balance`
pub(super) async fn balance(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Account(user): Account,
) -> Result<Answer, AppError> {
    tx.set_label("account", &user);
    let balance = app.wallet.balance(&user).await?;
    Ok(answer(user, balance, None))
}

/// `POST /wallet/{user}/credits`: anyone may pay in, also a payment provider that is no customer.
pub(super) async fn credit(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    key: Key,
    Account(user): Account,
    Payload(movement): Payload<Movement>,
) -> Result<Answer, AppError> {
    tx.set_label("account", &user).set_custom_context("movement", &movement);
    change(&app, &tx, user, key, movement.amount, movement.reason).await
}

/// `POST /wallet/{user}/debits`
pub(super) async fn debit(
    State(app): State<App>,
    _: Customer,
    tx: Transaction,
    key: Key,
    Account(user): Account,
    Payload(movement): Payload<Movement>,
) -> Result<Answer, AppError> {
    tx.set_label("account", &user).set_custom_context("movement", &movement);
    change(&app, &tx, user, key, movement.amount.negated(), movement.reason).await
}

/// `GET /wallet/{user}/history`
pub(super) async fn history(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Account(user): Account,
) -> Result<Json<Vec<Entry>>, AppError> {
    tx.set_label("account", &user);
    Ok(Json(app.wallet.history(&user).await?))
}
