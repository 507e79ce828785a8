//! What OTLP has no place for, as attributes that become labels: users, custom context, headers.

use std::borrow::Cow;

use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use serde_json::Value as Json;

use crate::{
    elastic::{
        map::is_exact,
        model::{Context, HeaderValue, Headers, Scalar, Tags},
    },
    semconv::cut,
};

/// Values of custom context that one event tells. Each is a field of the index, which has about a thousand.
const MAX_CUSTOM: usize = 64;
/// Objects within objects whose values get labels of their own.
const MAX_DEPTH: usize = 8;
/// Characters of a label; the server cuts there, and says nothing.
const MAX_TEXT: usize = 1024;

/// Headers that get labels. A client can invent names, and each would be a field of the index: others are left out.
const HEADERS: [&str; 19] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "etag",
    "host",
    "location",
    "origin",
    "referer",
    "retry-after",
    "server",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

/// Attributes in the making.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) list: Vec<KeyValue>,
    /// Left out, for there were too many.
    pub(super) dropped: u32,
}

impl Attributes {
    pub(super) fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.list.push(KeyValue::new(key, value));
    }

    pub(super) fn text(&mut self, key: &'static str, text: impl Into<String>) {
        self.set(key, text.into());
    }

    /// Nothing where there is nothing to say.
    pub(super) fn optional(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.text(key, text);
        }
    }

    pub(super) fn labels(&mut self, tags: &Tags<'_>) {
        for (key, value) in &tags.0 {
            // a transaction's attribute of this name is its type
            let key = if key == "type" { "label_type".to_owned() } else { key.to_string() };
            self.set(key, scalar(value));
        }
    }

    /// User, custom context and labels, the labels last: of two that the server gives one name, the last one stays.
    pub(super) fn context(&mut self, context: &Context<'_>) {
        if let Some(user) = &context.user {
            self.optional("user.id", user.id.as_deref());
            self.optional("user.email", user.email.as_deref());
            self.optional("user.name", user.username.as_deref());
            self.optional("user.domain", user.domain.as_deref());
        }
        let mut left = MAX_CUSTOM;
        for (key, json) in &context.custom.0 {
            let value = serde_json::from_str(&json.0).unwrap_or_else(|_| Json::String(json.0.clone()));
            self.custom(format!("custom.{key}"), value, MAX_DEPTH, &mut left);
        }
        self.labels(&context.tags);
    }

    /// The values of an object one by one, lists of one kind as lists, all else as JSON.
    fn custom(&mut self, key: String, value: Json, depth: usize, left: &mut usize) {
        let value: Value = match value {
            Json::Null => return,
            Json::Object(object) if depth > 0 => {
                return object
                    .into_iter()
                    .for_each(|(name, value)| self.custom(format!("{key}.{name}"), value, depth - 1, left));
            }
            Json::Bool(flag) => flag.into(),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) if is_exact(integer) => integer.into(),
                (None, Some(float)) if !number.is_u64() => float.into(),
                _ => number.to_string().into(),
            },
            Json::String(text) => short(text).into(),
            Json::Array(list) => match list_of_text(&list) {
                Some(list) => Value::Array(Array::String(list)),
                None => short(Json::Array(list).to_string()).into(),
            },
            object @ Json::Object(_) => short(object.to_string()).into(),
        };
        match left.checked_sub(1) {
            Some(rest) => {
                *left = rest;
                self.set(short(key), value);
            }
            None => self.dropped += 1,
        }
    }

    /// As the conventions have it: a list under `http.request.header.<name>`.
    pub(super) fn headers(&mut self, prefix: &str, headers: &Headers<'_>) {
        for (name, value) in &headers.0 {
            if !HEADERS.contains(&&**name) {
                self.dropped += 1;
                continue;
            }
            let values: Vec<StringValue> = match value {
                HeaderValue::One(value) => vec![value.to_string().into()],
                HeaderValue::Many(values) => values.iter().map(|value| value.to_string().into()).collect(),
            };
            self.set(format!("{prefix}{name}"), Value::Array(Array::String(values)));
        }
    }
}

pub(super) fn scalar(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Text(text) => text.to_string().into(),
        Scalar::Integer(number) => (*number).into(),
        Scalar::Float(number) => (*number).into(),
        Scalar::Bool(flag) => (*flag).into(),
    }
}

