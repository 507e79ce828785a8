//! Calls an app in process and over a socket.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;

pub(crate) async fn get(app: Router, path: &str) -> Response<Body> {
    app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

pub(crate) async fn post_json(app: Router, path: &str, body: String) -> Response<Body> {
    let request = Request::post(path).header("content-type", "application/json").body(Body::from(body)).unwrap();
    app.oneshot(request).await.unwrap()
}

/// Serves an app on a free port until the test's runtime ends, and opens a connection to it.
pub(crate) async fn connect(app: Router) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    TcpStream::connect(addr).await.unwrap()
}

/// Sends the head of a request, reads until the text and a blank with so many bytes behind it have arrived, and returns
/// all that was read.
pub(crate) async fn exchange(connection: &mut TcpStream, head: &str, text: &str, behind: usize) -> String {
    connection.write_all(format!("{}\r\n\r\n", head.replace('\n', "\r\n")).as_bytes()).await.unwrap();
    let mut read = Vec::new();
    loop {
        let so_far = String::from_utf8_lossy(&read).into_owned();
        if so_far.split_once(text).is_some_and(|(_, rest)| rest.len() == 1 + behind) {
            return so_far;
        }
        read.push(connection.read_u8().await.unwrap());
    }
}
