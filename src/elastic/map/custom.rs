//! Custom context: JSON that passes through as it was written, but for the secrets in it.

use serde::de::IgnoredAny;

use super::labels::index_key;
use crate::{
    elastic::model::{self, Json},
    record::Custom,
    sanitize::{REDACTED, Sanitizer},
};

pub(super) fn custom<'a>(values: &'a [Custom], sanitizer: &Sanitizer) -> model::Custom<'a> {
    let mut custom = model::Custom::default();
    for value in values {
        let Some(key) = index_key(&value.key) else { continue };
        let json = match sanitizer.is_secret(&value.key) {
            true => format!("\"{REDACTED}\""),
            false => clean(&value.json, sanitizer).unwrap_or_else(|| r#""[left out: this is no JSON]""#.to_owned()),
        };
        custom.set(key, Json(json));
    }
    custom
}

/// None where it is no JSON.
fn clean(json: &str, sanitizer: &Sanitizer) -> Option<String> {
    let clean = sanitizer.json_text(json)?;
    // the whole line would be lost by one bracket too few
    serde_json::from_str::<IgnoredAny>(&clean).ok()?;
    match clean.contains(['\n', '\r']) {
        // a line feed would end the event's line; within JSON's strings there is none
        true => Some(clean.replace(['\n', '\r'], " ")),
        false => Some(clean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(values: &[(&'static str, &str)]) -> String {
        let values: Vec<_> =
            values.iter().map(|(key, json)| Custom { key: (*key).into(), json: (*json).into() }).collect();
        let mut written = Vec::new();
        crate::intake::write(&mut written, &custom(&values, &Sanitizer::default())).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn json_is_passed_unchanged() {
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
    fn line_feeds_and_invalid_json_are_replaced() {
        assert_eq!(json(&[("a", "{\n\"b\": 1}")]), r#"{"a":{ "b": 1}}"#);
        for broken in ["{", "1 2", "", "{\"a\":}"] {
            let written = json(&[("a", broken)]);
            assert!(written.starts_with(r#"{"a":"[left out"#), "{written}");
        }
    }
}
