//! JSON of any kind, in the order and with the very numbers in which it was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// A number, `true`, `false` or `null`.
    Scalar(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// None for what is no JSON, and for a string with half a surrogate pair. What lies deeper than this is a scalar.
pub(super) fn parse(text: &str, depth: usize) -> Option<Node> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let text = raw.get();
    Some(match text.as_bytes()[0] {
        b'"' => Node::Text(serde_json::from_str(text).ok()?),
        b'[' if depth > 0 => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Node::List(elements.iter().map(|element| parse(element.get(), depth - 1)).collect::<Option<_>>()?)
        }
        b'{' if depth > 0 => {
            let Members(members) = serde_json::from_str(text).ok()?;
            let member = |(key, value): (String, &RawValue)| Some((key, parse(value.get(), depth - 1)?));
            Node::Object(members.into_iter().map(member).collect::<Option<_>>()?)
        }
        _ => Node::Scalar(text.to_owned()),
    })
}

/// A key that came twice twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
