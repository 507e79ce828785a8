//! The limits of fields, in characters. The server rejects an event with a keyword that is too long.

use std::{borrow::Cow, fmt};

use arrayvec::ArrayString;
use serde::{Serialize, Serializer};

use crate::sanitize::Sanitizer;

/// The maximum number of bytes of a text in pieces.
const MAX_JOINED: usize = 1024;

/// Text in one piece, or in pieces that are joined when the text is written.
#[derive(Clone)]
pub(crate) enum Text<'a> {
    One(Cow<'a, str>),
    Joined([Cow<'a, str>; 6]),
}

impl Text<'_> {
    pub(crate) fn is(&self, other: &str) -> bool {
        match self {
            Text::One(text) => text == other,
            Text::Joined(parts) => {
                let rest = parts.iter().try_fold(other, |rest, part| rest.strip_prefix(&**part));
                rest.is_some_and(str::is_empty)
            }
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Text::One(text) => serializer.serialize_str(text),
            Text::Joined(parts) => {
                // they fit, or they would have been cut; a `Display` costs more than the copy
                let mut text = ArrayString::<MAX_JOINED>::new();
                match parts.iter().try_for_each(|part| text.try_push_str(part)) {
                    Ok(()) => serializer.serialize_str(&text),
                    Err(_) => serializer.collect_str(self),
                }
            }
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::One(text) => f.write_str(text),
            Text::Joined(parts) => parts.iter().filter(|part| !part.is_empty()).try_for_each(|part| f.write_str(part)),
        }
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Text::One(text)
    }
}

/// Indexed text.
pub(crate) const KEYWORD: usize = 1024;

/// `service.target` within the statistics of dropped spans.
const SHORT_KEYWORD: usize = 512;

/// At most 512 characters, the last of them `…` where something was cut.
pub(crate) fn short_keyword<'a>(text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    cut(text.into(), SHORT_KEYWORD)
}

/// At most 1024 characters, the last of them `…` where something was cut.
pub(crate) fn keyword<'a>(text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    cut(text.into(), KEYWORD)
}

/// Bodies, statements and messages: at most `long_field_max_length` characters, the last of them `…` where something was
/// cut.
pub(crate) fn long<'a>(text: impl Into<Cow<'a, str>>, sanitizer: &Sanitizer) -> Cow<'a, str> {
    cut(text.into(), sanitizer.max_characters())
}

/// Free text as a keyword: secrets are redacted before it is cut.
pub(crate) fn free_keyword<'a>(text: impl Into<Cow<'a, str>>, sanitizer: &Sanitizer) -> Cow<'a, str> {
    keyword(map_text(text.into(), |text| sanitizer.text(text)))
}

/// Free text that may be long: secrets are redacted before it is cut.
pub(crate) fn free_text<'a>(text: impl Into<Cow<'a, str>>, sanitizer: &Sanitizer) -> Cow<'a, str> {
    long(map_text(text.into(), |text| sanitizer.text(text)), sanitizer)
}

/// The name of a span or of a transaction, without queries and secrets.
pub(crate) fn name_keyword<'a>(name: impl Into<Cow<'a, str>>, sanitizer: &Sanitizer) -> Cow<'a, str> {
    keyword(map_text(name.into(), |name| sanitizer.name(name)))
}

/// At most 1024 characters, copied never: what the system made is shorter.
pub(crate) fn prefix(text: &str) -> &str {
    text.char_indices().nth(KEYWORD).map_or(text, |(end, _)| &text[..end])
}

/// The parts, one behind the other, as a keyword; copied only when it must be cut.
pub(crate) fn joined(parts: [Cow<'_, str>; 6]) -> Text<'_> {
    if parts.iter().map(|part| part.len()).sum::<usize>() <= KEYWORD {
        return Text::Joined(parts);
    }
    Text::One(keyword(Text::Joined(parts).to_string()))
}

/// At most so many characters, the last of them `…` where something was cut.
pub(crate) fn cut(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit || text.char_indices().nth(limit).is_none() {
        return text;
    }
    let end = text.char_indices().nth(limit - 1).map_or(0, |(at, _)| at);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// Applies a function that may leave borrowed text as it is.
pub(crate) fn map_text<'a>(text: Cow<'a, str>, f: impl for<'b> Fn(&'b str) -> Cow<'b, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => f(text),
        Cow::Owned(text) => Cow::Owned(f(&text).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: field-limits.md
    #[test]
    fn truncation_counts_characters() {
        for (text, characters) in [("a".repeat(1024), 1024), ("ä".repeat(1024), 1024), ("a".repeat(1025), 1024)] {
            assert_eq!(keyword(&text[..]).chars().count(), characters);
        }
        assert!(matches!(keyword("short"), Cow::Borrowed("short")));
        let cut = keyword("ä".repeat(2000));
        assert_eq!(cut.chars().count(), 1024);
        assert!(cut.ends_with("ä…"));
        assert_eq!(long("x".repeat(10_001), &Sanitizer::default()).chars().count(), 10_000);
    }

    #[test]
    fn truncated_wide_characters_end_with_an_ellipsis() {
        for wide in ["\u{1f680}", "\u{20ac}", "ä", "a\u{1f680}"] {
            let sent = keyword(crate::record::cut(Cow::Owned(wide.repeat(5000))));
            assert_eq!(sent.chars().count(), 1024, "{wide}");
            assert!(sent.ends_with('…'), "{wide}");
        }
        let whole = "\u{1f680}".repeat(1024);
        assert_eq!(keyword(crate::record::cut(Cow::Owned(whole.clone()))), whole);
    }

    #[test]
    fn joined_parts_share_one_limit() {
        let parts = |path: String| ["http".into(), "://".into(), "h".into(), Cow::Owned(path), "".into(), "".into()];
        assert_eq!(joined(parts("/a".into())).to_string(), "http://h/a");
        let long = joined(parts("a".repeat(1024))).to_string();
        assert_eq!(long.chars().count(), 1024);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn joined_text_equals_the_same_text_in_one_piece() {
        let parts = || Text::Joined(["GET".into(), " ".into(), "h:1".into(), "".into(), "".into(), "".into()]);
        assert!(parts().is("GET h:1") && Text::One("GET h:1".into()).is("GET h:1"));
        for other in ["GET h:", "GET h:12", "", "ET h:1"] {
            assert!(!parts().is(other) && !Text::One("GET h:1".into()).is(other), "{other}");
        }
    }
}
