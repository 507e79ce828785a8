//! A document as the server would store it in Elasticsearch.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct Document(pub(crate) Value);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Transaction,
    Span,
    Error,
    Metrics,
    Line,
}

impl Document {
    pub(crate) fn new(json: Value) -> Self {
        Self(json)
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn is_otlp(&self) -> bool {
        self.text("/agent/name").starts_with("opentelemetry/")
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.text("/processor/event") {
            "transaction" => Kind::Transaction,
            "span" => Kind::Span,
            "error" => Kind::Error,
            _ if self.0.get("metricset").is_some() => Kind::Metrics,
            _ if self.0.get("error").is_some() => Kind::Error,
            _ if self.0.pointer("/span/name").is_some() => Kind::Span,
            _ if self.0.pointer("/transaction/name").is_some() => Kind::Transaction,
            _ => Kind::Line,
        }
    }

    /// A key that is the same for one event over both protocols.
    pub(crate) fn key(&self) -> (Kind, String) {
        let key = match self.kind() {
            Kind::Transaction => self.text("/transaction/id"),
            Kind::Span => self.text("/span/id"),
            // all error messages of these tests differ
            Kind::Error => self.0.pointer("/error/exception/0/message").and_then(Value::as_str).unwrap_or_default(),
            Kind::Metrics => return (self.kind(), self.samples().join(" ")),
            Kind::Line => self.text("/message"),
        };
        (self.kind(), key.to_owned())
    }

    /// The names of the samples, and the labels of the set.
    fn samples(&self) -> Vec<String> {
        let samples = self.0.pointer("/metricset/samples").and_then(Value::as_array).into_iter().flatten();
        let mut names: Vec<_> = samples.map(|sample| sample["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.extend(self.0.get("labels").map(Value::to_string));
        names
    }

    /// Every value by its path. A list is one value.
    pub(crate) fn fields(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        walk(&mut found, String::new(), &self.0);
        found
    }
}

fn walk(found: &mut BTreeMap<String, Value>, path: String, value: &Value) {
    let Value::Object(object) = value else {
        let mut value = value.clone();
        // the order of samples is random
        if let (Value::Array(list), "metricset.samples") = (&mut value, &*path) {
            list.sort_by_key(|sample| sample["name"].to_string());
        }
        found.insert(path, value);
        return;
    };
    for (key, value) in object {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        walk(found, path, value);
    }
}
