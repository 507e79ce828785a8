//! The JSON interface: `GET` and `DELETE /api/events`, `GET /api/stats`.

use axum::{
    extract::{ConnectInfo, Query as Parameters, Request, State},
    middleware::Next,
    response::Response,
};
use http::StatusCode;
use serde_json::json;

use super::{connection::Peer, event::Kind, listing, query::Query, reply, server::Shared, store::shorten};

/// The default number of listed events.
const DEFAULT_LIMIT: usize = 100;

/// If credentials are set, every client needs them.
pub(crate) async fn authorize(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match shared.credentials.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(message) => reply::closing(reply::error(request.headers(), StatusCode::UNAUTHORIZED, message)),
    }
}

pub(crate) async fn events(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let parameters = Parameters::<Vec<(String, String)>>::try_from_uri(request.uri());
    let read = match parameters {
        Ok(Parameters(parameters)) => query(&parameters).map(|query| (query, parameters)),
        Err(rejection) => Err(rejection.body_text()),
    };
    match read {
        Ok((query, parameters)) => listing::answer(&shared, peer.share.lease(), query, parameters).await,
        Err(message) => reply::json(StatusCode::BAD_REQUEST, &json!({ "error": message })),
    }
}

pub(crate) async fn clear(State(shared): State<Shared>) -> Response {
    shared.store.clear();
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn stats(State(shared): State<Shared>) -> Response {
    reply::json(StatusCode::OK, &shared.store.stats())
}

/// Empty parameters, as an HTML form sends them, count as absent.
fn query(parameters: &[(String, String)]) -> Result<Query, String> {
    let mut query = Query::new().limit(DEFAULT_LIMIT);
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query = match name.as_str() {
            "type" => query.kind(Kind::named(value).ok_or_else(|| {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                format!("type={}: must be one of {kinds}", shorten(value))
            })?),
            "service" => query.service(value),
            "trace_id" => query.trace_id(value),
            "name" => query.name(value),
            "q" => query.text(value),
            "limit" => match value.parse() {
                Ok(limit) if limit > 0 => query.limit(limit),
                _ => {
                    return Err(format!(
                        "limit={}: must be a whole number from 1 (default {DEFAULT_LIMIT})",
                        shorten(value)
                    ));
                }
            },
            "before" => match value.parse() {
                Ok(number) => query.before(number),
                Err(_) => {
                    return Err(format!("before={}: must be the number from `next` of an answer", shorten(value)));
                }
            },
            other => {
                let known = "type, service, trace_id, name, q, limit, before";
                return Err(format!("{}: unknown parameter; the parameters are {known}", shorten(other)));
            }
        };
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_parameter_error_contains_the_allowed_values() {
        for (name, value, wants) in [
            ("type", "txn", "transaction, span, error"),
            ("limit", "0", "whole number"),
            ("limit", "-1", "whole number"),
            ("limit", "many", "whole number"),
            ("before", "many", "`next`"),
            ("kind", "span", "type, service"),
        ] {
            let error = query(&[(name.to_owned(), value.to_owned())]).unwrap_err();
            assert!(error.starts_with(name) && error.contains(wants), "{error}");
        }
        let empty = ["type", "service", "limit", "q"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(query(&empty).unwrap(), Query::new().limit(DEFAULT_LIMIT));
    }
}