/// None unless all of it is text, and there is some.
fn list_of_text(list: &[Json]) -> Option<Vec<StringValue>> {
    let text = |value: &Json| Some(short(value.as_str()?).into());
    (!list.is_empty()).then(|| list.iter().map(text).collect())?
}

/// At most 1024 characters.
fn short(text: impl Into<String>) -> String {
    cut(Cow::Owned(text.into()), MAX_TEXT).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(key: &str, json: &str) -> (Vec<(String, Value)>, u32) {
        let mut context = Context::default();
        context.custom.set(key.to_owned().into(), crate::elastic::model::Json(json.to_owned()));
        let mut attributes = Attributes::default();
        attributes.context(&context);
        let list = attributes.list.into_iter().map(|attribute| (attribute.key.to_string(), attribute.value));
        (list.collect(), attributes.dropped)
    }

    #[test]
    fn each_custom_value_becomes_a_label() {
        let (flat, dropped) = flat(
            "order",
            r#"{"id":"o-1","price":12.5,"count":2,"wei":123456789012345678,"paid":true,"gone":null,
                "tags":["a","b"],"mixed":[1,"b"],"buyer":{"city":"Rome"}}"#,
        );
        let want: Vec<(&str, Value)> = vec![
            ("custom.order.buyer.city", "Rome".into()),
            ("custom.order.count", 2.into()),
            ("custom.order.id", "o-1".into()),
            ("custom.order.mixed", r#"[1,"b"]"#.into()),
            ("custom.order.paid", true.into()),
            ("custom.order.price", 12.5.into()),
            ("custom.order.tags", Value::Array(vec![StringValue::from("a"), "b".into()].into())),
            ("custom.order.wei", "123456789012345678".into()),
        ];
        let mut flat = flat;
        flat.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(flat, want.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Vec<_>>());
        assert_eq!(dropped, 0);
    }

    #[test]
    fn custom_context_labels_are_limited() {
        let many = (0..200).map(|i| format!(r#""k{i}":{i}"#)).collect::<Vec<_>>().join(",");
        let (flat_many, dropped) = flat("map", &format!("{{{many}}}"));
        assert_eq!((flat_many.len(), dropped), (MAX_CUSTOM, 200 - MAX_CUSTOM as u32));
        let deep = format!("{}1{}", r#"{"a":"#.repeat(20), "}".repeat(20));
        let (flat_deep, _) = flat("deep", &deep);
        assert_eq!(flat_deep.len(), 1);
        assert!(
            matches!(&flat_deep[0].1, Value::String(text) if text.as_str().starts_with(r#"{"a":"#)),
            "{flat_deep:?}"
        );
        let (long, _) = flat("long", &format!("\"{}\"", "ä".repeat(5000)));
        assert_eq!(long[0].1.as_str().chars().count(), 1024);
    }

    #[test]
    fn long_custom_context_key_is_truncated() {
        let (long, _) = flat("order", &format!(r#"{{"{}":1}}"#, "k".repeat(60_000)));
        assert_eq!(long[0].0.chars().count(), 1024);
        assert!(long[0].0.starts_with("custom.order.kkk") && long[0].0.ends_with('…'), "{}", long[0].0);
    }

    #[test]
    fn unknown_request_header_gets_no_label() {
        let mut headers = Headers::default();
        headers.set("x-evil-4711".into(), HeaderValue::One("v".into()));
        headers.set("accept".into(), HeaderValue::Many(vec!["a".into(), "b".into()]));
        let mut attributes = Attributes::default();
        attributes.headers("http.request.header.", &headers);
        assert_eq!(attributes.list.len(), 1);
        assert_eq!(attributes.list[0].key.as_str(), "http.request.header.accept");
        assert_eq!(attributes.dropped, 1);
    }

    #[test]
    fn label_does_not_replace_the_transaction_type() {
        let mut attributes = Attributes::default();
        let mut tags = Tags::default();
        tags.set("type".into(), Scalar::Text("gold".into()));
        attributes.labels(&tags);
        assert_eq!(attributes.list[0].key.as_str(), "label_type");
    }
}
