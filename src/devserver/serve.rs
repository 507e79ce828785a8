//! Accepts connections and serves the app on each of them.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{BoxError, Router, body::Body, extract::ConnectInfo, response::Response};
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower_service::Service;

use super::{
    body::Timed,
    connection::{Activity, Connection, Connections, Peer},
    memory::{Keeping, Memory},
};

/// The largest head of a request. The APM Server takes 1 MiB, agents send less than 2 KiB.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The largest head by HTTP/2.
const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Calls of gRPC at a time on one connection.
const MAX_STREAMS: u32 = 100;
/// What a client may send ahead by HTTP/2.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Resets of streams that are still waiting to be accepted; more of them end the connection.
const MAX_PENDING_RESETS: usize = 20;
/// The interval of HTTP/2 pings, which detect a disconnected client.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What bounds connections and requests.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    pub(crate) connections: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, app: Router, limits: ConnectionLimits, memory: Arc<Memory>) {
    let connections = Connections::new(limits.connections);
    let protocol = protocol();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // probably out of file descriptors: try again soon
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        connections.make_room().await;
        // an answer is one small write, so a delay has no benefit
        let _ = stream.set_nodelay(true);
        let activity = Activity::new();
        let io = Connection::new(stream, activity.clone(), limits.head_timeout);
        let peer = Peer { share: memory.share(), cut: io.cut() };
        let service =
            PerConnection { app: app.clone(), peer, activity: activity.clone(), body_timeout: limits.body_timeout };
        let protocol = protocol.clone();
        connections.serve(activity, async move {
            // an error concerns the client only, which receives it
            let _ = protocol.serve_connection(TokioIo::new(io), TowerToHyperService::new(service)).await;
        });
    }
}

fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // heads have a deadline of ours, which leaves idle connections alone
    builder.http1().max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(MAX_HEAD)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// The app as one connection sees it.
#[derive(Clone)]
struct PerConnection {
    app: Router,
    peer: Peer,
    activity: Arc<Activity>,
    body_timeout: Duration,
}

impl<B> Service<http::Request<B>> for PerConnection
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let in_progress = self.activity.begin();
        let mut request = request.map(|body| Body::new(Timed::new(body, self.body_timeout)));
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        let response = self.app.call(request);
        Box::pin(async move { Ok(response.await?.map(|body| Body::new(Keeping::new(body, in_progress)))) })
    }
}
