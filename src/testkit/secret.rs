//! Looks for a text that must not be there, in the forms in which it could hide.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::devserver::{Query, Store};

/// How many events were searched, and where the secret is: kind, JSON pointer, form.
pub(super) fn places(store: &Store, secret: &str) -> (usize, Vec<String>) {
    let forms = Forms::of(secret);
    let page = store.query(&Query::new());
    let mut places = Vec::new();
    for event in page.events.iter().rev() {
        let name = event.names().next().map(|name| format!(" {name:?}")).unwrap_or_default();
        let before = places.len();
        forms.search(&event.body(), &mut format!("{}{name} ", event.kind()), &mut places);
        if before == places.len() && event.raw().contains(secret) {
            places.push(format!("{}{name}", event.kind()));
        }
    }
    places.dedup();
    (page.events.len(), places)
}

struct Forms {
    plain: String,
    /// A secret that was written into a string as JSON, escapes and all.
    escaped: String,
    hex: String,
    /// What Base64 makes of it, wherever it stands in what was encoded, in both alphabets.
    base64: Vec<String>,
}

impl Forms {
    fn of(secret: &str) -> Self {
        let quoted = Value::from(secret).to_string();
        Self {
            plain: secret.to_owned(),
            escaped: quoted.trim_matches('"').to_owned(),
            hex: secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
            base64: (0..3).flat_map(|offset| base64_at(secret.as_bytes(), offset)).collect(),
        }
    }

    /// The form in which a text holds the secret.
    fn form_in(&self, text: &str) -> Option<&'static str> {
        if text.contains(&self.plain) {
            Some("as it is")
        } else if text.contains(&self.escaped) {
            Some("escaped")
        } else if text.contains('%') && percent_decode_str(text).decode_utf8_lossy().contains(&self.plain) {
            Some("percent-encoded")
        } else if self.base64.iter().any(|form| text.contains(form)) {
            Some("in Base64")
        } else if text.to_ascii_lowercase().contains(&self.hex) {
            Some("in hex")
        } else {
            None
        }
    }

    fn search(&self, value: &Value, path: &mut String, places: &mut Vec<String>) {
        let length = path.len();
        let mut found = |text: &str, path: &str| {
            if let Some(form) = self.form_in(text) {
                places.push(format!("{path} {form}"));
            }
        };
        match value {
            Value::String(text) => found(text, path),
            Value::Number(number) => found(&number.to_string(), path),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    *path += &format!("/{index}");
                    self.search(item, path, places);
                    path.truncate(length);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    *path += &format!("/{key}");
                    if let Some(form) = self.form_in(key) {
                        places.push(format!("the key {path} {form}"));
                    }
                    self.search(member, path, places);
                    path.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// The characters of a Base64 text that depend on these bytes alone, when `offset` bytes (modulo three) precede them. The
/// last bits of the secret may share a character with what follows and are not compared.
fn base64_at(bytes: &[u8], offset: usize) -> Vec<String> {
    let padded: Vec<u8> = std::iter::repeat_n(0, offset).chain(bytes.iter().copied()).collect();
    let bits = padded.len() * 8;
    let characters = (offset * 8).div_ceil(6)..bits / 6;
    // three characters of Base64 are met by chance
    if characters.len() < 4 {
        return Vec::new();
    }
    let bit = |at: usize| usize::from(padded[at / 8] >> (7 - at % 8) & 1);
    let encode = |alphabet: &[u8; 64]| {
        let sextet = |character: usize| (0..6).fold(0, |value, at| value << 1 | bit(character * 6 + at));
        characters.clone().map(|character| char::from(alphabet[sextet(character)])).collect()
    };
    vec![
        encode(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        encode(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_found_in_every_encoding() {
        let forms = Forms::of("hunter2");
        for (text, form) in [
            ("my hunter2!", Some("as it is")),
            ("a%68unter%32b", Some("percent-encoded")),
            // "hunter2", "a:hunter2", "ab:hunter2", with what goes on behind
            ("Basic aHVudGVyMg==", Some("in Base64")),
            ("YTpodW50ZXIy", Some("in Base64")),
            ("YWI6aHVudGVyMg==", Some("in Base64")),
            ("YTpodW50ZXIyOmI", Some("in Base64")),
            ("68756E74657232", Some("in hex")),
            ("hunter9 aHVudGVyOQ==", None),
            ("", None),
        ] {
            assert_eq!(forms.form_in(text), form, "{text}");
        }
        assert_eq!(Forms::of("a\"b").form_in(r#"{"password":"a\"b"}"#), Some("escaped"));
    }

    #[test]
    fn keys_and_numbers_are_searched() {
        let mut places = Vec::new();
        let value = serde_json::json!({ "a": [{ "b": 4111 }], "4111": null, "c": true });
        Forms::of("4111").search(&value, &mut "span ".to_owned(), &mut places);
        assert_eq!(places, ["the key span /4111 as it is", "span /a/0/b as it is"]);
    }
}
