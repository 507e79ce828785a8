//! Message headers whose values are bytes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
};

/// Writes the trace context into message headers whose values are bytes.
///
/// OpenTelemetry's [`Injector`](opentelemetry::propagation::Injector) is for headers whose values are text. This trait is
/// implemented for maps and lists of `String` and `Vec<u8>` (or `bytes::Bytes`). Implement it for the header type of your
/// message broker:
///
/// ```
/// use tower_apm::trace_context::BytesInjector;
///
/// #[derive(Default)]
/// struct Properties(Vec<(String, Vec<u8>)>);
///
/// impl BytesInjector for Properties {
///     fn set(&mut self, name: &'static str, value: Vec<u8>) {
///         self.remove(name);
///         self.0.push((name.to_owned(), value));
///     }
///
///     fn remove(&mut self, name: &'static str) {
///         self.0.retain(|(present, _)| present != name);
///     }
/// }
///
/// tower_apm::trace_context::inject_message(&mut Properties::default());
/// ```
pub trait BytesInjector {
    /// Sets a header and removes all other headers of this name.
    ///
    /// A forwarded message still has the headers of its first sender. Some consumers would read a second `traceparent`,
    /// and others would ignore it.
    fn set(&mut self, name: &'static str, value: Vec<u8>);

    /// Removes all headers of this name.
    fn remove(&mut self, name: &'static str);
}

impl<V: From<Vec<u8>>, S: BuildHasher> BytesInjector for HashMap<String, V, S> {
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        self.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &'static str) {
        HashMap::remove(self, name);
    }
}

impl<V: From<Vec<u8>>> BytesInjector for BTreeMap<String, V> {
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        self.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &'static str) {
        BTreeMap::remove(self, name);
    }
}

impl<V: From<Vec<u8>>> BytesInjector for Vec<(String, V)> {
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        BytesInjector::remove(self, name);
        self.push((name.to_owned(), value.into()));
    }

    fn remove(&mut self, name: &'static str) {
        self.retain(|(present, _)| present != name);
    }
}
