//! Handlers: sending a message, and the event stream of a room.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tower_apm::Transaction;

use super::{entity::Model as Message, event::Event};
use crate::{
    app::App,
    customer::Customer,
    error::AppError,
    input::{Params, Payload, Validate, multiline_text, text},
};

/// A new message: the body of a request, or a text frame.
#[derive(Debug, Deserialize)]
pub(super) struct NewMessage {
    pub(super) from: String,
    pub(super) text: String,
}

impl Validate for NewMessage {
    fn validate(&self) -> Result<(), AppError> {
        text("from", &self.from, 128)?;
        multiline_text("text", &self.text, 2000)
    }
}

/// Checks the name of a room.
pub(super) fn validate_room(room: &str) -> Result<(), AppError> {
    text("room", room, 128)
}

/// `POST /chat/rooms/{room}/messages`
pub(super) async fn say(
    State(app): State<App>,
    _: Customer,
    tx: Transaction,
    Params(room): Params<String>,
    Payload(message): Payload<NewMessage>,
) -> Result<(StatusCode, Json<Message>), AppError> {
    validate_room(&room)?;
    tx.set_label("room", &room);
    let message = app.chat.say(room, message.from, message.text).await?;
    tx.set_label("message_id", message.id.to_string());
    Ok((StatusCode::CREATED, Json(message)))
}

/// `GET /chat/rooms/{room}/events`: streams events until the client disconnects or the service stops.
pub(super) async fn events(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Params(room): Params<String>,
) -> Result<impl IntoResponse, AppError> {
    validate_room(&room)?;
    tx.set_label("room", &room);
    let events = app.chat.listen(&room).await?.map(|event| Ok::<_, Infallible>(server_sent(&event)));
    Ok(Sse::new(events.take_until(app.stopped())).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn server_sent(event: &Event) -> SseEvent {
    let sent = SseEvent::default().event(event.event_type()).data(event.to_json());
    match event.id() {
        Some(id) => sent.id(id.to_string()),
        None => sent,
    }
}
