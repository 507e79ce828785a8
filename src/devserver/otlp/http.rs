//! `POST /v1/traces`, `/v1/metrics`, `/v1/logs`.

use axum::{body::Body, extract::Request, response::Response};
use http::{Method, StatusCode, header::CONTENT_ENCODING};
use prost::Message as _;
use tonic::Code;

use super::{
    Signal,
    message::{Message, Unreadable},
    receive::{Account, Export},
};
use crate::devserver::{
    body::{drain, next},
    connection::Peer,
    event::Protocol,
    media,
    memory::Lease,
    reply,
    script::Reply,
    server::Shared,
    work::{OnTheSpot, Workers},
};

/// The most that one body may hold, decompressed. The real server takes what comes; a Collector sends less.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// `google.rpc.Status`, in which OTLP over HTTP reports errors, and gRPC their details.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The details of a gRPC error after which the client may try again in a second: without them, exporters drop the data.
pub(super) fn try_again(code: Code, message: &str) -> Vec<u8> {
    // a `google.rpc.RetryInfo` whose `retry_delay` (field 1) has 1 as its `seconds` (field 1)
    let value = vec![0x0a, 0x02, 0x08, 0x01];
    let retry = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value };
    Status { code: code as i32, message: message.to_owned(), details: vec![retry] }.encode_to_vec()
}

pub(crate) async fn export(signal: Signal, shared: Shared, peer: Peer, request: Request) -> Response {
    shared.store.request();
    let (parts, body) = request.into_parts();
    if let Err(message) = shared.credentials.check(&parts.headers) {
        drain(body).await;
        return reply::closing(reply::error(&parts.headers, StatusCode::UNAUTHORIZED, message));
    }
    if parts.method != Method::POST {
        drain(body).await;
        return failure(StatusCode::METHOD_NOT_ALLOWED, "only POST requests are supported");
    }
    if !media::is(&parts.headers, "application/x-protobuf") {
        drain(body).await;
        let found = media::named(&parts.headers);
        let message = format!("content type {found}: only binary protobuf is accepted, as 'application/x-protobuf'");
        return reply::closing(failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message));
    }
    let scripted = shared.script.next();
    let encoding = parts.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let mut left = OnTheSpot::default();
    let account = match read(encoding, body, peer.share.lease(), &shared.workers, &mut left).await {
        Ok(message) => {
            Export::new(signal, Protocol::OtlpHttp, &shared.store, scripted.ingestion)
                .run(message, &shared.workers, left)
                .await
        }
        Err(why) => {
            shared.store.reject(None, &why.to_string());
            Err(why)
        }
    };
    if !scripted.delay.is_zero() {
        tokio::time::sleep(scripted.delay).await;
    }
    match scripted.reply {
        Reply::Account => match account {
            Ok(account) => reply::protobuf(StatusCode::OK, Account::answer(account, signal)),
            Err(why @ Unreadable::OverBudget(_)) => {
                reply::try_again(reply::closing(failure(StatusCode::SERVICE_UNAVAILABLE, &why.to_string())))
            }
            Err(why @ (Unreadable::TooSlow(_) | Unreadable::Unfinished(_))) => {
                reply::closing(failure(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()))
            }
            Err(why) => failure(StatusCode::BAD_REQUEST, &why.to_string()),
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
async fn read(
    encoding: Option<&str>,
    mut body: Body,
    lease: Lease,
    workers: &Workers,
    left: &mut OnTheSpot,
) -> Result<Message, Unreadable> {
    let mut message = Message::new(encoding, MAX_BODY, lease);
    loop {
        match next(&mut body).await {
            Some(bytes) => message.feed(bytes.map_err(Unreadable::body)?),
            None => message.end(),
        }
        let is_last = message.is_ended();
        message = workers.run(message, left).await?;
        if let Err(why) = message.check() {
            drain(body).await;
            return Err(why);
        }
        if is_last {
            return Ok(message);
        }
        // a body that is there already leaves others their turn
        tokio::task::yield_now().await;
    }
}

fn failure(status: StatusCode, message: &str) -> Response {
    let code = super::grpc::code(status);
    // the real server says so of all that is its own fault
    let code = if status.is_server_error() && code != Code::Unavailable { Code::Unknown } else { code };
    reply::protobuf(
        status,
        Status { code: code as i32, message: message.to_owned(), details: Vec::new() }.encode_to_vec(),
    )
}
