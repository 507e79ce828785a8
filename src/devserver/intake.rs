//! `POST /intake/v2/events`: where agents bring their events.

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use http::{
    HeaderMap, Method, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use super::{
    body::{drain, next},
    connection::Peer,
    reply,
    script::Reply,
    server::Shared,
    stream::{Account, Refusal, Stream},
};

pub(crate) async fn events(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    shared.store.request();
    let (parts, mut body) = request.into_parts();
    let headers = &parts.headers;
    if let Err(message) = shared.credentials.check(headers) {
        drain(&mut body).await;
        return reply::closing(reply::error(headers, StatusCode::UNAUTHORIZED, message));
    }
    if let Err(account) = check(&parts.method, headers) {
        drain(&mut body).await;
        return answer(headers, &parts.uri, &account);
    }

    let scripted = shared.script.next();
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let mut account = read(Stream::new(encoding, shared.store.clone(), scripted.fate), &mut body).await;
    if !scripted.delay.is_zero() {
        tokio::time::sleep(scripted.delay).await;
    }
    match scripted.reply {
        Reply::Account => answer(headers, &parts.uri, &account),
        Reply::Failure { status, message } => {
            account.errors.push(Refusal { message: message.to_owned(), document: String::new() });
            account.broken = Some(status);
            answer(headers, &parts.uri, &account)
        }
        Reply::Refusal { status, message } => reply::closing(reply::error(headers, reply::code(status), message)),
        Reply::Cut => {
            peer.cut();
            reply::empty(StatusCode::ACCEPTED)
        }
    }
}

/// What the server refuses before it reads a stream.
fn check(method: &Method, headers: &HeaderMap) -> Result<(), Account> {
    if method != Method::POST {
        return Err(Account::error("only POST requests are supported"));
    }
    match headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes())) {
        Some(other) if !other.is_empty() && !other.contains("application/x-ndjson") => {
            Err(Account::error(format!("invalid content type: '{other}'")))
        }
        _ => Ok(()),
    }
}

/// Reads a stream while it arrives, until it ends or breaks.
async fn read(mut stream: Stream, body: &mut Body) -> Account {
    loop {
        match next(body).await {
            Some(Ok(bytes)) => {
                if !stream.push(&bytes) {
                    drain(body).await;
                    return stream.into_account();
                }
            }
            None => return stream.finish(),
            Some(Err(_)) => {
                let mut account = stream.into_account();
                account.errors.push(Refusal { message: "request timed out".to_owned(), document: String::new() });
                account.broken = Some(503);
                return account;
            }
        }
    }
}

fn answer(headers: &HeaderMap, uri: &Uri, account: &Account) -> Response {
    let status = reply::code(account.status());
    if status.is_client_error() || status.is_server_error() {
        return reply::closing(reply::body(headers, status, account));
    }
    let verbose = uri.query().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some("verbose"));
    if verbose { reply::body(headers, status, account) } else { reply::empty(status) }
}
