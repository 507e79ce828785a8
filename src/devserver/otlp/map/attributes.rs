//! Attributes, and the labels that become of those which have no field.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use serde_json::{Map, Value};

use super::tree::Tree;

/// Characters of a keyword field; the server cuts there, and says nothing.
const MAX_KEYWORD: usize = 1024;
/// Bytes of a data stream's parts.
const MAX_DATA_STREAM: usize = 100;

/// The value of an attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'a> {
    Text(&'a str),
    Flag(bool),
    Integer(i64),
    Float(f64),
    List(&'a [AnyValue]),
    Map(&'a [KeyValue]),
    Bytes(&'a [u8]),
    Nothing,
}

/// Key and value, as they come.
pub(super) fn of(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, Seen<'_>)> {
    attributes.iter().map(|attribute| (attribute.key.as_str(), Seen::of(attribute.value.as_ref())))
}

impl<'a> Seen<'a> {
    pub(super) fn of(value: Option<&'a AnyValue>) -> Self {
        match value.and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(text)) => Self::Text(text),
            Some(Any::BoolValue(flag)) => Self::Flag(*flag),
            Some(Any::IntValue(number)) => Self::Integer(*number),
            Some(Any::DoubleValue(number)) => Self::Float(*number),
            Some(Any::ArrayValue(list)) => Self::List(&list.values),
            Some(Any::KvlistValue(map)) => Self::Map(&map.values),
            Some(Any::BytesValue(bytes)) => Self::Bytes(bytes),
            // an index into a dictionary that only profiles have
            Some(Any::StringValueStrindex(_)) | None => Self::Nothing,
        }
    }

    /// Empty for anything but a text.
    pub(super) fn text(self) -> &'a str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// The text as a keyword field.
    pub(super) fn keyword(self) -> &'a str {
        cut(self.text())
    }

    pub(super) fn flag(self) -> bool {
        matches!(self, Self::Flag(true))
    }

    /// Zero for anything but an integer.
    pub(super) fn integer(self) -> i64 {
        if let Self::Integer(number) = self { number } else { 0 }
    }

    /// As JSON, whatever it is; bytes in Base64, as OTLP's own JSON has them.
    pub(super) fn json(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Flag(flag) => flag.into(),
            Self::Integer(number) => number.into(),
            Self::Float(number) => whole(number),
            Self::List(list) => list.iter().map(|value| Seen::of(Some(value)).json()).collect(),
            Self::Map(map) => of(map).map(|(key, value)| (key.to_owned(), value.json())).collect::<Map<_, _>>().into(),
            Self::Bytes(bytes) => base64(bytes).into(),
            Self::Nothing => Value::Null,
        }
    }

    /// As text, whatever it is.
    pub(super) fn told(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Float(number) => number.to_string(),
            Self::Bytes(bytes) => base64(bytes),
            Self::Nothing => String::new(),
            other => other.json().to_string(),
        }
    }

    /// The value of a label; none for what the server throws away.
    fn label(self) -> Option<Value> {
        match self {
            Self::Text(text) => Some(cut(text).into()),
            Self::Flag(_) | Self::Integer(_) => Some(self.json()),
            Self::Float(number) => number.is_finite().then(|| number.into()),
            // the first decides what the list is of; others in it are passed over
            Self::List(list) => {
                let mut values = list.iter().map(|value| Seen::of(Some(value)));
                let first = values.clone().next()?;
                let is_like_first = |value: &Self| std::mem::discriminant(value) == std::mem::discriminant(&first);
                if matches!(first, Self::List(_)) {
                    return None;
                }
                first.label()?;
                values.by_ref().filter(is_like_first).map(Self::label).collect::<Option<Vec<_>>>().map(Value::Array)
            }
            Self::Map(_) | Self::Bytes(_) | Self::Nothing => None,
        }
    }
}

/// Labels in the making, and what stands beside them.
pub(super) struct Labels {
    labels: Map<String, Value>,
    /// What the server throws away.
    dropped: Map<String, Value>,
    data_stream: Tree,
}

impl Labels {
    pub(super) fn new(data_stream: Tree) -> Self {
        Self { labels: Map::new(), dropped: Map::new(), data_stream }
    }

    /// An attribute of a span; the server reads a data stream from texts only.
    pub(super) fn set(&mut self, key: &str, value: Seen<'_>) {
        if !matches!(value, Seen::Text(_)) || !self.data_stream(key, value) {
            self.label(key, value);
        }
    }

    /// An attribute of anything else, where it reads one from whatever is there.
    pub(super) fn set_any(&mut self, key: &str, value: Seen<'_>) {
        if !self.data_stream(key, value) {
            self.label(key, value);
        }
    }

    /// A label where it can be one.
    pub(super) fn label(&mut self, key: &str, value: Seen<'_>) {
        match value.label() {
            Some(label) => {
                self.labels.insert(key.replace(['.', '*', '"'], "_"), label);
            }
            None => self.drop(key, value),
        }
    }

    /// Errors go into one data set.
    pub(super) fn of_error(mut self) -> Self {
        self.data_stream.0.remove("dataset");
        self
    }

    pub(super) fn drop(&mut self, key: &str, value: Seen<'_>) {
        self.dropped.insert(key.to_owned(), value.json());
    }

    /// True for an attribute that says into which data stream the event goes.
    pub(super) fn data_stream(&mut self, key: &str, value: Seen<'_>) -> bool {
        data_stream(&mut self.data_stream, key, value)
    }

    /// Writes all of it; gives back the data stream, for the events of a span.
    pub(super) fn finish(self, out: &mut Tree, path: &str) -> Tree {
        let Self { labels, dropped, data_stream } = self;
        out.tree(path, &Tree(labels));
        out.tree("dropped", &Tree(dropped));
        out.tree("ecs/data_stream", &data_stream);
        data_stream
    }
}

/// True for an attribute that says into which data stream the event goes.
pub(super) fn data_stream(out: &mut Tree, key: &str, value: Seen<'_>) -> bool {
    let (part, reserved) = match key {
        "data_stream.dataset" => ("dataset", "-\\/*?\"<>| ,#:"),
        "data_stream.namespace" => ("namespace", "\\/*?\"<>| ,#:"),
        _ => return false,
    };
    let clean = |char: char| if reserved.contains(char) { '_' } else { char.to_lowercase().next().unwrap_or(char) };
    let mut clean: String = value.text().chars().map(clean).collect();
    while clean.len() > MAX_DATA_STREAM {
        clean.pop();
    }
    out.0.remove(part);
    out.text(part, &clean);
    true
}

pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_KEYWORD).map_or(text, |(end, _)| &text[..end])
}

/// Without a fraction where there is none.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { (number as i64).into() } else { number.into() }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = bits >> (18 - 6 * place) & 63;
            out.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[sextet as usize]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn data_stream_names_are_made_valid() {
        let mut out = Tree::default();
        assert!(data_stream(&mut out, "data_stream.dataset", Seen::Text("My-App:1")));
        assert!(data_stream(&mut out, "data_stream.namespace", Seen::Text(&format!("A-{}", "é".repeat(80)))));
        assert_eq!(out.text_at(&["dataset"]), "my_app_1");
        assert_eq!(out.text_at(&["namespace"]).len(), 100);
        assert!(!data_stream(&mut out, "dataset", Seen::Text("x")));
    }
}
