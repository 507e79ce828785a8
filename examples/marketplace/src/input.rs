//! Extractors for bodies, paths and queries. They reject a request with an [`AppError`] that names the field.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, RawPathParams, Request,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, header::CONTENT_TYPE, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{error::AppError, money::Amount};

/// A valid JSON body. Unknown fields are ignored.
#[derive(Debug, Clone)]
pub struct Payload<T>(pub T);

/// Checks the values of a body.
pub trait Validate {
    /// Returns an error for the first invalid value.
    fn validate(&self) -> Result<(), AppError>;
}

/// The parameters of the path, like axum's `Path`.
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

/// The parameters of the query, like axum's `Query`.
#[derive(Debug, Clone)]
pub struct Search<T>(pub T);

impl<T, S> FromRequest<S> for Payload<T>
where
    T: DeserializeOwned + Validate,
    S: Send + Sync,
{
    type Rejection = AppError;

    async fn from_request(request: Request, state: &S) -> Result<Self, AppError> {
        if !is_json(request.headers()) {
            let reason = "the body must be JSON, with content-type: application/json".to_owned();
            return Err(AppError::Malformed { field: None, reason });
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| AppError::Body(rejection.status(), rejection.body_text()))?;
        let payload: T = read_json(&body)?;
        payload.validate()?;
        Ok(Self(payload))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
    content_type.is_some_and(|t| t == "application/json" || (t.starts_with("application/") && t.ends_with("+json")))
}

/// Reads JSON. Returns 400 if `body` is not JSON, and 422 with the field's name if a value is missing or has another type.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, AppError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if !cause.is_data() {
            return AppError::Malformed { field: None, reason: format!("the body is not JSON: {cause}") };
        }
        let cause = cause.to_string();
        let reason = cause.split(" at line ").next().unwrap_or_default().to_owned();
        // the path of a missing field is the path of its object: only the message contains the name
        match reason.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(field) => AppError::Invalid { field: field.to_owned(), reason: "is missing".to_owned() },
            None if path == "." => AppError::Invalid { field: "body".to_owned(), reason },
            None => AppError::Invalid { field: path, reason },
        }
    })?;
    json.end()
        .map_err(|cause| AppError::Malformed { field: None, reason: format!("the body is not JSON: {cause}") })?;
    Ok(value)
}

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        let rejection: PathRejection = match Path::from_request_parts(parts, state).await {
            Ok(Path(params)) => return Ok(Self(params)),
            Err(rejection) => rejection,
        };
        let names = RawPathParams::from_request_parts(parts, state).await;
        let mut names = names.iter().flatten().map(|(name, _)| name.to_owned());
        // no route has two parameters, and axum's rejection does not always contain the name
        Err(AppError::Malformed { field: names.next(), reason: rejection.body_text() })
    }
}

impl<T, S> FromRequestParts<S> for Search<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        let Query(search) = Query::from_request_parts(parts, state).await.map_err(|rejection: QueryRejection| {
            let reason = rejection.body_text();
            // `Failed to deserialize query string: status: unknown variant …`
            let field = reason.split(": ").nth(1).filter(|part| !part.contains(' ')).map(str::to_owned);
            AppError::Malformed { field, reason }
        })?;
        Ok(Self(search))
    }
}

/// Checks that a text has 1 to `max` characters, is not blank and has no control characters.
///
/// Not every database can store control characters, and wallets refuse some of them.
pub fn text(field: &str, value: &str, max: usize) -> Result<(), AppError> {
    let has_control = value.contains(char::is_control);
    check_text(field, value, max, has_control.then_some("must not contain control characters"))
}

/// Like [`text`] for a text of several lines, which can contain newlines and tabs.
pub fn multiline_text(field: &str, value: &str, max: usize) -> Result<(), AppError> {
    let has_control = value.contains(|c: char| c.is_control() && c != '\n' && c != '\t');
    let problem = "must not contain control characters other than newline and tab";
    check_text(field, value, max, has_control.then_some(problem))
}

fn check_text(field: &str, value: &str, max: usize, problem: Option<&str>) -> Result<(), AppError> {
    let reason = match (value.chars().count(), problem) {
        _ if value.trim().is_empty() => "must not be empty".to_owned(),
        (length, _) if length > max => format!("has {length} characters, {max} are allowed"),
        (_, Some(problem)) => problem.to_owned(),
        _ => return Ok(()),
    };
    Err(AppError::Invalid { field: field.to_owned(), reason })
}

/// Checks that an amount is above zero.
pub fn amount(field: &str, value: Amount) -> Result<(), AppError> {
    if value > Amount::ZERO {
        return Ok(());
    }
    Err(AppError::Invalid { field: field.to_owned(), reason: "must be above zero".to_owned() })
}
