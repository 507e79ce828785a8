//! JSON as the server reads it: values stay the text that they were, so that `7.0` is no integer and what is shown is
//! what was sent.
//!
//! More is taken than `serde_json` takes: half a surrogate pair in a string (JavaScript agents send such) reads as
//! U+FFFD.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// What kind of value a JSON text is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl Type {
    pub(crate) fn of(raw: &RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'n') | None => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => Self::Text,
            Some(b'[') => Self::List,
            Some(b'{') => Self::Object,
            Some(_) => Self::Number,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// The value at the start of `text`; what follows it is not looked at, as the server does not.
pub(crate) fn leading(text: &str) -> Result<&RawValue, serde_json::Error> {
    <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(text))
}

/// The members of an object in their order, a key that came twice twice. Empty for anything but an object.
pub(crate) fn members(raw: &RawValue) -> Vec<(Cow<'_, str>, &RawValue)> {
    if Type::of(raw) != Type::Object {
        return Vec::new();
    }
    serde_json::from_str::<Members<'_>>(raw.get()).map(|members| members.0).unwrap_or_default()
}

/// The elements of a list. Empty for anything but a list.
pub(crate) fn elements(raw: &RawValue) -> Vec<&RawValue> {
    if Type::of(raw) != Type::List {
        return Vec::new();
    }
    serde_json::from_str::<Elements<'_>>(raw.get()).map(|elements| elements.0).unwrap_or_default()
}

/// The value at the end of a path of keys; of equal keys the last one counts.
pub(crate) fn at<'a>(raw: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    path.iter().try_fold(raw, |raw, step| {
        members(raw).into_iter().rev().find_map(|(key, value)| (key == *step).then_some(value))
    })
}

/// The string at the end of a path.
pub(crate) fn text_at<'a>(raw: &'a RawValue, path: &[&str]) -> Option<Cow<'a, str>> {
    at(raw, path).filter(|value| Type::of(value) == Type::Text).map(text)
}

/// The content of a string; empty for anything but a string.
pub(crate) fn text(raw: &RawValue) -> Cow<'_, str> {
    let source = raw.get();
    match source.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        Some(_) => Cow::Owned(parse(source).unwrap_or_default()),
        None => Cow::Borrowed(""),
    }
}

/// False if a number with an exponent in it is beyond `f64`. One without an exponent may be as long as it likes.
pub(crate) fn numbers_fit(raw: &RawValue) -> bool {
    let mut rest = raw.get();
    while let Some(start) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = after_text(text);
            continue;
        }
        let end = rest.find([',', ']', '}', ' ', '\t', '\r']).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if number.contains(['e', 'E']) && !number.parse::<f64>().is_ok_and(f64::is_finite) {
            return false;
        }
        rest = after;
    }
    true
}

/// What follows a string, of which the opening quote is gone.
fn after_text(mut text: &str) -> &str {
    while let Some(at) = text.find(['"', '\\']) {
        let is_end = text[at..].starts_with('"');
        let skipped = if is_end { 1 } else { 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8) };
        text = &text[at + skipped..];
        if is_end {
            return text;
        }
    }
    ""
}

/// The value as `serde_json` knows it. Null where it cannot hold it: a number beyond `f64`, more than 128 levels.
pub(crate) fn value(source: &str) -> Value {
    parse(source).unwrap_or(Value::Null)
}

fn parse<T: serde::de::DeserializeOwned>(source: &str) -> Option<T> {
    serde_json::from_str(source).ok().or_else(|| serde_json::from_str(&without_half_surrogates(source)).ok())
}

/// Replaces each escaped half of a surrogate pair by U+FFFD, so that a strict parser takes the text.
fn without_half_surrogates(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        out.push_str(before);
        let unit = |at: usize| {
            let digits = escape.get(at..at + 6)?.strip_prefix("\\u")?;
            u16::from_str_radix(digits, 16).ok()
        };
        let length = match unit(0) {
            Some(0xD800..=0xDBFF) if matches!(unit(6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => 0,
            Some(_) => 6,
            None => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        out.push_str(if length == 0 { "\\ufffd" } else { &escape[..length] });
        rest = &escape[if length == 0 { 6 } else { length }..];
    }
    out.push_str(rest);
    out
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                    members.push((text(key), value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_seq(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_value_is_read_and_keeps_its_text() {
        let line = r#" {"a":7.0,"b":{"c":"x\ny"},"a":1e999} trailing"#;
        let raw = leading(line).unwrap();
        let members = members(raw);
        let shown: Vec<_> = members.iter().map(|(key, value)| format!("{key}={}", value.get())).collect();
        assert_eq!(shown, ["a=7.0", r#"b={"c":"x\ny"}"#, "a=1e999"]);
        assert_eq!(text_at(raw, &["b", "c"]).as_deref(), Some("x\ny"));
        assert_eq!(text_at(raw, &["a"]), None);
        assert!(leading(r#"{"a":"#).is_err());
    }

    #[test]
    fn lone_surrogate_becomes_the_replacement_character() {
        for (source, want) in [
            (r#""\ud83d\ude00""#, "\u{1F600}"),
            (r#""a\ud83db""#, "a\u{FFFD}b"),
            (r#""\ude00\ud83d""#, "\u{FFFD}\u{FFFD}"),
            (r#""\\ud83d\ud83d""#, "\\ud83d\u{FFFD}"),
            (r#""\ud83d\n""#, "\u{FFFD}\n"),
        ] {
            assert_eq!(text(leading(source).unwrap()), want, "{source}");
            assert_eq!(value(source), Value::String(want.to_owned()), "{source}");
        }
    }

    #[test]
    fn only_numbers_with_an_exponent_can_be_too_large() {
        for (source, fits) in [
            ("1e308", true),
            ("-1E400", false),
            ("1e-400", true),
            (&"9".repeat(400), true),
            (r#"{"a":[1,{"b":1e400}]}"#, false),
            (r#"{"1e400":"1e400 \" 1e400","a":true}"#, true),
            (r#"["\\",1e400]"#, false),
        ] {
            assert_eq!(numbers_fit(leading(source).unwrap()), fits, "{source}");
        }
    }

    #[test]
    fn escaped_keys_are_decoded() {
        let raw = leading(r#"{"tr\u0061ce":1,"\ud800":2}"#).unwrap();
        let keys: Vec<_> = members(raw).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["trace", "\u{FFFD}"]);
    }
}
