//! The values that fields hold: text that is put together while it is written, labels, and maps without duplicates.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::semconv::Text;

/// A newtype struct of this name around text is JSON already.
pub(crate) const RAW_JSON: &str = "tower_apm::raw_json";

/// Whether a field has nothing to say.
pub(crate) trait Absent {
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Absent for &[T] {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<V> Absent for Entries<'_, V> {
    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! always_written {
    ($($type:ty),+ $(,)?) => {
        $(impl Absent for $type {})+
    };
}
always_written!(bool, i64, u64, u32, f64, &str, Cow<'_, str>, Text<'_>, crate::record::TraceId, crate::record::SpanId);

/// What a label may hold.
#[derive(Serialize, Clone, PartialEq)]
#[serde(untagged)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

/// Text that is JSON, and is written as it is.
pub(crate) struct Json(pub(crate) String);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(RAW_JSON, self.0.as_str())
    }
}

/// A header that came once, or several times.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum HeaderValue<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
}

impl<'a> HeaderValue<'a> {
    /// Adds a value to the values of the same header.
    pub(crate) fn push(&mut self, value: Cow<'a, str>) {
        match self {
            Self::One(first) => *self = Self::Many(vec![std::mem::take(first), value]),
            Self::Many(values) => values.push(value),
        }
    }
}

/// A JSON object with free keys, in order.
pub(crate) struct Entries<'a, V>(pub(crate) Vec<(Cow<'a, str>, V)>);

/// Labels.
pub(crate) type Tags<'a> = Entries<'a, Scalar<'a>>;

impl<V> Default for Entries<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, V> Entries<'a, V> {
    /// Replaces the value of a key that is there already: a key written twice makes the index refuse the document.
    pub(crate) fn set(&mut self, key: Cow<'a, str>, value: V) {
        match self.0.iter_mut().find(|(present, _)| *present == key) {
            Some((_, present)) => *present = value,
            None => self.0.push((key, value)),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(present, _)| present == key).map(|(_, value)| value)
    }
}

impl<V: Serialize> Serialize for Entries<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
