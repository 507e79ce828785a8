//! The `baggage` header of [W3C Baggage](https://www.w3.org/TR/baggage/): values that travel along with a trace.

use opentelemetry::baggage::{Baggage, BaggageMetadata, KeyValueMetadata};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use super::bad_input;

/// By the W3C: what one header, or several together, may hold.
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;

/// What a value may not hold as it is.
const NOT_IN_VALUES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// The members of one or several headers. One that is not allowed is left out, and so is what is beyond the limits.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Vec<KeyValueMetadata> {
    let mut room = MAX_BYTES;
    let mut members = Vec::new();
    for text in headers.flat_map(|header| header.split(|byte| *byte == b',')) {
        if text.len() >= room || members.len() == MAX_MEMBERS {
            bad_input::malformed_baggage();
            break;
        }
        room -= text.len() + 1;
        match member(text) {
            Some(member) => members.push(member),
            None if text.trim_ascii().is_empty() => {}
            None => bad_input::malformed_baggage(),
        }
    }
    members
}

fn member(text: &[u8]) -> Option<KeyValueMetadata> {
    let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
    let (pair, properties) = text.split_at(end);
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
    if key.is_empty() || !key.iter().all(|byte| is_token(*byte)) || !value.iter().all(|byte| is_value(*byte)) {
        return None;
    }
    let key = str::from_utf8(key).ok()?.to_owned();
    let value = percent_decode(value).decode_utf8_lossy().into_owned();
    let properties = str::from_utf8(properties.get(1..).unwrap_or_default()).ok()?.trim();
    Some(KeyValueMetadata::new(key, value, BaggageMetadata::from(properties)))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// The header to send; None when there is nothing to say. What is beyond the limits stays behind.
pub(crate) fn header(baggage: &Baggage) -> Option<String> {
    let mut members: Vec<String> = baggage
        .iter()
        .filter(|(key, _)| !key.as_str().is_empty() && key.as_str().bytes().all(is_token))
        .map(|(key, (value, properties))| {
            let mut member = format!("{key}={}", utf8_percent_encode(value.as_str(), NOT_IN_VALUES));
            let properties = properties.as_str().trim();
            if !properties.is_empty()
                && properties.bytes().all(|byte| byte == b' ' || byte != b',' && byte.is_ascii_graphic())
            {
                member.push(';');
                member.push_str(properties);
            }
            member
        })
        .collect();
    // the same baggage gives the same header
    members.sort_unstable();
    let mut header = String::new();
    for member in members.into_iter().take(MAX_MEMBERS) {
        if header.len() + member.len() < MAX_BYTES {
            if !header.is_empty() {
                header.push(',');
            }
            header.push_str(&member);
        }
    }
    (!header.is_empty()).then_some(header)
}

#[cfg(test)]
mod tests {
    use opentelemetry::{KeyValue, StringValue};

    use super::*;

    fn parsed(headers: &[&str]) -> Vec<(String, String, String)> {
        let baggage: Baggage = parse(headers.iter().map(|header| header.as_bytes())).into_iter().collect();
        let text = |member: (&opentelemetry::Key, &(StringValue, BaggageMetadata))| {
            (member.0.to_string(), member.1.0.to_string(), member.1.1.as_str().to_owned())
        };
        let mut members: Vec<_> = baggage.iter().map(text).collect();
        members.sort();
        members
    }

    /// Headers, and the keys, values and properties in them.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str, &'a str)]);

    #[test]
    fn baggage_is_parsed_without_invalid_members() {
        let cases: &[Case<'_>] = &[
            (&["user=0xabc,shop=eu"], &[("shop", "eu", ""), ("user", "0xabc", "")]),
            (&["a=1", "b=2"], &[("a", "1", ""), ("b", "2", "")]),
            (&[" a = 1 ; ttl=5;hidden , b=2"], &[("a", "1", "ttl=5;hidden"), ("b", "2", "")]),
            (&["a=x=y"], &[("a", "x=y", "")]),
            (&["a="], &[("a", "", "")]),
            (&["name=J%C3%BCrgen%20K"], &[("name", "Jürgen K", "")]),
            (&["broken=%ff%"], &[("broken", "\u{fffd}%", "")]),
            (&["a b=1,c=2 3,=4,d,,e=5"], &[("e", "5", "")]),
            (&["ä=1"], &[]),
            (&[""], &[]),
        ];
        for (headers, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(k, v, p)| ((*k).into(), (*v).into(), (*p).into())).collect();
            assert_eq!(parsed(headers), expected, "{headers:?}");
            assert_eq!(parse(headers.iter().map(|header| header.as_bytes())).len(), expected.len(), "{headers:?}");
        }
    }

    #[test]
    fn parsed_baggage_is_limited_as_in_the_w3c_recommendation() {
        let many: Vec<_> = (0..100).map(|i| format!("k{i}=v")).collect();
        assert_eq!(parse([many.join(",").as_bytes()].into_iter()).len(), MAX_MEMBERS);
        let long = format!("first=1,second={},third=3", "x".repeat(MAX_BYTES));
        assert_eq!(parsed(&[&long]).len(), 1, "nothing is taken from beyond the limit");
    }

    #[test]
    fn sent_baggage_is_parsed_back() {
        let members = [("plain", "a=b"), ("text", "Jürgen, \"K\"; 100 %\\"), ("empty", "")];
        let baggage: Baggage = members.map(|(key, value)| KeyValue::new(key, value)).into_iter().collect();
        let text = header(&baggage).unwrap();
        assert!(text.is_ascii(), "{text}");
        let read: Vec<_> = parsed(&[&text]).into_iter().map(|(key, value, _)| (key, value)).collect();
        let mut expected = members.map(|(key, value)| (key.to_owned(), value.to_owned()));
        expected.sort();
        assert_eq!(read, expected);
        let with = |properties: &str| {
            let member = KeyValueMetadata::new("a", "1", BaggageMetadata::from(properties));
            header(&[member].into_iter().collect()).unwrap()
        };
        assert_eq!(with("ttl=5;hidden"), "a=1;ttl=5;hidden");
        assert_eq!(with("bad\r\nheader: x"), "a=1", "properties that no header can carry stay behind");
        assert_eq!(header(&Baggage::default()), None);
    }

    #[test]
    fn sent_baggage_is_limited() {
        let baggage: Baggage = (0..60).map(|i| KeyValue::new(format!("k{i}"), "ä".repeat(100))).collect();
        let text = header(&baggage).unwrap();
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert!(!parsed(&[&text]).is_empty());
    }
}
