//! `POST /intake/v2/events`: where agents bring their events.

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_ENCODING};

use super::{
    body::{drain, next},
    connection::Peer,
    media,
    memory::Lease,
    reply,
    script::Reply,
    server::Shared,
    stream::{Account, Stream},
    work::{OnTheSpot, Workers},
};

pub(crate) async fn events(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    shared.store.request();
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let lease = peer.share.lease();
    if let Err(message) = shared.credentials.check(headers) {
        drain(body).await;
        return reply::closing(reply::error(headers, StatusCode::UNAUTHORIZED, message));
    }
    if let Err(account) = check(&parts.method, headers) {
        drain(body).await;
        return answer(headers, &parts.uri, account, lease);
    }

    let scripted = shared.script.next();
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let stream = Stream::new(encoding, shared.store.clone(), scripted.ingestion);
    let (mut account, lease) = read(stream, body, lease, &shared.workers).await;
    if !scripted.delay.is_zero() {
        tokio::time::sleep(scripted.delay).await;
    }
    match scripted.reply {
        Reply::Account => answer(headers, &parts.uri, account, lease),
        Reply::Failure { status, message } => {
            account.break_off(status, message.to_owned());
            answer(headers, &parts.uri, account, lease)
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
        return Err(Account::error(400, "only POST requests are supported"));
    }
    if !media::is(headers, "application/x-ndjson") {
        let found = media::named(headers);
        return Err(Account::error(415, format!("invalid content type: {found}, expected 'application/x-ndjson'")));
    }
    Ok(())
}

/// Reads a stream while it arrives, until it ends or breaks.
async fn read(mut stream: Stream, mut body: Body, mut lease: Lease, workers: &Workers) -> (Account, Lease) {
    let mut left = OnTheSpot::default();
    loop {
        match next(&mut body).await {
            Some(Ok(bytes)) => stream.feed(bytes),
            None => stream.end(),
            Some(Err(error)) => {
                let mut account = stream.into_account();
                account.break_off(503, format!("request timed out: {error}"));
                return (account, lease);
            }
        }
        if lease.set(stream.memory()).is_err() {
            let mut account = stream.into_account();
            account.break_off_over_budget();
            drain(body).await;
            return (account, lease);
        }
        let is_last = stream.is_ended();
        stream = match workers.run(stream, &mut left).await {
            Ok(stream) => stream,
            Err(stopped) => return (Account::error(503, stopped.to_string()), lease),
        };
        if stream.is_broken() && !is_last {
            drain(body).await;
            return (stream.into_account(), lease);
        }
        if is_last {
            return (stream.into_account(), lease);
        }
        // a body that is there already leaves others their turn
        tokio::task::yield_now().await;
    }
}

/// The answer keeps its lease until it is written.
fn answer(headers: &HeaderMap, uri: &Uri, account: Account, mut lease: Lease) -> Response {
    let status = reply::code(account.status());
    let over_budget = account.over_budget;
    let is_failure = status.is_client_error() || status.is_server_error();
    let verbose = uri.query().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some("verbose"));
    if !is_failure && !verbose {
        return reply::empty(status);
    }
    let text = reply::text(headers, &account);
    let text = if lease.set(text.len()).is_ok() { text } else { reply::text(headers, &account.without_documents()) };
    let response = reply::keeping(reply::of_text(headers, status, text), lease);
    let response = if is_failure { reply::closing(response) } else { response };
    if over_budget { reply::try_again(response) } else { response }
}
