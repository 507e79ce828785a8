//! Query strings, form bodies, baggage and cookies.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{REDACTED, Sanitizer};

impl Sanitizer {
    /// A query (without its `?`) or the body of a form. What is not secret stays byte for byte as it came.
    pub(crate) fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        // some servers still take `;` between pairs
        self.pairs(query, '&', ';')
    }

    /// The header of that name: `name=value;property` between commas.
    pub(crate) fn baggage<'a>(&self, header: &'a str) -> Cow<'a, str> {
        self.pairs(header, ',', ';')
    }

    /// Pairs end at `hard` or `soft`. A secret value ends at `hard` only: whoever takes `soft` for a part of the value
    /// would see the rest of it.
    fn pairs<'a>(&self, query: &'a str, hard: char, soft: char) -> Cow<'a, str> {
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
                && self.is_secret(&percent_decode_str(name.trim()).decode_utf8_lossy())
            {
                let value_from = at + name.len() + 1;
                clean.push_str(&query[copied..value_from]);
                clean.push_str(REDACTED);
                copied = value_from + query[value_from..].find(hard).unwrap_or(query.len() - value_from);
            }
            at = end;
        }
        if copied == 0 {
            return Cow::Borrowed(query);
        }
        clean.push_str(&query[copied..]);
        Cow::Owned(clean)
    }

    /// The cookies of a `Cookie` header by name. The header itself must not be sent beside them.
    pub(crate) fn cookies<'a>(&self, header: &'a str) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let pairs = header.split(';').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.trim(), value.trim())).filter(|(name, _)| !name.is_empty());
        pairs.map(|(name, value)| (name.into(), if self.is_secret(name) { REDACTED } else { value }.into())).collect()
    }
}
