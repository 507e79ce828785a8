//! `POST /v1/traces`, `/v1/metrics`, `/v1/logs`.

use axum::{body::Body, extract::Request, response::Response};
use http::{Method, StatusCode, header::CONTENT_ENCODING};
use prost::Message;
use tonic::Code;

use super::{
    Signal,
    receive::{Account, receive},
};
use crate::devserver::{
    body::{drain, next},
    connection::Peer,
    event::Protocol,
    inflate::Inflate,
    reply,
    script::Reply,
    server::Shared,
};

/// The most that one body may hold, decompressed. The real server takes what comes; a Collector sends less.
const MAX_BODY: u64 = 32 * 1024 * 1024;

/// `google.rpc.Status`, in which OTLP over HTTP tells what went wrong.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

pub(crate) async fn export(signal: Signal, shared: Shared, peer: Peer, request: Request) -> Response {
    shared.store.request();
    let (parts, mut body) = request.into_parts();
    if let Err(message) = shared.credentials.check(&parts.headers) {
        drain(&mut body).await;
        return reply::closing(reply::error(&parts.headers, StatusCode::UNAUTHORIZED, message));
    }
    if parts.method != Method::POST {
        drain(&mut body).await;
        return failure(StatusCode::METHOD_NOT_ALLOWED, "only POST requests are supported");
    }
    let scripted = shared.script.next();
    let encoding = parts.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let read = read(encoding, &mut body).await.inspect_err(|why| shared.store.reject(None, why));
    let account = read.and_then(|message| receive(signal, &message, Protocol::OtlpHttp, &shared.store, scripted.fate));
    if !scripted.delay.is_zero() {
        tokio::time::sleep(scripted.delay).await;
    }
    match scripted.reply {
        Reply::Account => match account {
            Ok(account) => reply::protobuf(StatusCode::OK, Account::answer(account, signal)),
            Err(why) => failure(StatusCode::BAD_REQUEST, &why),
        },
        Reply::Failure { status, message } => failure(reply::code(status), message),
        Reply::Refusal { status, message } => {
            reply::closing(reply::error(&parts.headers, reply::code(status), message))
        }
        Reply::Cut => {
            peer.cut();
            reply::empty(StatusCode::OK)
        }
    }
}

/// The whole body, decompressed.
async fn read(encoding: Option<&str>, body: &mut Body) -> Result<Vec<u8>, String> {
    let (mut inflate, mut message) = (Inflate::up_to(MAX_BODY, encoding), Vec::new());
    let unreadable = |error: std::io::Error| format!("cannot read the body: {error}");
    while let Some(bytes) = next(body).await {
        let bytes = bytes.map_err(|error| format!("cannot read the body: {error}"))?;
        if let Err(error) = inflate.push(&bytes, &mut |plain| message.extend_from_slice(plain)) {
            drain(body).await;
            return Err(unreadable(error));
        }
    }
    inflate.finish(&mut |plain| message.extend_from_slice(plain)).map_err(unreadable)?;
    Ok(message)
}

fn failure(status: StatusCode, message: &str) -> Response {
    let code = super::grpc::code(status);
    // the real server says so of all that is its own fault
    let code = if status.is_server_error() && code != Code::Unavailable { Code::Unknown } else { code };
    reply::protobuf(status, Status { code: code as i32, message: message.to_owned() }.encode_to_vec())
}
