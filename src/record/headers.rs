//! The headers of one message in two allocations.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most that is kept of one value. The index refuses a document with a header value over 32 766 bytes; nobody
/// reads more than this.
const MAX_VALUE: usize = 4 * 1024;
/// Headers of one message that are kept, in the order of arrival. A map may hold 32 768.
const MAX_HEADERS: usize = 256;

/// Names (standard ones are not copied) and, one after the other in a single buffer, their values.
#[derive(Clone)]
pub(crate) struct Headers {
    names: Vec<(HeaderName, u32)>,
    values: Vec<u8>,
}

impl Headers {
    pub(crate) fn copy(headers: &HeaderMap) -> Self {
        let kept = || headers.iter().take(MAX_HEADERS);
        let names = Vec::with_capacity(headers.len().min(MAX_HEADERS));
        let values = Vec::with_capacity(kept().map(|(_, value)| value.len().min(MAX_VALUE)).sum());
        let mut copied = Self { names, values };
        kept().for_each(|(name, value)| copied.push(name, value));
        copied
    }

    /// The headers in which proxies report the scheme and the host that the client used, each once. `None` where there
    /// are none.
    pub(crate) fn copy_origin(headers: &HeaderMap) -> Option<Box<Self>> {
        let mut copied: Option<Box<Self>> = None;
        for name in headers.keys().filter(|name| names_origin(name.as_str())) {
            let Some(value) = headers.get(name) else { continue };
            copied.get_or_insert_with(|| Box::new(Self { names: Vec::new(), values: Vec::new() })).push(name, value);
        }
        copied
    }

    #[inline(always)]
    fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        let bytes = value.as_bytes();
        self.values.extend_from_slice(bytes.get(..MAX_VALUE).unwrap_or(bytes));
        self.names.push((name.clone(), self.values.len() as u32));
    }

    /// Every header in the order of arrival; a name that came twice comes twice. Bytes that are no UTF-8 are replaced.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let mut from = 0;
        self.names.iter().map(move |(name, to)| {
            let value = self.values.get(from..*to as usize).unwrap_or_default();
            from = *to as usize;
            (name.as_str(), super::text(value))
        })
    }

    pub(crate) fn heap_size(&self) -> usize {
        self.names.capacity() * size_of::<(HeaderName, u32)>() + self.values.capacity()
    }
}

/// Whether proxies report in this header which scheme and host the client used. `name` is in lower case.
#[inline]
pub(crate) fn names_origin(name: &str) -> bool {
    matches!(
        name,
        "forwarded"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-forwarded-protocol"
            | "x-forwarded-ssl"
            | "x-url-scheme"
            | "front-end-https"
    )
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.iter().map(|(name, _)| name.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_repeat() {
        let mut map = HeaderMap::new();
        map.insert("host", HeaderValue::from_static("h"));
        map.append("accept", HeaderValue::from_static("a"));
        map.append("accept", HeaderValue::from_static("b"));
        let headers = Headers::copy(&map);
        let all: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(all, ["host=h", "accept=a", "accept=b"]);
    }

    #[test]
    fn origin_headers_are_copied_once_each() {
        let mut map = HeaderMap::new();
        map.insert("host", HeaderValue::from_static("h"));
        assert!(Headers::copy_origin(&map).is_none());
        map.append("x-forwarded-host", HeaderValue::from_static("a"));
        map.append("x-forwarded-host", HeaderValue::from_static("b"));
        map.append("forwarded", HeaderValue::from_static("host=c"));
        let headers = Headers::copy_origin(&map).unwrap();
        let mut all: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        all.sort();
        assert_eq!(all, ["forwarded=host=c", "x-forwarded-host=a"]);
    }

    #[test]
    fn huge_header_value_is_truncated_and_debug_shows_names_only() {
        let mut map = HeaderMap::new();
        map.insert("x-big", HeaderValue::from_str(&"v".repeat(100_000)).unwrap());
        let headers = Headers::copy(&map);
        assert_eq!(headers.iter().next().map(|(_, value)| value.len()), Some(MAX_VALUE));
        assert_eq!(format!("{headers:?}"), r#"{"x-big"}"#);
    }
}
