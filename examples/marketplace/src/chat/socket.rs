//! The WebSocket of a room.
//!
//! The server sends each event as a text frame. A text frame from the client is a new message, with the same JSON as in
//! `POST /chat/rooms/{room}/messages`. To send messages, the client must set the header `x-user-id` on the upgrade
//! request. The client receives its own messages as events, like all listeners. If the server refuses a frame, it
//! answers with a frame of the type `error` and keeps the connection open.
//!
//! The request's transaction ends with the upgrade. Each frame from the client is a separate transaction in its own
//! trace, with a link to the upgrade request.

use std::{pin::pin, time::Duration};

use axum::{
    extract::{
        State,
        ws::{
            CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
            rejection::WebSocketUpgradeRejection,
        },
    },
    response::Response,
};
use futures_util::{StreamExt as _, stream::BoxStream};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite;
use tower_apm::{Outcome, Transaction, User};

use super::{
    MODULE,
    event::{ERROR, Event},
    routes::{NewMessage, validate_room},
};
use crate::{
    app::App,
    customer::Customer,
    error::{AppError, Problem},
    input::{Params, Validate as _, read_json},
};

/// The name of the transaction of a client's frame. The name does not contain the room, because Kibana groups by name.
const FRAME: &str = "WS /chat/rooms/{room}/ws message";
/// The maximum size of a client's frame and of its message, in bytes.
///
/// 2000 characters fit even if each of them is escaped.
const MAX_BYTES: usize = 32 * 1024;
/// How often the server sends a ping.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A client that sends no frame for this time, not even a pong, is disconnected.
const SILENCE_LIMIT: Duration = Duration::from_secs(45);
/// How long the client can take to receive a frame. Events that are published in the meantime wait in the backlog.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// How long the closing handshake can take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// `GET /chat/rooms/{room}/ws`
pub(super) async fn connect(
    State(app): State<App>,
    customer: Option<Customer>,
    tx: Transaction,
    Params(room): Params<String>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, AppError> {
    validate_room(&room)?;
    tx.set_label("room", &room);
    let upgrade = upgrade.map_err(|rejection| AppError::Body(rejection.status(), rejection.body_text()))?;
    let events = app.chat.listen(&room).await?;
    let session = Session { _open: app.chat.open_socket(), app, room, customer, upgrade: tx };
    let upgrade = upgrade.max_message_size(MAX_BYTES).max_frame_size(MAX_BYTES);
    Ok(upgrade.on_upgrade(move |socket| session.run(socket, events)))
}

/// One connection.
struct Session {
    app: App,
    room: String,
    customer: Option<Customer>,
    /// The transaction of the upgrade request, which has already ended.
    upgrade: Transaction,
    _open: watch::Receiver<()>,
}

/// The close frame to send at the end of a connection. `None` if the client has closed it or is not reachable.
type End = Option<CloseFrame>;

impl Session {
    async fn run(self, mut socket: WebSocket, events: BoxStream<'static, Event>) {
        let Some(frame) = self.exchange(&mut socket, events).await else { return };
        let goodbye = async {
            // waits for the client's close frame, because unread data would reset the connection
            if socket.send(Frame::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        };
        let _ = timeout(CLOSE_LIMIT, goodbye).await;
    }

    /// Sends events and handles the client's frames until one side ends the connection.
    async fn exchange(&self, socket: &mut WebSocket, mut events: BoxStream<'static, Event>) -> End {
        let mut stopped = pin!(self.app.stopped());
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_frame = Instant::now();
        loop {
            let frame = tokio::select! {
                biased;
                () = &mut stopped => return going_away(),
                received = socket.recv() => {
                    last_frame = Instant::now();
                    match self.receive(received).await {
                        Ok(Some(reply)) => reply,
                        Ok(None) => continue,
                        Err(end) => return end,
                    }
                }
                _ = pings.tick() => {
                    if last_frame.elapsed() > SILENCE_LIMIT {
                        return None;
                    }
                    Frame::Ping(Default::default())
                }
                event = events.next() => match event {
                    Some(event) => Frame::Text(event.to_json().into()),
                    None => return going_away(),
                },
            };
            tokio::select! {
                () = &mut stopped => return going_away(),
                sent = timeout(SEND_LIMIT, socket.send(frame)) => if !matches!(sent, Ok(Ok(()))) {
                    return None;
                },
            }
        }
    }

    /// Handles a received frame or error. Returns the reply, if there is one.
    async fn receive(&self, received: Option<Result<Frame, axum::Error>>) -> Result<Option<Frame>, End> {
        match received {
            Some(Ok(Frame::Text(text))) => Ok(self.handle(text).await),
            Some(Ok(Frame::Binary(_))) => {
                let reason = "the frame must be a text frame".to_owned();
                Ok(Some(refusal(&AppError::Malformed { field: None, reason })))
            }
            Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => Ok(None),
            Some(Ok(Frame::Close(_))) | None => Err(None),
            Some(Err(error)) => Err(close_frame_for(error)),
        }
    }

    /// Handles a text frame in a separate transaction.
    async fn handle(&self, text: Utf8Bytes) -> Option<Frame> {
        let tx = self.upgrade.start_background(FRAME);
        tx.set_label("module", MODULE).set_label("room", &self.room);
        if let Some(customer) = &self.customer {
            tx.set_user(User::id(&customer.id));
        }
        let work = async {
            match self.say(&text).await {
                Ok(()) => None,
                Err(error) => {
                    record(&error);
                    Some(refusal(&error))
                }
            }
        };
        tx.run(work).await
    }

    async fn say(&self, text: &str) -> Result<(), AppError> {
        if self.customer.is_none() {
            return Err(AppError::Unauthenticated("a message needs a user: connect with the header x-user-id"));
        }
        let message: NewMessage = read_json(text.as_bytes())?;
        message.validate()?;
        let message = self.app.chat.say(self.room.clone(), message.from, message.text).await?;
        // The message is stored. An error of its live delivery does not change the outcome.
        Transaction::current()
            .set_label("message_id", message.id.to_string())
            .set_result("stored")
            .set_outcome(Outcome::Success);
        Ok(())
    }
}

/// Records a refused frame like a refused request: a client error is not recorded as an error of the service.
fn record(error: &AppError) {
    let tx = Transaction::current();
    if let AppError::Invalid { field, .. } | AppError::Malformed { field: Some(field), .. } = error {
        tx.set_label("invalid_field", field);
    }
    tx.set_result("refused");
    match error {
        AppError::Chat(error) => _ = tx.capture_error(error),
        error if error.status().is_server_error() => _ = tx.capture_error(error),
        _ => {}
    }
}

/// Returns the frame for a frame that the service refuses.
fn refusal(error: &AppError) -> Frame {
    #[derive(Serialize)]
    struct Refusal {
        #[serde(rename = "type")]
        event_type: &'static str,
        #[serde(flatten)]
        problem: Problem,
    }
    let refusal = Refusal { event_type: ERROR, problem: error.problem() };
    Frame::Text(serde_json::to_string(&refusal).unwrap_or_default().into())
}

fn going_away() -> End {
    closing(close_code::AWAY, "the service stops")
}

fn closing(code: u16, reason: &'static str) -> End {
    Some(CloseFrame { code, reason: reason.into() })
}

/// Returns the close frame for an error of the connection. The client may still be able to receive it.
fn close_frame_for(error: axum::Error) -> End {
    match error.into_inner().downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => closing(close_code::SIZE, "the frame is too large"),
        Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => {
            closing(close_code::PROTOCOL, "the frame is invalid")
        }
        _ => None,
    }
}
