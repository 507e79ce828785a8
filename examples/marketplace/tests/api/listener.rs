//! Clients that listen to a chat room over real connections.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::client::Request, protocol::CloseFrame},
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A client of an event stream.
pub(crate) struct Sse {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SseEvent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl Sse {
    pub(crate) async fn open(addr: SocketAddr, room: &str) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap(), room).await
    }

    /// Opens an event stream with a small receive buffer, so that the server notices soon that the client does not read.
    pub(crate) async fn open_slow(addr: SocketAddr, room: &str) -> Self {
        Self::over(connect_slow(addr).await, room).await
    }

    async fn over(mut stream: TcpStream, room: &str) -> Self {
        // HTTP/1.0: the body has no chunks and ends with the connection
        let request = format!("GET /chat/rooms/{room}/events HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut sse = Self { stream, received: Vec::new() };
        let head = sse.read_to(b"\r\n\r\n").await.expect("a response");
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        sse
    }

    /// Returns the next event, or `None` if the stream has ended.
    pub(crate) async fn next_event(&mut self) -> Option<SseEvent> {
        timeout(DEADLINE, self.read_event()).await.expect("an event arrives in time")
    }

    async fn read_event(&mut self) -> Option<SseEvent> {
        loop {
            let event = self.read_to(b"\n\n").await?;
            let field = |name| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            // other blocks are comments that keep the connection alive
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return Some(SseEvent { name, id: field("id: "), data: serde_json::from_str(&data).unwrap() });
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.next_event().await.map(|event| event.data)
    }

    async fn read_to(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                let rest = self.received.split_off(at + end.len());
                let block = std::mem::replace(&mut self.received, rest);
                return Some(String::from_utf8(block).unwrap());
            }
            if self.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                return None;
            }
        }
    }
}

async fn connect_slow(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(addr).await.unwrap()
}

/// A client of a WebSocket.
pub(crate) struct Ws(WebSocketStream<TcpStream>);

impl Ws {
    pub(crate) async fn open(addr: SocketAddr, room: &str, user: Option<&str>) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        Self::over(stream, addr, room, user).await
    }

    /// Opens a WebSocket with a small receive buffer, so that the server notices soon that the client does not read.
    pub(crate) async fn open_slow(addr: SocketAddr, room: &str) -> Self {
        Self::over(connect_slow(addr).await, addr, room, None).await
    }

    async fn over(stream: TcpStream, addr: SocketAddr, room: &str, user: Option<&str>) -> Self {
        let mut request: Request = format!("ws://{addr}/chat/rooms/{room}/ws").into_client_request().unwrap();
        if let Some(user) = user {
            request.headers_mut().insert("x-user-id", user.parse().unwrap());
        }
        let (socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.status(), 101);
        Self(socket)
    }

    pub(crate) async fn send(&mut self, frame: impl Into<Message>) {
        self.0.send(frame.into()).await.unwrap();
    }

    /// Returns the next frame, or `None` if the connection has ended.
    pub(crate) async fn next_frame(&mut self) -> Option<Message> {
        timeout(DEADLINE, self.0.next()).await.expect("a frame arrives in time").transpose().unwrap()
    }

    /// Returns the JSON of the next text frame.
    pub(crate) async fn next(&mut self) -> Value {
        let text = async {
            loop {
                match self.next_frame().await {
                    Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                    Some(Message::Ping(_) | Message::Pong(_)) => {}
                    other => panic!("a text frame was expected: {other:?}"),
                }
            }
        };
        timeout(DEADLINE, text).await.expect("a text frame arrives in time")
    }

    /// Returns the close frame. Text frames before it are dropped.
    pub(crate) async fn close_frame(&mut self) -> Option<CloseFrame> {
        let close = async {
            loop {
                if let Message::Close(frame) = self.next_frame().await.expect("a close frame") {
                    return frame;
                }
            }
        };
        timeout(DEADLINE, close).await.expect("a close frame arrives in time")
    }
}
