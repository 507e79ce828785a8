//! Elastic's wildcard patterns: `*` stands for any characters, nothing else is special.

use std::borrow::Cow;

use super::{OptionType, Parsed, text::list};

/// One pattern. It has to match the whole text, in any case unless it begins with `(?-i)`.
///
/// Matching text of ASCII characters allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard {
    source: Box<str>,
    /// What stands between the `*`, in lower case unless case matters. One part: the whole text.
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

    /// The pattern as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.source
    }

    /// What must be in a text, in some case, for the pattern to match it.
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
        // the ends are anchored and must not overlap
        let Some(end) = text.len().checked_sub(last.len()).filter(|end| *end >= first.len()) else { return false };
        if !equal(first, &text[..first.len()]) || !equal(last, &text[end..]) {
            return false;
        }
        let mut rest = &text[first.len()..end];
        for part in middle {
            // the first place that fits leaves the most for the parts that follow
            let part = part.as_bytes();
            let Some(found) = find(rest, part, &equal) else { return false };
            rest = &rest[found + part.len()..];
        }
        true
    }
}

/// Each character by itself: `str::to_lowercase` looks at what stands beside a sigma, and beside a `*` that is unknown.
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
    const ALLOWED: &'static str = "a list of patterns between commas, in which * stands for any characters";

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
