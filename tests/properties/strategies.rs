//! Strategies for unusual texts, numbers, labels and JSON values.

use proptest::{
    collection::{hash_map, vec},
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    sample::select,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use tower_apm::LabelValue;

/// Any characters, and texts that are likely to be misread.
pub(crate) fn text() -> BoxedStrategy<String> {
    const ODD: &[&str] = &[
        "",
        " ",
        "\0",
        "\n",
        "\r\n",
        "\t",
        "a.b",
        "a*b",
        "\"",
        "\\",
        "\\ud800",
        "\\u0000",
        "\u{feff}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{202e}txet",
        "\u{2028}",
        "e\u{301}",
        "👩‍👩‍👧",
        "🏴",
        "\u{10ffff}",
        "\u{7f}",
        "\u{85}",
        "..",
        "_",
        "@timestamp",
        "labels.x",
        "null",
        "true",
        "1e400",
        "NaN",
        "-0",
        "9223372036854775808",
        "{{}}",
        "[]",
        "<script>",
        "%00",
        "%ff",
        "://",
        "http://[",
        "?",
        "#",
        "İ",
        "ſ",
        "ß",
        "created",
        "client_ip",
        "location",
        "x_timestamp",
    ];
    prop_oneof![
        8 => select(ODD).prop_map(str::to_owned),
        8 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
        2 => (select(ODD), vec(any::<char>(), 1..4)).prop_map(|(odd, text)| odd.to_owned() + &String::from_iter(text)),
        1 => (any::<char>(), select(&[1023_usize, 1024, 1025, 9_999, 10_000, 10_001, 100_000][..]))
            .prop_map(|(char, count)| char.to_string().repeat(count)),
    ]
    .boxed()
}

pub(crate) fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        select(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, -0.0, 1e21][..])
    ]
}

pub(crate) fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), select(&[0, -1, i64::MIN, i64::MAX, 1 << 53, 9_200_000_000_001][..])]
}

pub(crate) fn label() -> impl Strategy<Value = LabelValue> {
    prop_oneof![
        text().prop_map(LabelValue::from),
        integer().prop_map(LabelValue::from),
        float().prop_map(LabelValue::from),
        any::<bool>().prop_map(LabelValue::from),
    ]
}

/// Labels: some, or far too many.
pub(crate) fn labels() -> impl Strategy<Value = Vec<(String, LabelValue)>> {
    let many = (text(), text()).prop_map(|(key, value)| {
        (0..200).map(|number| (format!("{key}{number}"), LabelValue::from(value.as_str()))).collect()
    });
    prop_oneof![9 => vec((text(), label()), 0..6), 1 => many]
}

/// A value for custom context.
#[derive(Debug, Clone)]
pub(crate) enum Any {
    Json(Value),
    Float(f64),
    /// Nested lists of this depth.
    Deep(usize),
    /// A map whose key is not text, which JSON does not support.
    Keys(f64),
    Secret,
}

pub(crate) fn anything() -> impl Strategy<Value = Any> {
    prop_oneof![
        8 => json().prop_map(Any::Json),
        2 => float().prop_map(Any::Float),
        1 => (0_usize..300).prop_map(Any::Deep),
        1 => float().prop_map(Any::Keys),
        4 => Just(Any::Secret),
    ]
}

pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integer().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            hash_map(text(), inner, 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(value) => value.serialize(serializer),
            Self::Float(float) => float.serialize(serializer),
            Self::Deep(0) => serializer.serialize_none(),
            Self::Deep(levels) => [Self::Deep(levels - 1)].serialize(serializer),
            Self::Keys(key) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(&[key.to_string()], key)?;
                map.end()
            }
            Self::Secret => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("password", crate::SECRET)?;
                map.end()
            }
        }
    }
}
