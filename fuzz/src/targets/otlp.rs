use std::sync::Arc;

use serde_json::Value;
use tower_apm::{
    devserver::{Event, Kind},
    internals::otlp as read,
};

/// One span, and one log record, that are always good. Messages one behind the other are one message.
const NEIGHBOURS: [(u8, &[u8]); 2] =
    [(0, b"\x0a\x07\x12\x05\x12\x03\x2a\x01n"), (2, b"\x0a\x07\x12\x05\x12\x03\x1a\x01n")];

/// OTLP requests. The input is a signal and a message.
///
/// Stored events are complete, and an additional valid event is stored unless the whole message is refused.
pub fn otlp(data: &[u8]) {
    let Some((signal, message)) = data.split_first() else { return };
    let signal = signal % 3;
    let Ok(stored) = read(signal, message) else { return };
    let mut has_metadata = false;
    for event in &stored {
        has_metadata |= event.kind() == Kind::Metadata;
        assert!(has_metadata, "it is known of whom an event is");
        check(signal, event);
    }
    for (_, neighbour) in NEIGHBOURS.iter().filter(|(of, _)| *of == signal) {
        for message in [[neighbour, message].concat(), [message, neighbour].concat()] {
            let both = read(signal, &message).expect("both are good");
            let events = |stored: &[Arc<Event>]| stored.iter().filter(|event| event.kind() != Kind::Metadata).count();
            assert_eq!(events(&both), events(&stored) + 1, "the neighbour is there");
        }
    }
}

fn check(signal: u8, event: &Event) {
    let expected = match signal {
        0 => &[Kind::Metadata, Kind::Transaction, Kind::Span, Kind::Error, Kind::Log][..],
        1 => &[Kind::Metadata, Kind::Metricset],
        _ => &[Kind::Metadata, Kind::Error, Kind::Log],
    };
    assert!(expected.contains(&event.kind()), "{event:?}");
    let body = serde_json::from_str::<Value>(event.raw()).expect("it is JSON");
    assert_eq!(body, event.body());
    let shown = serde_json::to_string(event).expect("it can be shown");
    assert!(shown.contains(event.raw()));

    let metadata = event.metadata();
    let text = |pointer: &str| metadata.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || " _-".contains(c);
    let service = text("/service/name");
    assert!(!service.is_empty() && service.chars().count() <= 1024 && service.chars().all(allowed), "{service}");
    assert!(!text("/service/agent/name").is_empty() && !text("/service/agent/version").is_empty());

    let members: &[&str] = match event.kind() {
        Kind::Transaction => &["name", "type", "outcome", "duration", "timestamp", "sampled"],
        Kind::Span => &["name", "type", "outcome", "duration", "timestamp", "parent_id"],
        Kind::Error => &["id", "timestamp"],
        Kind::Metricset => &["samples", "timestamp"],
        Kind::Log => &["@timestamp"],
        _ => &[],
    };
    for member in members {
        assert!(body.get(member).is_some_and(|value| !value.is_null()), "{member} of {body}");
    }
    for (pointer, member) in [("/context/tags", "context"), ("/labels", "log"), ("/tags", "metricset")] {
        let labels = body.pointer(pointer).and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            assert!(!key.contains(['.', '*', '"']), "label {key} in {member}");
            assert!(!value.is_null() && !value.is_object(), "label {key}: {value}");
            assert!(value.as_str().is_none_or(|text| text.chars().count() <= 1024), "label {key}");
        }
    }
}
