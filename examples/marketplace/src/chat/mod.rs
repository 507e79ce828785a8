//! Chat rooms in which users talk and in which the market announces sales.
//!
//! | endpoint | what it does |
//! |---|---|
//! | `POST /chat/rooms/{room}/messages` | stores a message and delivers it |
//! | `GET /chat/rooms/{room}/events` | streams server-sent events: the last 20 stored events, then each further event |
//! | `GET /chat/rooms/{room}/ws` | sends the same events over a WebSocket. A text frame from the client is a new message |
//!
//! Each event is JSON with a `type`: `message` or `sale`. Both are rows of the table `messages`. A message is
//! accepted when it is stored. Live delivery is best effort:
//!
//! - Any instance publishes an event to the Redis channel of its room. Every instance delivers the event to its own
//!   listeners. Without `REDIS_URL`, events are delivered inside the process. Instances that share Redis must share the
//!   database too, because the ids of events come from it.
//! - Publishing succeeds even if there are no listeners. Only the stored row is kept for later listeners.
//! - A listener that is more than 64 events behind misses the oldest events and receives `{"type":"missed","count":7}`.
//! - If Redis is unavailable, a message is still stored and the request succeeds. The live event is lost, and the
//!   failure is recorded as a handled error. Publishing takes at most one second.
//! - When the connection to Redis is restored, each listener receives `{"type":"missed"}`, because events may have been
//!   lost.
//! - Events of one instance arrive in the order in which they were published. If the connection is lost during a publish,
//!   the event can be lost or arrive twice. Clients can compare the ids.
//!
//! # Redis pub/sub or Kafka
//!
//! | | Redis pub/sub (this module) | Kafka (the changes of the wallet) |
//! |---|---|---|
//! | receivers | every subscriber receives each event | each event goes to one consumer of a group |
//! | storage | none: an event without subscribers is dropped | events are stored until they expire and can be read again |
//! | a slow or disconnected receiver | misses events | continues at its offset |
//! | order | per channel | per partition |
//! | use it for | notifications whose loss does no harm, because the data is stored elsewhere | data that must be processed |

pub mod entity;
pub mod event;
pub mod fanout;
mod redis_fanout;
mod rooms;
mod routes;
mod service;
mod socket;

use axum::{
    Router,
    routing::{get, post},
};
use tower_apm::ApmLayer;

pub use self::service::{Chat, ChatError};
use crate::app::App;

/// The value of the label `module` of the chat's transactions.
const MODULE: &str = "chat";

/// The routes below `/chat`.
pub fn router() -> Router<App> {
    Router::new()
        .route("/rooms/{room}/messages", post(routes::say))
        .route("/rooms/{room}/events", get(routes::events))
        .route("/rooms/{room}/ws", get(socket::connect))
        .layer(apm())
}

/// Adds context to the transactions of all requests to the chat.
fn apm() -> ApmLayer {
    tower_apm::layer().module(MODULE).on_request(|tx, parts| {
        // a browser sends this header when it reconnects to a lost event stream
        if parts.headers.contains_key("last-event-id") {
            tx.set_label("reconnected", true);
        }
    })
}
