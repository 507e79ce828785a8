//! The JSON interface: `GET` and `DELETE /api/events`, `GET /api/stats`.

use axum::{
    extract::{ConnectInfo, Query as Parameters, Request, State},
    middleware::Next,
    response::Response,
};
use http::StatusCode;
use serde_json::json;

use super::{connection::Peer, event::Kind, host, query::Query, reply, server::Shared, store::Page};

/// How many events are listed where nobody says how many.
const DEFAULT_LIMIT: usize = 100;

/// Whoever reads from another machine needs the credentials that an agent needs; on this machine nobody does, but pages
/// of elsewhere stay outside.
pub(crate) async fn guard(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if shared.on_loopback
        && let Err(message) = host::check(request.method(), request.headers())
    {
        return reply::json(StatusCode::FORBIDDEN, &json!({ "error": message }));
    }
    if !peer.addr.ip().to_canonical().is_loopback()
        && let Err(message) = shared.credentials.check(request.headers())
    {
        return reply::error(request.headers(), StatusCode::UNAUTHORIZED, message);
    }
    next.run(request).await
}

pub(crate) async fn events(State(shared): State<Shared>, request: Request) -> Response {
    let parameters = Parameters::<Vec<(String, String)>>::try_from_uri(request.uri());
    let query = match parameters {
        Ok(Parameters(parameters)) => query(&parameters),
        Err(rejection) => Err(rejection.body_text()),
    };
    match query {
        Ok(query) => {
            let Page { total, events } = shared.store.query(&query);
            let events: Vec<_> = events.iter().map(AsRef::as_ref).collect();
            reply::json(StatusCode::OK, &Listing { total, events })
        }
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

#[derive(serde::Serialize)]
struct Listing<'a> {
    total: usize,
    events: Vec<&'a super::event::Event>,
}

/// Empty parameters, as an HTML form sends them, count as absent.
fn query(parameters: &[(String, String)]) -> Result<Query, String> {
    let mut query = Query::new().limit(DEFAULT_LIMIT);
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query = match name.as_str() {
            "type" => query.kind(Kind::named(value).ok_or_else(|| {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                format!("type={value}: must be one of {kinds}")
            })?),
            "service" => query.service(value),
            "trace_id" => query.trace_id(value),
            "name" => query.name(value),
            "q" => query.text(value),
            "limit" => match value.parse() {
                Ok(limit) if limit > 0 => query.limit(limit),
                _ => return Err(format!("limit={value}: must be a whole number from 1 (default {DEFAULT_LIMIT})")),
            },
            other => {
                return Err(format!("{other}: unknown parameter; known are type, service, trace_id, name, q, limit"));
            }
        };
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_parameter_is_named_with_what_is_allowed() {
        for (name, value, wants) in [
            ("type", "txn", "transaction, span, error"),
            ("limit", "0", "whole number"),
            ("limit", "-1", "whole number"),
            ("limit", "many", "whole number"),
            ("kind", "span", "type, service"),
        ] {
            let error = query(&[(name.to_owned(), value.to_owned())]).unwrap_err();
            assert!(error.starts_with(name) && error.contains(wants), "{error}");
        }
        let empty = ["type", "service", "limit", "q"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(query(&empty).unwrap(), Query::new().limit(DEFAULT_LIMIT));
    }
}
