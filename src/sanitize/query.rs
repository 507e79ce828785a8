//! Query strings, form bodies, baggage, and parameters of paths.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    REDACTED, Sanitizer,
    text::{MAX_NESTED, may_hold_secret},
};

/// What a value may not hold as it is.
const NOT_IN_VALUES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'[').remove(b']');

impl Sanitizer {
    /// A query (without its `?`) or the body of a form. What is not secret stays byte for byte as it came. Values that
    /// hold a URL, JSON or a form are searched too.
    pub(crate) fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        self.query_at(query, 0)
    }

    pub(super) fn query_at<'a>(&self, query: &'a str, depth: usize) -> Cow<'a, str> {
        // some servers still take `;` between pairs
        self.parameters(query, '&', ';', depth)
    }

    /// The header of that name: `name=value;property` between commas.
    pub(crate) fn baggage<'a>(&self, header: &'a str) -> Cow<'a, str> {
        self.parameters(header, ',', ';', 0)
    }

    /// The path of a URL, in which only parameters are redacted: `/shop;jsessionid=…`.
    pub(crate) fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match path.contains('=') {
            true => self.parameters(path, '/', ';', 0),
            false => Cow::Borrowed(path),
        }
    }

    /// Pairs end at `hard` or `soft`. A secret value ends at `hard` only: a reader that takes `soft` for a part of the
    /// value would see the rest of it.
    fn parameters<'a>(&self, query: &'a str, hard: char, soft: char, depth: usize) -> Cow<'a, str> {
        let between = [hard, soft];
        let mut clean = String::new();
        let mut copied = 0;
        let mut at = 0;
        for pair in query.split_inclusive(between) {
            let end = at + pair.len();
            let content = pair.strip_suffix(between).unwrap_or(pair);
            if at >= copied
                && let Some((name, value)) = content.split_once('=')
                && !value.is_empty()
            {
                let value_from = at + name.len() + 1;
                let name = percent_decode_str(name.trim()).decode_utf8_lossy();
                if self.is_secret(&name) || name == "code" && is_authorization(query.split(between)) {
                    clean.push_str(&query[copied..value_from]);
                    clean.push_str(REDACTED);
                    copied = value_from + query[value_from..].find(hard).unwrap_or(query.len() - value_from);
                } else if let Some(nested) = self.query_value(value, depth) {
                    clean.push_str(&query[copied..value_from]);
                    clean.push_str(&nested);
                    copied = value_from + value.len();
                }
            }
            at = end;
        }
        if copied == 0 {
            return Cow::Borrowed(query);
        }
        clean.push_str(&query[copied..]);
        Cow::Owned(clean)
    }

    /// A value that holds a URL, JSON, a form or other text with secrets in it. None where nothing is to be redacted.
    pub(super) fn query_value(&self, value: &str, depth: usize) -> Option<String> {
        if depth >= MAX_NESTED {
            return None;
        }
        if !value.contains('%') {
            let clean = may_hold_secret(value).then(|| self.text_at(value, depth + 1))?;
            return matches!(clean, Cow::Owned(_)).then(|| clean.into_owned());
        }
        let decoded = percent_decode_str(value).decode_utf8_lossy();
        let clean = match self.text_at(&decoded, depth + 1) {
            Cow::Owned(clean) => clean,
            // encoded twice
            Cow::Borrowed(_) if decoded.contains('%') => self.query_value(&decoded, depth + 1)?,
            Cow::Borrowed(_) => return None,
        };
        Some(utf8_percent_encode(&clean, NOT_IN_VALUES).to_string())
    }
}

/// Returns true if the parameter `code` is an authorization code: in the redirect to the client (RFC 6749, 4.1.2) or in the
/// token request (4.1.3). Elsewhere, `code` is an ordinary name.
fn is_authorization<'a>(mut pairs: impl Iterator<Item = &'a str>) -> bool {
    pairs.any(|pair| matches!(pair.split_once('='), Some(("state" | "grant_type", _))))
}

#[cfg(test)]
mod tests {
    use crate::sanitize::Sanitizer;

    #[test]
    fn authorization_code_is_redacted() {
        let sanitizer = Sanitizer::default();
        for (query, want) in [
            ("code=4%2F0AY&state=xyz", "code=[REDACTED]&state=xyz"),
            ("state=xyz&code=4%2F0AY&scope=a", "state=xyz&code=[REDACTED]&scope=a"),
            ("grant_type=authorization_code&code=abc", "grant_type=authorization_code&code=[REDACTED]"),
            ("code=SUMMER24", "code=SUMMER24"),
            ("code=SUMMER24&estate=1", "code=SUMMER24&estate=1"),
        ] {
            assert_eq!(sanitizer.query(query), want);
        }
    }
}
