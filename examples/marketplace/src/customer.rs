//! Who is asking.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderName, request::Parts},
};

use tower_apm::{Transaction, User};

use crate::error::AppError;

/// The header that names the user.
pub const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// The user who sent the request, by the header `x-user-id`.
///
/// The header **stands for real authentication**: a service that is not an example would check a session or a token here, and
/// nothing else in it would change. For the same reason nobody compares the customer with the seller or buyer in a body.
///
/// As `Customer` it is required (401 without it): to list, to buy, to debit, to speak. As `Option<Customer>`, for reads and
/// credits, a request without the header is a visitor's. Either way the request's transaction, and so every error under it,
/// is found by the user from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The user's id, an account address for instance.
    pub id: String,
}

impl Customer {
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
