//! axum extractors: the transaction and its trace id. Neither can reject a request.

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::{record::TraceId, transaction::Transaction};

impl<S: Sync> FromRequestParts<S> for Transaction {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(of(parts))
    }
}

fn of(parts: &Parts) -> Transaction {
    parts.extensions.get::<Transaction>().cloned().unwrap_or_else(Transaction::current)
}

/// The id that support will ask for, to be quoted in your own error bodies. All zero outside of a layer; extract
/// `Option<TraceId>` to tell.
impl<S: Sync> FromRequestParts<S> for TraceId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(of(parts).trace_id().unwrap_or(TraceId(0)))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for TraceId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(of(parts).trace_id())
    }
}
