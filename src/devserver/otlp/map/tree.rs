//! JSON in the making.

use serde_json::{Map, Value};

/// An object whose values are set by paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tree(pub(super) Map<String, Value>);

impl Tree {
    /// Sets what stands at a path such as `context/request/method`.
    pub(super) fn put(&mut self, path: &str, value: impl Into<Value>) {
        let mut object = &mut self.0;
        let (above, key) = path.rsplit_once('/').unwrap_or(("", path));
        for step in above.split('/').filter(|step| !step.is_empty()) {
            let below = object.entry(step).or_insert_with(|| Value::Object(Map::new()));
            if !below.is_object() {
                *below = Value::Object(Map::new());
            }
            let Value::Object(below) = below else { return };
            object = below;
        }
        object.insert(key.to_owned(), value.into());
    }

    /// Nothing where there is no text.
    pub(super) fn text(&mut self, path: &str, text: &str) {
        if !text.is_empty() {
            self.put(path, text);
        }
    }

    /// Nothing for zero, which protobuf does not tell from nothing.
    pub(super) fn number(&mut self, path: &str, number: u32) {
        if number != 0 {
            self.put(path, number);
        }
    }

    /// Nothing where the other is empty.
    pub(super) fn tree(&mut self, path: &str, other: &Self) {
        if !other.0.is_empty() {
            self.put(path, other.0.clone());
        }
    }

    pub(super) fn text_at(&self, pointer: &[&str]) -> &str {
        let mut steps = pointer.iter();
        let first = steps.next().and_then(|step| self.0.get(*step));
        let found = steps.fold(first, |value, step| value?.get(*step));
        found.and_then(Value::as_str).unwrap_or_default()
    }
}
