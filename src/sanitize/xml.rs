//! XML, as a body or within a text: elements with secret names, and elements that name what another one holds.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::{REDACTED, Sanitizer, pairs::NAMING};

/// The most elements that are searched in a text that is not XML. The rest of the text is not searched.
const MAX_OPEN: usize = 32;
/// Bytes of an element that holds a name, its end tag included.
const MAX_NAMING: usize = 256;

impl Sanitizer {
    /// Redacts XML: the content of `<password>…</password>`, of `<field name="password">…</field>`, and of the element
    /// behind `<name>password</name>`. Attributes are redacted like other pairs of free text. `is_xml` is false for a
    /// text that may be anything; a text that is XML may be cut, and an element without an end goes on to its end.
    pub(super) fn xml<'a>(&self, text: &'a str, is_xml: bool) -> Cow<'a, str> {
        if memmem::find(text.as_bytes(), b"</").is_none() && !is_xml {
            return Cow::Borrowed(text);
        }
        let mut clean = String::new();
        let (mut copied, mut at, mut open) = (0, 0, 0);
        let mut is_named = false;
        while let Some(found) = memchr(b'<', &text.as_bytes()[at..]) {
            let Some(element) = Element::at(text, at + found) else {
                at += found + 1;
                continue;
            };
            at = element.content;
            let is_secret =
                !element.is_empty && (is_named || self.is_secret(element.name) || self.is_about_secret(element.head));
            let is_naming = !element.is_empty && NAMING.contains(&element.name);
            is_named = false;
            if !is_secret && !is_naming {
                continue;
            }
            let window = if is_secret { text.len() } else { text.len().min(at + MAX_NAMING) };
            let end =
                memmem::find(&text.as_bytes()[at..window], element.end_tag().as_bytes()).map(|length| at + length);
            let end = match end {
                Some(end) => end,
                None if !is_secret => continue,
                None if is_xml => text.len(),
                None => {
                    open += 1;
                    if open == MAX_OPEN {
                        break;
                    }
                    continue;
                }
            };
            let content = text[at..end].trim();
            if is_naming && !content.contains('<') && self.is_secret(content) {
                is_named = true;
            } else if is_secret && !content.is_empty() && content != REDACTED {
                clean.push_str(&text[copied..at]);
                clean.push_str(REDACTED);
                copied = end;
                at = end;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        clean.push_str(&text[copied..]);
        Cow::Owned(clean)
    }

    /// An attribute names a secret: `name="password"`.
    fn is_about_secret(&self, head: &str) -> bool {
        head.split(['"', '\'']).collect::<Vec<_>>().chunks(2).any(|pair| match pair {
            [name, value] => {
                let name = name.trim().trim_end_matches('=').trim_end();
                NAMING.contains(&name) && self.is_secret(value)
            }
            _ => false,
        })
    }
}

/// The tag that begins an element.
struct Element<'a> {
    prefixed: &'a str,
    /// Without the prefix of its namespace.
    name: &'a str,
    /// The attributes.
    head: &'a str,
    /// Where the tag ends.
    content: usize,
    /// `<a/>`
    is_empty: bool,
}

impl<'a> Element<'a> {
    fn at(text: &'a str, open: usize) -> Option<Self> {
        let rest = &text[open + 1..];
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte);
        let length = rest.bytes().take_while(|byte| is_of_name(byte)).count();
        let prefixed = &rest[..length];
        let name = prefixed.rsplit(':').next().unwrap_or(prefixed);
        if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return None;
        }
        let tag = rest.find(['<', '>']).filter(|end| rest.as_bytes()[*end] == b'>')?;
        let head = &rest[length..tag];
        Some(Self { prefixed, name, head, content: open + 1 + tag + 1, is_empty: head.ends_with('/') })
    }

    fn end_tag(&self) -> String {
        format!("</{}", self.prefixed)
    }
}
