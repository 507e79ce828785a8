//! The chat's endpoints.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tower_apm::Transaction;

use super::entity::Model as Message;
use crate::{
    app::App,
    customer::Customer,
    error::AppError,
    input::{Params, Payload, Validate, text},
};

/// The body of a message.
#[derive(Debug, Deserialize)]
pub(super) struct NewMessage {
    from: String,
    text: String,
}

impl Validate for NewMessage {
    fn validate(&self) -> Result<(), AppError> {
        text("from", &self.from, 128)?;
        text("text", &self.text, 2000)
    }
}

/// `POST /chat/rooms/{room}/messages`
pub(super) async fn say(
    State(app): State<App>,
    _: Customer,
    tx: Transaction,
    Params(room): Params<String>,
    Payload(message): Payload<NewMessage>,
) -> Result<(StatusCode, Json<Message>), AppError> {
    text("room", &room, 128)?;
    tx.set_label("room", &room);
    let message = app.chat.say(room, message.from, message.text).await?;
    tx.set_label("message_id", message.id.to_string());
    Ok((StatusCode::CREATED, Json(message)))
}

/// `GET /chat/rooms/{room}/events`: an event stream that ends when the client leaves or the marketplace stops.
pub(super) async fn events(
    State(app): State<App>,
    _: Option<Customer>,
    tx: Transaction,
    Params(room): Params<String>,
) -> Result<impl IntoResponse, AppError> {
    tx.set_label("room", &room);
    let messages = app.chat.listen(&room).await?;
    let events = messages.map(|message| {
        let event = Event::default().event("message").id(message.id.to_string());
        Ok::<_, Infallible>(event.json_data(message).unwrap_or_default())
    });
    Ok(Sse::new(events.take_until(app.stopped())).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
