//! Headers with secret values: `name=value` pairs, separated by commas.

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{HIDDEN, OptionType, Parsed, Secret, labels::mapping};

/// A list of headers. Names are in lower case, and all values are secrets.
#[derive(Debug)]
pub(crate) struct HeaderList;

impl OptionType for HeaderList {
    type Value = Vec<(String, Secret)>;
    type Code = Vec<(String, Secret)>;
    const ALLOWED: &'static str = "a list of `name=value` pairs separated by commas, values percent-encoded";
    const SECRET: bool = true;

    fn read(text: &str) -> Parsed<Self::Value> {
        let decoded = |value: String| percent_decode_str(&value).decode_utf8().ok().map(|value| value.into_owned());
        let pairs = mapping(text).and_then(|pairs| {
            pairs.into_iter().map(|(name, value)| header(&name, decoded(value)?)).collect::<Option<Vec<_>>>()
        });
        Parsed::from_option(pairs)
    }

    fn check(code: &Self::Code) -> Parsed<Self::Value> {
        let pairs = code.iter().map(|(name, value)| header(name, value.reveal().to_owned()));
        Parsed::from_option(pairs.collect())
    }

    fn show(value: &Self::Value) -> String {
        if value.is_empty() { String::new() } else { HIDDEN.to_owned() }
    }

    fn show_code(_: &Self::Code) -> String {
        HIDDEN.to_owned()
    }
}

/// Returns None if the name or the value is not valid in HTTP.
fn header(name: &str, value: String) -> Option<(String, Secret)> {
    let name = name.trim().parse::<HeaderName>().ok()?;
    let text = value.trim();
    HeaderValue::from_str(text).ok()?.to_str().ok()?;
    Some((name.as_str().to_owned(), Secret::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_decoded_and_not_shown_in_debug_output() {
        let read = HeaderList::read("Authorization=Bearer%20hunter2, x-tenant = a=b").valid().unwrap();
        let shown: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(shown, [("authorization", "Bearer hunter2"), ("x-tenant", "a=b")]);
        assert_eq!(HeaderList::show(&read), "***");
        assert!(!format!("{read:?}").contains("hunter2"));
        for text in ["no pair", "a b=c", "a=\u{e4}", "a=x%0Ay", "=v"] {
            assert_eq!(HeaderList::read(text), Parsed::Invalid, "{text}");
        }
    }
}
