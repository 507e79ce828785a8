//! The demo's WebSocket client.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _, http::HeaderValue},
};

use super::{
    DemoError,
    visitor::{Visit, Visitors},
};
use crate::customer::USER_ID;

/// How long the client waits for a connection or a message.
const LIMIT: Duration = Duration::from_secs(30);

/// An open WebSocket.
pub(super) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Visitors {
    /// Opens a WebSocket.
    pub(super) async fn open_socket(&mut self, visit: &Visit<'_>) -> Result<Socket, DemoError> {
        let url = self.url(visit);
        let url = format!("ws{}", url.as_str().strip_prefix("http").unwrap_or_default());
        let mut request = url.into_client_request().map_err(lost)?;
        if let Some(user) = visit.user.and_then(|user| HeaderValue::from_str(user).ok()) {
            request.headers_mut().insert(USER_ID, user);
        }
        let connected = timeout(LIMIT, connect_async(request)).await.map_err(|_| DemoError::NoMessage)?;
        let (socket, response) = connected.map_err(lost)?;
        self.count(visit, response.status().as_u16());
        self.pause().await;
        Ok(Socket(socket))
    }
}

impl Socket {
    /// Sends a message and waits until it arrives as an event of the room.
    pub(super) async fn say(&mut self, from: &str, text: &str) -> Result<(), DemoError> {
        self.0.send(Message::text(json!({ "from": from, "text": text }).to_string())).await.map_err(lost)?;
        let arrives = async {
            while let Some(frame) = self.0.next().await {
                if let Message::Text(json) = frame.map_err(lost)?
                    && serde_json::from_str::<Value>(&json).is_ok_and(|event| event["text"] == text)
                {
                    return Ok(());
                }
            }
            Err(DemoError::NoMessage)
        };
        timeout(LIMIT, arrives).await.map_err(|_| DemoError::NoMessage)?
    }
}

fn lost(error: tungstenite::Error) -> DemoError {
    DemoError::Socket(Box::new(error))
}
