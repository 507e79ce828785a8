//! Reads the error document of an answer, of which only counts and messages are wanted: it may quote whole events, and
//! may be cut off at the size limit.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

const MAX_MESSAGES: usize = 8;
const MAX_MESSAGE: usize = 1024;

/// What the document says, as far as it can be read.
#[derive(Default)]
pub(super) struct ErrorResponse {
    pub(super) accepted: Option<u64>,
    /// Errors that quote an event.
    pub(super) of_events: u64,
    /// Different messages in the order of arrival.
    pub(super) messages: Vec<String>,
    /// The document was read to its end.
    pub(super) complete: bool,
}

impl ErrorResponse {
    pub(super) fn read(body: &[u8]) -> Self {
        let mut told = Self::default();
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        // what was read before the error counts
        told.complete = Document(&mut told).deserialize(&mut deserializer).is_ok();
        told
    }

    fn add(&mut self, message: &str) {
        let message: String = message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
        if !message.is_empty() && self.messages.len() < MAX_MESSAGES && !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }
}

/// `{"accepted": n, "errors": [{"message": …, "document": …}]}` or `{"error": …}`.
struct Document<'t>(&'t mut ErrorResponse);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "accepted" => self.0.accepted = fields.next_value()?,
                "errors" => fields.next_value_seed(Errors(self.0))?,
                "error" => fields.next_value_seed(Message(self.0))?,
                _ => _ = fields.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

struct Errors<'t>(&'t mut ErrorResponse);

impl<'de> DeserializeSeed<'de> for Errors<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Errors<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("errors")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut errors: A) -> Result<(), A::Error> {
        while errors.next_element_seed(OneError(self.0))?.is_some() {}
        Ok(())
    }
}

struct OneError<'t>(&'t mut ErrorResponse);

impl<'de> DeserializeSeed<'de> for OneError<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneError<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error")
    }

    fn visit_str<E>(self, message: &str) -> Result<(), E> {
        self.0.add(message);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "message" => fields.next_value_seed(Message(self.0))?,
                "document" => {
                    self.0.of_events += 1;
                    fields.next_value::<IgnoredAny>()?;
                }
                _ => _ = fields.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

struct Message<'t>(&'t mut ErrorResponse);

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let message = <Option<Cow<'de, str>>>::deserialize(deserializer)?;
        self.0.add(message.as_deref().unwrap_or_default());
        Ok(())
    }
}
