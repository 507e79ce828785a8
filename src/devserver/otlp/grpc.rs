//! gRPC: whatever comes by HTTP/2, as at the real server, where cleartext HTTP/2 is taken for nothing else.

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header::CONTENT_TYPE};
use http_body::Frame;
use tonic::{Code, Status};

use super::{
    Signal,
    http::try_again,
    message::{Message, Unreadable},
    receive::{Account, Export},
};
use crate::devserver::{
    body::next,
    connection::Peer,
    event::Protocol,
    media,
    memory::{Lease, OverBudget},
    reply,
    script::Reply,
    server::Shared,
    work::{OnTheSpot, Workers},
};

/// What gRPC's Go library takes unless told otherwise.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// A flag and a length are before each message.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

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
    if !media::is_grpc(request.headers()) {
        return reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let signal = match request.uri().path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Signal::Traces,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Signal::Metrics,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Signal::Logs,
        other => return refusal(Status::unimplemented(format!("unknown method {other}"))),
    };
    shared.store.request();
    if let Err(message) = shared.credentials.check(request.headers()) {
        return refusal(Status::unauthenticated(message));
    }
    match export(signal, shared, peer, request).await {
        Ok(message) => answer(&message),
        Err(status) => refusal(status),
    }
}

/// The answer with an error.
pub(crate) fn refusal(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

/// The answer with a message.
fn answer(message: &[u8]) -> Response {
    let mut data = BytesMut::with_capacity(PREFIX + message.len());
    data.put_u8(0);
    data.put_u32(message.len() as u32);
    data.put_slice(message);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Frame::data(data.freeze()), Frame::trailers(trailers)];
    let mut response = Response::new(Body::new(Frames(frames.into_iter())));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

struct Frames(std::array::IntoIter<Frame<Bytes>, 2>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
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
async fn export(signal: Signal, shared: Shared, peer: Peer, request: Request) -> Result<Vec<u8>, Status> {
    let is_gzip = match request.headers().get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(Status::unimplemented("grpc-encoding: only gzip and identity are supported")),
    };
    let mut left = OnTheSpot::default();
    let message = read(request.into_body(), is_gzip, peer.share.lease(), &shared.workers, &mut left).await?;
    let scripted = shared.script.next();
    let export = Export::new(signal, Protocol::OtlpGrpc, &shared.store, scripted.ingestion);
    let account = export.run(message, &shared.workers, left).await;
    if !scripted.delay.is_zero() {
        tokio::time::sleep(scripted.delay).await;
    }
    match scripted.reply {
        Reply::Account => Ok(Account::answer(account?, signal)),
        Reply::Failure { status, message } | Reply::Refusal { status, message } => {
            Err(Status::new(code(reply::code(status)), message))
        }
        Reply::Cut => {
            peer.cut();
            Err(Status::unavailable("cut"))
        }
    }
}

impl From<Unreadable> for Status {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::OverBudget(OverBudget) => {
                let (code, message) = (Code::ResourceExhausted, why.to_string());
                let details = try_again(code, &message);
                Self::with_details(code, message, details.into())
            }
            Unreadable::TooSlow(_) | Unreadable::Unfinished(_) => Self::unavailable(why.to_string()),
            // tonic's own servers return this code for a message that cannot be decoded
            Unreadable::Body(_) | Unreadable::Message(_) => Self::internal(why.to_string()),
        }
    }
}

/// The one message of a call, decompressed.
async fn read(
    mut body: Body,
    is_gzip: bool,
    mut lease: Lease,
    workers: &Workers,
    left: &mut OnTheSpot,
) -> Result<Message, Status> {
    let mut packed = Vec::new();
    let mut length = None;
    while let Some(bytes) = next(&mut body).await {
        let bytes = bytes.map_err(Unreadable::body)?;
        let wanted = packed.len() + bytes.len();
        if wanted > packed.capacity() {
            let wanted = wanted.max(2 * packed.capacity()).min(PREFIX + MAX_MESSAGE);
            lease.set(wanted).map_err(Unreadable::from)?;
            packed.reserve_exact(wanted.saturating_sub(packed.len()));
        }
        let fits = bytes.len().min(PREFIX + MAX_MESSAGE - packed.len());
        packed.extend_from_slice(&bytes[..fits]);
        if length.is_none() {
            length = announced(&packed)?;
        }
        if packed.len() + bytes.len() - fits > PREFIX + length.unwrap_or(MAX_MESSAGE) {
            return Err(Status::internal("a call must contain one message"));
        }
    }
    if length.is_none_or(|length| packed.len() != PREFIX + length) {
        return Err(Status::internal("the message is cut short"));
    }
    let is_compressed = packed.first() == Some(&1);
    packed.drain(..PREFIX);
    if !is_compressed {
        return Ok(Message::plain(packed, lease));
    }
    if !is_gzip {
        return Err(Status::internal("the message is compressed, but grpc-encoding is not set"));
    }
    let mut message = Message::new(Some("gzip"), MAX_MESSAGE, lease);
    message.feed(packed.into());
    message.end();
    let mut message = workers.run(message, left).await.map_err(Unreadable::from)?;
    message.check().map_err(|why| match why {
        Unreadable::Body(why) if why.contains("more than") => Status::resource_exhausted(why),
        other => other.into(),
    })?;
    Ok(message)
}

/// The length of the message, once its prefix is there.
fn announced(bytes: &[u8]) -> Result<Option<usize>, Status> {
    let Some(&[flag, a, b, c, d]) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    if flag > 1 {
        return Err(Status::internal(format!("the message has the unknown flag {flag}")));
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_MESSAGE {
        let message = format!("a message has at most {MAX_MESSAGE} bytes, this one has {length}");
        return Err(Status::resource_exhausted(message));
    }
    Ok(Some(length))
}
