//! The user who sends a request.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderName, request::Parts},
};

use tower_apm::{Transaction, User};

use crate::error::AppError;

/// The header with the id of the user.
pub const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// The user who sent the request, from the header `x-user-id`.
///
/// The header **replaces real authentication**: a real service would check a session or a token here, and the rest of the
/// service would stay the same. For the same reason, the customer is not compared with the seller or buyer in a body.
///
/// The extractor `Customer` rejects a request without the header (401). `Option<Customer>`, for reads and credits, accepts
/// it. Both set the user of the request's transaction, so the transaction and its errors can be searched by `user.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The id of the user, such as an account address.
    pub id: String,
}

impl Customer {
    /// Reads the header and sets the user of the transaction.
    fn of(parts: &Parts) -> Result<Option<Self>, AppError> {
        let Some(value) = parts.headers.get(USER_ID) else { return Ok(None) };
        match value.to_str() {
            Ok(id) if !id.trim().is_empty() && id.len() <= 128 => {
                let id = id.trim().to_owned();
                Transaction::current().set_user(User::id(&id));
                Ok(Some(Self { id }))
            }
            _ => Err(AppError::Unauthenticated("the header x-user-id must be 1 to 128 characters of ASCII")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Customer {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        Self::of(parts)?.ok_or(AppError::Unauthenticated("this needs a user: send the header x-user-id"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Customer {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, AppError> {
        Self::of(parts)
    }
}
