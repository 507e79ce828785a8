//! Servers on free ports. They end with the test's runtime.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect},
    routing::any,
};
use futures_util::{StreamExt, stream};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A server, and the headers of the requests that it has received.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<Mutex<Vec<HeaderMap>>>,
}

pub(crate) const CHUNKS: usize = 256;
pub(crate) const CHUNK: Bytes = Bytes::from_static(&[b'a'; 64 * 1024]);

impl Server {
    pub(crate) async fn start() -> Self {
        let received: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let chunks = || stream::repeat(Ok::<_, Infallible>(CHUNK)).take(CHUNKS);
        let app = Router::new()
            .route("/ok", any(async || "hello"))
            .route("/echo", any(async |body: Bytes| body))
            .route("/status/{code}", any(async |Path(code): Path<u16>| StatusCode::from_u16(code).unwrap()))
            .route("/large", any(async move || Body::from_stream(chunks())))
            .route(
                "/endless",
                any(async || Body::from_stream(stream::iter([Ok::<_, Infallible>(CHUNK)]).chain(stream::pending()))),
            )
            .route("/never", any(async || std::future::pending::<()>().await))
            .route("/redirect", any(async || Redirect::temporary("/ok")))
            .route("/flaky", any(flaky).with_state(received.clone()))
            .layer(axum::middleware::from_fn_with_state(received.clone(), keep_headers));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, received }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Request<Full<Bytes>> {
        Request::get(self.url(path)).body(Full::default()).unwrap()
    }

    /// Returns the value of a header in each request.
    pub(crate) fn header(&self, name: &str) -> Vec<Option<String>> {
        let value = |headers: &HeaderMap| Some(headers.get(name)?.to_str().unwrap().to_owned());
        self.received.lock().unwrap().iter().map(value).collect()
    }
}

async fn keep_headers(
    State(received): State<Arc<Mutex<Vec<HeaderMap>>>>,
    request: Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    received.lock().unwrap().push(request.headers().clone());
    next.run(request).await
}

/// Fails the first two requests and succeeds afterwards.
async fn flaky(State(received): State<Arc<Mutex<Vec<HeaderMap>>>>) -> impl IntoResponse {
    if received.lock().unwrap().len() < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// The address of a port on which no server listens.
pub(crate) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The address of a server that closes the connection in the middle of its response.
pub(crate) async fn cut_response() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    });
    address
}
