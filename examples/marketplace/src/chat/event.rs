//! The events of a room, and their JSON.
//!
//! Server-sent events and WebSocket frames carry the same JSON. Its field `type` is one of the constants below. The types
//! of stored events are those of [`EventType`].

use std::sync::Arc;

use serde_json::json;

pub use super::entity::EventType;
use super::entity::Model as Message;

/// The type of an event that reports missed events: `{"type":"missed","count":7}`.
///
/// If `count` is missing, the number is unknown.
pub const MISSED: &str = "missed";
/// The type of a WebSocket frame that refuses a frame of the client: `{"type":"error","error":"…","field":"text"}`.
pub const ERROR: &str = "error";

/// An event that a listener receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A stored event: a message or a sale.
    Stored(Arc<Message>),
    /// The listener missed events. The number is `None` if it is unknown, for instance after a lost connection to Redis.
    Missed(Option<u64>),
}

impl Event {
    /// Returns the type, which is also the name of the server-sent event.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Stored(message) => message.event_type.as_str(),
            Self::Missed(_) => MISSED,
        }
    }

    /// Returns the id of a stored event.
    pub fn id(&self) -> Option<i64> {
        match self {
            Self::Stored(message) => Some(message.id),
            Self::Missed(_) => None,
        }
    }

    /// Returns the event as JSON on one line.
    pub fn to_json(&self) -> String {
        match self {
            Self::Stored(message) => json!(**message),
            Self::Missed(Some(count)) => json!({ "type": MISSED, "count": count }),
            Self::Missed(None) => json!({ "type": MISSED }),
        }
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_event_is_the_json_of_its_row() {
        let row = Message {
            id: 7,
            event_type: EventType::Sale,
            room: "alice".to_owned(),
            sender: "market".to_owned(),
            text: "line\r\nbreak".to_owned(),
            created_at_ms: 5,
        };
        let event = Event::Stored(Arc::new(row.clone()));
        let json = event.to_json();
        assert!(!json.contains(['\r', '\n']), "{json}");
        assert_eq!((event.event_type(), event.id()), ("sale", Some(7)));
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&parsed["type"], &parsed["from"]), (&json!("sale"), &json!("market")));
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), row);
    }

    #[test]
    fn missed_event_contains_the_count_if_it_is_known() {
        assert_eq!(Event::Missed(Some(3)).to_json(), r#"{"count":3,"type":"missed"}"#);
        assert_eq!(Event::Missed(None).to_json(), r#"{"type":"missed"}"#);
        assert_eq!((Event::Missed(None).event_type(), Event::Missed(None).id()), ("missed", None));
    }
}
