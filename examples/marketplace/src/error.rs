//! Errors as responses. All errors have the same JSON body: `{"error": "…", "trace_id": "…"}`.

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

/// An error of a handler or an extractor.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// 400: the request cannot be read.
    #[error("{reason}")]
    Malformed { field: Option<String>, reason: String },
    /// 422: the request can be read, but a value is invalid.
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
    /// A rejection of axum's body extractor, such as 413.
    #[error("{1}")]
    Body(StatusCode, String),
    /// 500: a handler panicked. The panic is recorded as an error where it happens.
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
    /// The field or parameter that is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The causes of a 502, the direct cause first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// The id of the trace, for questions to support.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl AppError {
    /// Returns the status of the response.
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

    /// Returns the body of the response. The body of a 500 does not contain the reason.
    pub(crate) fn problem(&self) -> Problem {
        let trace_id = Transaction::current().trace_id().map(|id| id.to_string());
        let problem = Problem { error: self.to_string(), field: self.field(), causes: Vec::new(), trace_id };
        match self.status() {
            // clients do not need the reason; it is recorded and logged
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
            // At the level ERROR, this event would become a second error document: the response already has the error.
            tracing::warn!(error = &self as &dyn Error, "request failed");
        }
        let mut response = (status, Json(self.problem())).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // The inner errors, so that APM groups them by their own types and hooks can downcast them.
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

/// Returns the response of a handler that panicked.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    AppError::Panic.into_response()
}
