//! Elastic's wildcard patterns: `*` matches any characters, and no other character is special.

use std::borrow::Cow;

use super::{OptionType, Parsed, text::list};

/// A pattern that matches a whole text. Upper and lower case are the same, unless the pattern begins with `(?-i)`.
///
/// Matching text of ASCII characters allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard {
    source: Box<str>,
    /// The parts of the pattern between the `*`, in lower case unless the pattern is case-sensitive. A single part is the
    /// whole text.
    parts: Box<[Box<str>]>,
    case_sensitive: bool,
    ascii: bool,
}

impl Wildcard {
    pub(crate) fn new(pattern: &str) -> Self {
        let (case_sensitive, text) = match pattern.strip_prefix("(?-i)") {
            Some(rest) => (true, rest),
            None => (false, pattern.strip_prefix("(?i)").unwrap_or(pattern)),
        };
        let text = if case_sensitive { Cow::Borrowed(text) } else { Cow::Owned(lower(text)) };
        Self {
            source: pattern.into(),
            parts: text.split('*').map(Into::into).collect(),
            case_sensitive,
            ascii: text.is_ascii(),
        }
    }

    /// Returns the pattern as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.source
    }

    /// Returns the parts that a matching text contains, in upper or lower case.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &**part)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        if self.case_sensitive {
            self.matches_bytes(text.as_bytes(), |part, text| part == text)
        } else if self.ascii && text.is_ascii() {
            self.matches_bytes(text.as_bytes(), |part, text| text.eq_ignore_ascii_case(part))
        } else {
            self.matches_bytes(lower(text).as_bytes(), |part, text| part == text)
        }
    }

    fn matches_bytes(&self, text: &[u8], equal: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let [first, others @ ..] = &*self.parts else { return false };
        let [middle @ .., last] = others else { return equal(first.as_bytes(), text) };
        let (first, last) = (first.as_bytes(), last.as_bytes());
        // the first and the last part are anchored and must not overlap
        let Some(end) = text.len().checked_sub(last.len()).filter(|end| *end >= first.len()) else { return false };
        if !equal(first, &text[..first.len()]) || !equal(last, &text[end..]) {
            return false;
        }
        let mut rest = &text[first.len()..end];
        for part in middle {
            // the first match leaves the most text for the following parts
            let part = part.as_bytes();
            let Some(found) = find(rest, part, &equal) else { return false };
            rest = &rest[found + part.len()..];
        }
        true
    }
}

/// Converts each character on its own. `str::to_lowercase` converts a sigma depending on the next character, which is not
/// known next to a `*`.
fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn find(text: &[u8], part: &[u8], equal: impl Fn(&[u8], &[u8]) -> bool) -> Option<usize> {
    let Some(head) = part.get(..1) else { return Some(0) };
    let starts = text.len().checked_sub(part.len())?;
    (0..=starts).find(|&at| equal(head, &text[at..=at]) && equal(part, &text[at..at + part.len()]))
}

/// A list of patterns.
#[derive(Debug)]
pub(crate) struct Patterns;

impl OptionType for Patterns {
    type Value = Vec<Wildcard>;
    type Code = Vec<String>;
    const ALLOWED: &'static str = "a list of patterns separated by commas; `*` matches any characters";

    fn read(text: &str) -> Parsed<Self::Value> {
        Parsed::Valid(list(text).map(Wildcard::new).collect())
    }

    fn check(code: &Self::Code) -> Parsed<Self::Value> {
        Parsed::Valid(code.iter().map(|pattern| Wildcard::new(pattern.trim())).collect())
    }

    fn show(value: &Self::Value) -> String {
        value.iter().map(Wildcard::as_str).collect::<Vec<_>>().join(", ")
    }

    fn show_code(code: &Self::Code) -> String {
        code.join(", ")
    }
}
