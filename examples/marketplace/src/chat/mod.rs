//! Chat: rooms in which buyers and sellers talk, and in which the market announces sales.

pub mod entity;
pub mod fanout;
mod routes;
mod service;

use axum::{
    Router,
    routing::{get, post},
};

pub use self::service::{Chat, ChatError};
use crate::app::App;

/// The routes below `/chat`.
pub fn router() -> Router<App> {
    Router::new().route("/rooms/{room}/messages", post(routes::say)).route("/rooms/{room}/events", get(routes::events))
}
