//! Chat: rooms in which buyers and sellers talk, and in which the market announces sales.

pub mod entity;
pub mod fanout;
mod routes;
mod service;

use axum::{
    Router,
    routing::{get, post},
};
use tower_apm::ApmLayer;

pub use self::service::{Chat, ChatError};
use crate::app::App;

/// The routes below `/chat`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/rooms/{room}/messages", post(routes::say))
        .route("/rooms/{room}/events", get(routes::events))
        .layer(apm())
}

/// What support wants to know of every request to the chat, whichever handler takes it.
fn apm() -> ApmLayer {
    tower_apm::layer().module("chat").on_request(|tx, parts| {
        if parts.headers.contains_key("last-event-id") {
            tx.set_label("reconnected", true); // the browser reconnects after a lost event stream
        }
    })
}
