//! Ways to call an app: in process, and over a real socket.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Response, request},
    response::IntoResponse,
    routing::Route,
};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, Service, ServiceExt};

pub(crate) fn get(path: &str) -> request::Builder {
    Request::get(path).header("host", "shop.example:3000")
}

pub(crate) fn empty(builder: request::Builder) -> Request {
    builder.body(Body::empty()).unwrap()
}

/// Sends a request in process and reads the response to its end, as a client over a socket does.
pub(crate) async fn send<S, B>(app: S, request: Request) -> Response<Bytes>
where
    S: Service<Request, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

pub(crate) async fn call(app: Router, path: &str) -> Response<Bytes> {
    send(app, empty(get(path))).await
}

/// A layer that wraps the whole router, outside of its routing.
pub(crate) fn around<L>(layer: L, app: Router) -> L::Service
where
    L: Layer<Router>,
{
    layer.layer(app)
}

/// Serves an app on a free port until the test's runtime ends.
pub(crate) async fn serve<L>(app: Router, layer: L) -> SocketAddr
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<Request> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request>>::Response: IntoResponse + 'static,
    <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
    <L::Service as Service<Request>>::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = app.layer(layer).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    addr
}

/// A connection that speaks plain bytes.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn send(addr: SocketAddr, head: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(format!("{}\r\n\r\n", head.replace('\n', "\r\n")).as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Reads until the text has arrived.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&read).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            let byte = self.0.read_u8().await;
            read.push(byte.unwrap_or_else(|error| panic!("{error} before {text:?} in {so_far:?}")));
        }
    }
}
