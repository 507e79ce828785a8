//! What a client gets when something went wrong: one shape for all, `{"error": "…", "trace_id": "…"}`.

use std::{any::Any, error::Error};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tower_apm::{ResponseExt as _, Transaction};

use crate::{
    chat::ChatError,
    market::{MarketError, PurchaseError, StepError},
    wallet::{BalanceError, WalletError},
};

/// Anything that ends a request early.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// 400: the request cannot be read.
    #[error("{reason}")]
    Malformed { field: Option<String>, reason: String },
    /// 422: it can be read, but a value will not do.
    #[error("{field} {reason}")]
    Invalid { field: String, reason: String },
    /// 401
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// 404: no such route.
    #[error("there is nothing at this address")]
    NoRoute,
    /// 405
    #[error("this address does not take this method")]
    MethodNotAllowed,
    /// What the body extractor of axum says: 413, 415 and the like.
    #[error("{1}")]
    Body(StatusCode, String),
    /// 500: a handler panicked. The panic itself is recorded where it happens.
    #[error("the handler panicked")]
    Panic,
    #[error(transparent)]
    Purchase(#[from] PurchaseError),
    #[error(transparent)]
    Market(#[from] MarketError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Chat(#[from] ChatError),
}

/// The body of every error.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    error: String,
    /// The field or parameter to mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What lies behind a 502, the nearest cause first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// What support will ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl AppError {
    /// The status that tells a client what kind of error it is.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::NoRoute | Self::Market(MarketError::NoListing(_)) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(status, _) => *status,
            Self::Purchase(error) => match error {
                PurchaseError::NoListing(_) => StatusCode::NOT_FOUND,
                PurchaseError::Taken(_) => StatusCode::CONFLICT,
                PurchaseError::OwnListing => StatusCode::UNPROCESSABLE_ENTITY,
                PurchaseError::Wallet(error) => wallet_status(error),
                PurchaseError::Settlement(_) => StatusCode::BAD_GATEWAY,
                PurchaseError::Undecided(error) => match error.source {
                    StepError::Chain(_) => StatusCode::BAD_GATEWAY,
                    StepError::Wallet(_) | StepError::Database(_) | StepError::TakenOver => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                },
                PurchaseError::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Wallet(error) => wallet_status(error),
            Self::Panic | Self::Market(MarketError::Database(_)) | Self::Chat(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Malformed { field, .. } => field.clone(),
            Self::Invalid { field, .. } => Some(field.clone()),
            Self::Purchase(PurchaseError::OwnListing) => Some("buyer".to_owned()),
            Self::Wallet(WalletError::Balance(BalanceError::Overflow)) => Some("amount".to_owned()),
            Self::Wallet(WalletError::Invalid(error)) => Some(error.field.to_owned()),
            Self::Wallet(WalletError::KeyReused) => Some("idempotency-key".to_owned()),
            _ => None,
        }
    }

    /// Returns what the client receives: the reason, or for an error of the service only that there is one.
    pub(crate) fn problem(&self) -> Problem {
        let trace_id = Transaction::current().trace_id().map(|id| id.to_string());
        let problem = Problem { error: self.to_string(), field: self.field(), causes: Vec::new(), trace_id };
        match self.status() {
            // What is wrong inside is for APM and the log, not for clients.
            StatusCode::INTERNAL_SERVER_ERROR => {
                Problem { error: "something went wrong on our side".to_owned(), field: None, ..problem }
            }
            StatusCode::BAD_GATEWAY => {
                let causes = std::iter::successors(self.source(), |&error| error.source()).map(ToString::to_string);
                Problem { causes: causes.collect(), ..problem }
            }
            _ => problem,
        }
    }
}

fn wallet_status(error: &WalletError) -> StatusCode {
    match error {
        WalletError::Balance(BalanceError::Insufficient { .. }) => StatusCode::PAYMENT_REQUIRED,
        WalletError::Balance(BalanceError::Overflow) | WalletError::Invalid(_) | WalletError::KeyReused => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        WalletError::Unavailable { .. } | WalletError::Unknown { .. } | WalletError::History(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            // At ERROR this event would be an error document too; the response carries the error already.
            tracing::warn!(error = &self as &dyn Error, "request failed");
        }
        let mut response = (status, Json(self.problem())).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Handed over as what they are, so that APM groups them by their own type and hooks can tell them apart.
        match self {
            Self::Panic => response,
            Self::Purchase(error) => response.with_error(error),
            Self::Market(error) => response.with_error(error),
            Self::Wallet(error) => response.with_error(error),
            Self::Chat(error) => response.with_error(error),
            other => response.with_error(other),
        }
    }
}

/// What the client of a handler that panicked gets.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    AppError::Panic.into_response()
}
