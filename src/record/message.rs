//! The message that a consumer's transaction processes.

use std::{fmt, time::Duration};

use super::{Body, context::boundary};

/// The maximum length of a header value that is kept, in bytes.
const MAX_VALUE: usize = 4 * 1024;
/// The maximum length of a header name that is kept, in bytes.
const MAX_NAME: usize = 1024;
/// The maximum number of headers that are kept for one message, in the order of arrival.
const MAX_HEADERS: usize = 256;

/// The recorded data of a received message, or of a batch of messages.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The name of the queue or topic. Empty if a batch comes from several topics.
    pub(crate) queue: String,
    pub(crate) routing_key: Option<String>,
    /// How long the message waited for its consumer.
    pub(crate) age: Option<Duration>,
    /// `None` if `capture_headers` is off.
    pub(crate) headers: Option<MessageHeaders>,
    pub(crate) body: Option<Body>,
}

impl Message {
    pub(crate) fn heap_size(&self) -> usize {
        let routing_key = self.routing_key.as_ref().map_or(0, String::len);
        let headers = self.headers.as_ref().map_or(0, MessageHeaders::heap_size);
        self.queue.len() + routing_key + headers + self.body.as_ref().map_or(0, Body::heap_size)
    }
}

/// The headers of one message whose values are text, in two allocations.
#[derive(Clone, Default)]
pub(crate) struct MessageHeaders {
    /// Names and values, one after the other.
    text: String,
    /// The end of each name and of each value.
    ends: Vec<(u32, u32)>,
}

impl MessageHeaders {
    /// Adds a header. A value that is not UTF-8 and a blank name are left out: the server stores text only, and the index
    /// rejects a document with a blank name.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        let Some(value) = text_prefix(value, MAX_VALUE) else { return };
        if self.ends.len() == MAX_HEADERS || name.trim().is_empty() {
            return;
        }
        self.text.push_str(&name[..boundary(name, MAX_NAME)]);
        let name_end = self.text.len() as u32;
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len() as u32));
    }

    /// Returns the headers in the order of arrival. A name can occur several times.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let part = |from: u32, to: u32| self.text.get(from as usize..to as usize).unwrap_or_default();
        let mut from = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let header = (part(from, name_end), part(name_end, value_end));
            from = value_end;
            header
        })
    }

    fn heap_size(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }
}

// Only the names are shown, because values can be secret.
impl fmt::Debug for MessageHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// Returns the first `limit` bytes as text, cut between two characters, or `None` if they are not UTF-8.
pub(crate) fn text_prefix(bytes: &[u8], limit: usize) -> Option<&str> {
    let kept = bytes.get(..limit).unwrap_or(bytes);
    match str::from_utf8(kept) {
        Ok(text) => Some(text),
        // the limit is within a character
        Err(error) if error.error_len().is_none() && kept.len() < bytes.len() => {
            str::from_utf8(&kept[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &[u8])]) -> MessageHeaders {
        let mut headers = MessageHeaders::default();
        all.iter().for_each(|(name, value)| headers.push(name, value));
        headers
    }

    #[test]
    fn headers_keep_order_and_duplicates_and_leave_out_binary_values() {
        let headers =
            headers(&[("b", b"1"), ("a", b""), ("binary", &[0, 255]), (" ", b"blank"), ("b", "ä".as_bytes())]);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("b", "1"), ("a", ""), ("b", "ä")]);
    }

    #[test]
    fn headers_are_bounded_in_number_and_length() {
        let mut headers = headers(&[(&"nä".repeat(1000), "ä".repeat(10_000).as_bytes())]);
        let (name, value) = headers.iter().next().unwrap();
        assert_eq!((name.len(), value.len()), (1024, MAX_VALUE));
        (0..1000).for_each(|_| headers.push("n", b"v"));
        assert_eq!(headers.iter().count(), MAX_HEADERS);
        assert!(headers.heap_size() >= 1024 + MAX_VALUE);
    }

    #[test]
    fn text_is_cut_between_characters_and_must_be_utf_8() {
        assert_eq!(text_prefix("aä".as_bytes(), 2), Some("a"));
        assert_eq!(text_prefix("aä".as_bytes(), 3), Some("aä"));
        assert_eq!(text_prefix(&[b'a', 0xc3], 9), None, "a message that ends within a character");
        assert_eq!(text_prefix(&[b'a', 0xff, b'b'], 2), None);
    }

    #[test]
    fn debug_shows_no_header_value() {
        assert_eq!(format!("{:?}", headers(&[("session", b"hunter2")])), r#"{"session"}"#);
    }
}
