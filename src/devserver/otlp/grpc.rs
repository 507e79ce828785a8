//! gRPC: whatever comes by HTTP/2, as at the real server, where cleartext HTTP/2 is taken for nothing else.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use bytes::{Buf, BufMut, Bytes};
use http::{HeaderValue, Method, StatusCode, Version, header::CONTENT_TYPE};
use tonic::{
    Code, Status,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::Grpc,
};
use tower_service::Service;

use super::{
    Signal,
    receive::{Account, receive},
};
use crate::devserver::{connection::Peer, event::Protocol, reply, script::Reply, server::Shared};

/// What gRPC's Go library takes unless told otherwise.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Leaves HTTP/1 to the others.
pub(crate) async fn only_grpc(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if request.version() != Version::HTTP_2 {
        return next.run(request).await;
    }
    if *request.method() != Method::POST {
        return reply::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !content_type.starts_with(b"application/grpc") {
        return reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let signal = match request.uri().path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Signal::Traces,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Signal::Metrics,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Signal::Logs,
        other => return refused(Status::unimplemented(format!("unknown method {other}"))),
    };
    shared.store.request();
    if let Err(message) = shared.credentials.check(request.headers()) {
        return refused(Status::unauthenticated(message));
    }
    let mut grpc = Grpc::new(Plain).accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(MAX_MESSAGE);
    let mut response = grpc.unary(Export { signal, shared, peer }, request).await;
    // a message that is too large, which has another code in Go's library
    if let Some(status) = response.headers_mut().get_mut(Status::GRPC_STATUS).filter(|status| **status == "11") {
        *status = HeaderValue::from_static("8");
    }
    response.map(Body::new)
}

fn refused(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

/// The code for an HTTP status.
pub(super) fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 405 => Code::Unimplemented,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}

/// One call.
struct Export {
    signal: Signal,
    shared: Shared,
    peer: Peer,
}

impl Service<tonic::Request<Bytes>> for Export {
    type Response = tonic::Response<Vec<u8>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (signal, shared, peer) = (self.signal, self.shared.clone(), self.peer.clone());
        Box::pin(async move {
            let scripted = shared.script.next();
            let message = request.into_inner();
            let account = receive(signal, &message, Protocol::OtlpGrpc, &shared.store, scripted.fate);
            if !scripted.delay.is_zero() {
                tokio::time::sleep(scripted.delay).await;
            }
            match scripted.reply {
                // what cannot be read is the library's to tell, which calls it so
                Reply::Account => {
                    let account = account.map_err(Status::internal)?;
                    Ok(tonic::Response::new(Account::answer(account, signal)))
                }
                Reply::Failure { status, message } | Reply::Refusal { status, message } => {
                    Err(Status::new(code(reply::code(status)), message))
                }
                Reply::Cut => {
                    peer.cut();
                    Err(Status::unavailable("cut"))
                }
            }
        })
    }
}

/// Messages as their bytes: what they take is found out before they are decoded.
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
