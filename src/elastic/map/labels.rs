//! Labels: keys as the index writes them, values as it can tell them apart.

use std::borrow::Cow;

use opentelemetry::{KeyValue, Value};

use crate::{
    elastic::model::{Scalar, Tags},
    record::{Label, LabelValue},
    sanitize::{REDACTED, Sanitizer},
    semconv::{free_keyword, keyword},
};

/// `numeric_labels` keep six decimals in 64 bits: beyond this all numbers are one.
const MAX_INTEGER: u64 = 9_200_000_000_000;

pub(crate) fn tags(labels: &[Label]) -> Tags<'_> {
    let mut tags = Tags::default();
    for label in labels {
        set(&mut tags, &label.key, scalar(&label.value));
    }
    tags
}

/// Labels that are fields of an event or attributes of a metric: secrets are redacted by name and within text, unlike
/// those of labels that a developer sets.
pub(crate) fn field_tags<'a>(labels: &'a [Label], sanitizer: &Sanitizer) -> Tags<'a> {
    let mut tags = Tags::default();
    for label in labels {
        let value = match &label.value {
            _ if sanitizer.is_secret(&label.key) => Scalar::Text(REDACTED.into()),
            LabelValue::Text(text) => Scalar::Text(free_keyword(&**text, sanitizer)),
            other => scalar(other),
        };
        set(&mut tags, &label.key, value);
    }
    tags
}

/// Whether an attribute that no native field holds becomes a label. Baggage members have a separate option.
pub(super) fn is_shown(key: &str, sanitizer: &Sanitizer) -> bool {
    sanitizer.shows_span_fields() || key.starts_with("baggage.")
}

/// An attribute as a label. It may be the argument of an instrumented function: secrets are redacted by name and within
/// text.
pub(super) fn set_attribute<'a>(tags: &mut Tags<'a>, attribute: &'a KeyValue, sanitizer: &Sanitizer) {
    let key = attribute.key.as_str();
    let value = match &attribute.value {
        _ if sanitizer.is_secret(key) => Scalar::Text(REDACTED.into()),
        Value::Bool(flag) => Scalar::Bool(*flag),
        Value::I64(number) => integer(*number),
        Value::F64(number) => float(*number),
        other => Scalar::Text(free_keyword(other.as_str(), sanitizer)),
    };
    set(tags, key, value);
}

/// An attribute whose text was cleaned already.
pub(super) fn set_text<'a>(tags: &mut Tags<'a>, attribute: &'a KeyValue, text: Cow<'a, str>) {
    set(tags, attribute.key.as_str(), Scalar::Text(keyword(text)));
}

/// A key without a character would make the index refuse the document.
fn set<'a>(tags: &mut Tags<'a>, key: &'a str, value: Scalar<'a>) {
    if let Some(key) = index_key(key) {
        tags.set(key, value);
    }
}

/// `.`, `*` and `"` become `_`, as the server would make them; blank keys are none.
pub(crate) fn index_key(key: &str) -> Option<Cow<'_, str>> {
    if key.trim().is_empty() {
        return None;
    }
    Some(keyword(match key.contains(['.', '*', '"']) {
        true => Cow::Owned(key.replace(['.', '*', '"'], "_")),
        false => Cow::Borrowed(key),
    }))
}

fn scalar(value: &LabelValue) -> Scalar<'_> {
    match value {
        LabelValue::Text(text) => Scalar::Text(keyword(&**text)),
        LabelValue::Integer(number) => integer(*number),
        LabelValue::Float(number) => float(*number),
        LabelValue::Bool(flag) => Scalar::Bool(*flag),
    }
}

/// Whether the index can tell the number from its neighbours.
pub(crate) fn is_exact(number: i64) -> bool {
    number.unsigned_abs() <= MAX_INTEGER
}

fn integer<'a>(number: i64) -> Scalar<'a> {
    match is_exact(number) {
        true => Scalar::Integer(number),
        false => Scalar::Text(number.to_string().into()),
    }
}

fn float<'a>(number: f64) -> Scalar<'a> {
    match number.is_finite() {
        true => Scalar::Float(number),
        false => Scalar::Text(number.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(labels: &[(&'static str, LabelValue)]) -> String {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| Label { key: (*key).into(), value: value.clone() }).collect();
        serde_json::to_string(&tags(&labels)).unwrap()
    }

    #[test]
    fn keys_are_cleaned_and_the_last_of_equal_ones_wins() {
        let labels = [("a.b", 1.into()), ("a_b", "two".into()), ("", 3.into()), (" ", 4.into()), ("q\"*", true.into())];
        assert_eq!(json(&labels), r#"{"a_b":"two","q__":true}"#);
    }

    #[test]
    fn numbers_outside_the_range_of_the_index_become_text() {
        for (value, written) in [
            (LabelValue::Integer(42), "42"),
            (LabelValue::Integer(9_200_000_000_000), "9200000000000"),
            (LabelValue::Integer(-9_200_000_000_001), r#""-9200000000001""#),
            (LabelValue::Integer(i64::MIN), r#""-9223372036854775808""#),
            (LabelValue::Float(0.5), "0.5"),
            (LabelValue::Float(f64::NAN), r#""NaN""#),
            (LabelValue::Float(f64::NEG_INFINITY), r#""-inf""#),
            (LabelValue::Bool(false), "false"),
        ] {
            assert_eq!(json(&[("k", value)]), format!(r#"{{"k":{written}}}"#));
        }
        let long: LabelValue = "x".repeat(2000).into();
        assert_eq!(json(&[("k", long)]).chars().count(), 1024 + r#"{"k":""}"#.len());
    }

    #[test]
    fn secret_attributes_are_redacted() {
        let attributes = [
            KeyValue::new("password", "hunter2"),
            KeyValue::new("callback", "https://u:hunter2@h/?token=hunter2"),
            KeyValue::new("card_number", 4111),
        ];
        let mut tags = Tags::default();
        let sanitizer = Sanitizer::default();
        attributes.iter().for_each(|attribute| set_attribute(&mut tags, attribute, &sanitizer));
        let json = serde_json::to_string(&tags).unwrap();
        assert!(!json.contains("hunter2") && !json.contains("4111"), "{json}");
        assert!(json.contains(r#""password":"[REDACTED]""#), "{json}");
    }

    #[test]
    fn attributes_of_any_kind_become_labels() {
        let attributes = [KeyValue::new("cart.size", 3), KeyValue::new("tags", Value::Array(vec![1, 2].into()))];
        let mut tags = Tags::default();
        let sanitizer = Sanitizer::default();
        attributes.iter().for_each(|attribute| set_attribute(&mut tags, attribute, &sanitizer));
        assert_eq!(serde_json::to_string(&tags).unwrap(), r#"{"cart_size":3,"tags":"[1,2]"}"#);
    }
}
