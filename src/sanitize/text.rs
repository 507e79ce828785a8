//! Free text: labels of span and event fields, messages, log lines, names, header values, strings within JSON.

use std::borrow::Cow;

use memchr::memmem;

use super::{REDACTED, Sanitizer};

/// JSON within a string of JSON, and text within a value of a URL, are searched this many levels deep.
pub(super) const MAX_NESTED: usize = 4;
/// A JSON Web Token has a head and a body of at least this many characters together.
const MIN_JWT: usize = 20;

impl Sanitizer {
    /// Redacts the secrets in a text: user information and secret parameters of URLs, `name: value` and `name=value`
    /// in prose, `Debug` output, JSON and XML, tokens behind `Basic`, `Bearer` and the like, and JSON Web Tokens.
    ///
    /// Text without `:`, `=`, `"` and brackets is only searched for `Basic`, `Bearer` and JSON Web Tokens. The time is
    /// linear in the length, and the result is at most eleven times as long.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.text_at(text, 0)
    }

    /// Like [`text`](Self::text), of a text that is kept where nothing is redacted.
    pub(crate) fn owned_text(&self, text: Cow<'static, str>) -> Cow<'static, str> {
        match self.text(&text) {
            Cow::Owned(clean) => Cow::Owned(clean),
            Cow::Borrowed(_) => text,
        }
    }

    /// `depth` counts the texts around this one.
    pub(super) fn text_at<'a>(&self, text: &'a str, depth: usize) -> Cow<'a, str> {
        if self.is_off() || !may_hold_secret(text) {
            return Cow::Borrowed(text);
        }
        if depth < MAX_NESTED
            && text.trim_ascii_start().starts_with(['{', '[', '"'])
            && let Some(clean) = self.json_text_at(text, depth + 1)
        {
            return if clean == text { Cow::Borrowed(text) } else { Cow::Owned(clean) };
        }
        let clean = self.urls_at(text, depth);
        let clean = then(clean, |text| self.xml(text, false));
        let clean = then(clean, |text| self.pairs(text, depth));
        let clean = then(clean, private_keys);
        then(clean, web_tokens)
    }

    /// Redacts a text that is XML, which may have been cut.
    pub(crate) fn xml_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        then(self.xml(text, true), |text| self.text(text))
    }

    /// Redacts the name of a span or a transaction. Queries and fragments of URLs are dropped: their values would make
    /// a group of names for each request.
    pub(crate) fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        then(without_queries(name), |name| self.text(name))
    }
}

/// Applies a step that may leave the text as it is.
pub(super) fn then<'a>(text: Cow<'a, str>, step: impl for<'b> FnOnce(&'b str) -> Cow<'b, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => step(text),
        Cow::Owned(text) => match step(&text) {
            Cow::Borrowed(_) => Cow::Owned(text),
            Cow::Owned(changed) => Cow::Owned(changed),
        },
    }
}

/// The bytes that [`may_hold_secret`] looks at.
const HINTS: [bool; 256] = {
    let bytes = b":=\"(bBJ-<";
    let mut hints = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        hints[bytes[at] as usize] = true;
        at += 1;
    }
    hints
};

/// Returns false for texts that contain nothing that could precede a secret. This is true for most texts.
pub(super) fn may_hold_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    let begins = |at: usize, word: &str| {
        bytes.get(at..at + word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
    };
    let begins_with_scheme = || {
        matches!(bytes.first(), Some(b't' | b'T' | b'a' | b'A' | b'n' | b'N' | b'd' | b'D'))
            && ["token ", "apikey ", "ntlm ", "negotiate ", "dpop "].iter().any(|word| begins(0, word))
    };
    let is_hint = |(at, byte): (usize, &u8)| match byte {
        b':' | b'=' | b'"' => true,
        b'(' => at > 0 && bytes[at - 1].is_ascii_alphanumeric(),
        b'b' | b'B' => begins(at, "bearer ") || begins(at, "basic "),
        b'J' => bytes[..at].ends_with(b"ey"),
        b'-' => bytes[at..].starts_with(b"--"),
        b'<' => bytes[at..].starts_with(b"</"),
        _ => false,
    };
    // a loop without an early exit takes a third of the time of a loop with one
    let has_hint = bytes.iter().fold(false, |found, byte| found | HINTS[usize::from(*byte)]);
    begins_with_scheme() || has_hint && bytes.iter().enumerate().any(is_hint)
}

/// The lines between `-----BEGIN … PRIVATE KEY-----` and `-----END`, or the end of the text.
fn private_keys(text: &str) -> Cow<'_, str> {
    const HEAD: &str = "PRIVATE KEY-----";
    const LAST: &str = "-----END";
    let mut clean = String::new();
    let mut copied = 0;
    while let Some(head) = text[copied..].find(HEAD) {
        let from = copied + head + HEAD.len();
        let to = text[from..].find(LAST).map_or(text.len(), |end| from + end);
        clean.push_str(&text[copied..from]);
        if to > from {
            clean.push_str(REDACTED);
        }
        // the last line has the same words
        let last = text.get(to + LAST.len()..).and_then(|rest| rest.find("-----"));
        let end = last.map_or(text.len(), |end| to + LAST.len() + end + 5);
        clean.push_str(&text[to..end]);
        copied = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[copied..]);
    Cow::Owned(clean)
}

/// `eyJhbGciOi….eyJzdWIi….c2ln`: JSON in Base64, which begins with `{"`, a dot, and more of it.
fn web_tokens(text: &str) -> Cow<'_, str> {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(byte);
    let bytes = text.as_bytes();
    let mut clean = String::new();
    let mut copied = 0;
    for at in memmem::find_iter(bytes, b"eyJ") {
        if at < copied || at > 0 && bytes[at - 1].is_ascii_alphanumeric() {
            continue;
        }
        let token = &bytes[at..at + bytes[at..].iter().take_while(|byte| is_of_token(byte)).count()];
        if token.len() >= MIN_JWT && token.contains(&b'.') {
            clean.push_str(&text[copied..at]);
            clean.push_str(REDACTED);
            copied = at + token.len();
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[copied..]);
    Cow::Owned(clean)
}

/// Drops the queries of paths and URLs, and fragments that hold parameters. Other `?` and `#` stay.
pub(crate) fn without_queries(name: &str) -> Cow<'_, str> {
    if !name.bytes().any(|byte| matches!(byte, b'?' | b'#')) {
        return Cow::Borrowed(name);
    }
    let is_boundary = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`');
    let mut clean = String::with_capacity(name.len());
    for word in name.split_inclusive(is_boundary) {
        let content = word.strip_suffix(is_boundary).unwrap_or(word);
        let query = content.find(['?', '#']).filter(|at| {
            let (path, query) = content.split_at(*at);
            query.contains('=') || query.starts_with('?') && path.contains('/')
        });
        match query {
            Some(at) => {
                let closes = content.trim_end_matches([')', ']', '}', ',']).len().max(at);
                clean.push_str(&content[..at]);
                clean.push_str(&content[closes..]);
                clean.push_str(&word[content.len()..]);
            }
            None => clean.push_str(word),
        }
    }
    if clean == name { Cow::Borrowed(name) } else { Cow::Owned(clean) }
}
