//! Custom context: JSON that passes through untouched unless a secret is in it.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::labels::index_key;
use crate::{
    intake::model,
    record::Custom,
    sanitize::{REDACTED, Sanitizer},
};

/// The index refuses what is nested a thousand times; nobody reads more than this.
const MAX_DEPTH: u32 = 32;

pub(super) fn custom<'a>(values: &'a [Custom], sanitizer: &Sanitizer) -> model::Custom<'a> {
    let mut custom = model::Custom::default();
    for value in values {
        let Some(key) = index_key(&value.key) else { continue };
        let json = match sanitizer.is_secret(&value.key) {
            true => text(REDACTED),
            false => clean(&value.json, sanitizer).or_else(|| text("[left out: no JSON, or nested too deeply]")),
        };
        if let Some(json) = json {
            custom.set(key, json);
        }
    }
    custom
}

fn text(text: &str) -> Option<Cow<'static, RawValue>> {
    serde_json::value::to_raw_value(text).ok().map(Cow::Owned)
}

fn clean<'a>(json: &'a str, sanitizer: &Sanitizer) -> Option<Cow<'a, RawValue>> {
    let dirty = Cell::new(json.contains(['\n', '\r'])); // a line feed would end the event's line
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Scan { sanitizer, depth: 0, dirty: &dirty }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match dirty.get() {
        false => serde_json::from_str(json).ok().map(Cow::Borrowed),
        true => RawValue::from_string(sanitizer.json_text(json)?).ok().map(Cow::Owned),
    }
}

/// Walks a value, keeping nothing but whether anything in it must be changed.
#[derive(Clone, Copy)]
struct Scan<'s> {
    sanitizer: &'s Sanitizer,
    depth: u32,
    dirty: &'s Cell<bool>,
}

impl Scan<'_> {
    fn deeper(self) -> Self {
        if self.depth >= MAX_DEPTH {
            self.dirty.set(true);
        }
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper();
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper();
        while entries.next_key_seed(Key(self))?.is_some() {
            entries.next_value_seed(inner)?;
        }
        Ok(())
    }
}

struct Key<'s>(Scan<'s>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        if self.0.sanitizer.is_secret(key) {
            self.0.dirty.set(true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(values: &[(&'static str, &str)]) -> String {
        let values: Vec<_> =
            values.iter().map(|(key, json)| Custom { key: (*key).into(), json: (*json).into() }).collect();
        serde_json::to_string(&custom(&values, &Sanitizer::default())).unwrap()
    }

    #[test]
    fn json_passes_as_it_is() {
        assert_eq!(
            json(&[("order", r#"{"b":1e0,"a":[null,12345678901234567890123]}"#)]),
            r#"{"order":{"b":1e0,"a":[null,12345678901234567890123]}}"#
        );
    }

    #[test]
    fn secrets_are_redacted_at_any_depth() {
        let clean = json(&[("order", r#"{"buyer":{"deep":[{"password":"hunter2"}]}}"#), ("password", r#""hunter2""#)]);
        assert!(!clean.contains("hunter2"), "{clean}");
        assert!(clean.contains(r#"{"password":"[REDACTED]"}"#), "{clean}");
        assert!(clean.contains(r#","password":"[REDACTED]"}"#), "{clean}");
        assert!(!json(&[("o", r#"{"pass\u0077ord":"hunter2"}"#)]).contains("hunter2"), "an escaped key is a key");
    }

    #[test]
    fn keys_are_cleaned_and_the_last_of_equal_ones_wins() {
        assert_eq!(json(&[("order.id", "1"), ("order_id", "2"), ("", "3")]), r#"{"order_id":2}"#);
    }

    #[test]
    fn no_line_feed_and_no_broken_json_gets_through() {
        assert_eq!(json(&[("a", "{\n\"b\": 1}")]), r#"{"a":{"b":1}}"#);
        for broken in ["{", "1 2", "", "{\"a\":}", &"[".repeat(100_000)] {
            let written = json(&[("a", broken)]);
            assert!(written.starts_with(r#"{"a":"[left out"#), "{written}");
        }
    }
}
