//! JSON as text, which stays as it was written except for what is secret.

use std::borrow::Cow;

use super::{
    REDACTED, Sanitizer,
    pairs::{NAMING, VALUED},
    text::{MAX_NESTED, may_hold_secret},
};
use crate::record::MAX_CUSTOM_DEPTH;

/// Characters of a key. The index refuses a document with one of more than 50 000.
const MAX_KEY: usize = 1024;
/// What stands in place of an object or array that is too deep.
const TOO_DEEP: &str = "…";

impl Sanitizer {
    /// Redacts JSON text. What is not secret stays as it was written: the order of keys, blanks, and numbers that no
    /// `f64` holds. Strings are redacted like other free text. None if it is not JSON; it may then hold anything, and
    /// must not be sent as it is.
    pub(crate) fn json_text(&self, text: &str) -> Option<String> {
        self.json_text_at(text, 0)
    }

    /// `depth` counts the texts around this one.
    pub(super) fn json_text_at(&self, text: &str, depth: usize) -> Option<String> {
        self.scan(text, depth).filter(|scan| scan.complete).map(|scan| scan.clean)
    }

    /// Redacts text that begins as JSON and was cut somewhere. None if it does not even begin so.
    pub(crate) fn json_prefix(&self, text: &str) -> Option<String> {
        self.scan(text, 0).map(|scan| scan.clean)
    }

    fn scan(&self, text: &str, nested: usize) -> Option<Scan> {
        let clean = String::with_capacity(text.len());
        let mut scanner = Scanner { sanitizer: self, text, nested, at: 0, copied: 0, clean };
        let ended = scanner.document();
        if ended == Err(Stop::NotJson) {
            return None;
        }
        scanner.clean.push_str(&text[scanner.copied..]);
        Some(Scan { clean: scanner.clean, complete: ended.is_ok() })
    }
}

struct Scan {
    clean: String,
    complete: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The text ended within a value.
    Cut,
    NotJson,
}

/// An object that is walked over.
struct Object {
    from: usize,
    /// Whether a member is the name of a secret, once that was asked.
    names_secret: Option<bool>,
}

/// Walks over JSON and copies it, but for what is secret. It checks as much of the grammar as it takes to know which
/// string is a key.
struct Scanner<'a> {
    sanitizer: &'a Sanitizer,
    text: &'a str,
    /// Texts around this one.
    nested: usize,
    at: usize,
    /// Everything before is in `clean`, or left out of it.
    copied: usize,
    clean: String,
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> Result<(), Stop> {
        self.value(1)?;
        match self.peek() {
            Err(Stop::Cut) => Ok(()),
            _ => Err(Stop::NotJson),
        }
    }

    /// The next byte that is not blank; it is not consumed.
    fn peek(&mut self) -> Result<u8, Stop> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied().ok_or(Stop::Cut)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.peek()? != byte {
            return Err(Stop::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        match self.peek()? {
            b'{' | b'[' if depth > MAX_CUSTOM_DEPTH => self.replace(TOO_DEEP),
            b'{' => {
                let mut object = Object { from: self.at, names_secret: None };
                self.members(b'}', |scanner| scanner.member(depth, &mut object))
            }
            b'[' => {
                let (is_pair, mut index) = (self.is_secret_pair(), 0);
                self.members(b']', |scanner| {
                    index += 1;
                    if is_pair && index == 2 { scanner.replace(REDACTED) } else { scanner.value(depth + 1) }
                })
            }
            b'"' => self.string_value(),
            _ => self.scalar(),
        }
    }

    /// What lies between brackets, the first of which is next.
    fn members(&mut self, close: u8, mut member: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Ok(());
        }
        loop {
            member(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Stop::NotJson),
            }
        }
    }

    fn member(&mut self, depth: usize, object: &mut Object) -> Result<(), Stop> {
        if self.peek()? != b'"' {
            return Err(Stop::NotJson);
        }
        let from = self.at;
        let key = unescaped(self.string()?).ok_or(Stop::NotJson)?;
        let secret = self.sanitizer.is_secret(&key) || self.is_named_secret(&key, object);
        if key.char_indices().nth(MAX_KEY).is_some() {
            let short: String = key.chars().take(MAX_KEY - 1).chain(['…']).collect();
            self.clean.push_str(&self.text[self.copied..from]);
            self.clean.push_str(&serde_json::Value::String(short).to_string());
            self.copied = self.at;
        }
        self.expect(b':')?;
        if secret { self.replace(REDACTED) } else { self.value(depth + 1) }
    }

    /// Whether an array begins here that is a secret name and its value: `["password", "…"]`.
    fn is_secret_pair(&self) -> bool {
        let mut ahead = Scanner { at: self.at + 1, clean: String::new(), ..*self };
        if ahead.peek() != Ok(b'"') {
            return false;
        }
        let name = ahead.string().ok().and_then(unescaped);
        if name.is_none_or(|name| !ahead.sanitizer.is_secret(&name)) || ahead.expect(b',').is_err() {
            return false;
        }
        ahead.skip() == Err(Stop::Cut) || matches!(ahead.peek(), Ok(b']') | Err(Stop::Cut))
    }

    /// `{"name": "password", "value": "…"}` in any order.
    fn is_named_secret(&self, key: &str, object: &mut Object) -> bool {
        let is_value = VALUED.iter().any(|value| value.eq_ignore_ascii_case(key));
        is_value && *object.names_secret.get_or_insert_with(|| self.names_secret(object.from))
    }

    /// Whether a member of the object that begins there is the name of a secret.
    fn names_secret(&self, from: usize) -> bool {
        let mut ahead = Scanner { at: from, clean: String::new(), ..*self };
        let mut found = false;
        let _ = ahead.members(b'}', |scanner| {
            scanner.peek()?;
            let key = unescaped(scanner.string()?).ok_or(Stop::NotJson)?;
            scanner.expect(b':')?;
            if scanner.peek()? == b'"' && NAMING.iter().any(|name| name.eq_ignore_ascii_case(&key)) {
                let name = unescaped(scanner.string()?).ok_or(Stop::NotJson)?;
                found |= scanner.sanitizer.is_secret(&name);
                return Ok(());
            }
            scanner.skip()
        });
        found
    }

    /// Leaves the next value out and puts a string in its place, even if the text ends within the value.
    fn replace(&mut self, with: &str) -> Result<(), Stop> {
        self.peek()?;
        self.clean.push_str(&self.text[self.copied..self.at]);
        self.clean.push('"');
        self.clean.push_str(with);
        self.clean.push('"');
        self.copied = self.text.len();
        self.skip()?;
        self.copied = self.at;
        Ok(())
    }

    /// Goes over a value of any depth without recursion.
    fn skip(&mut self) -> Result<(), Stop> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' | b',' | b':' if open == 0 => return Err(Stop::NotJson),
                b'}' | b']' => {
                    open -= 1;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => self.scalar()?,
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn string_value(&mut self) -> Result<(), Stop> {
        let from = self.at;
        let raw = match self.string() {
            Err(Stop::Cut) => {
                self.cut_string(from);
                return Err(Stop::Cut);
            }
            raw => raw?,
        };
        if raw.contains('\\') || may_hold_secret(&raw[1..raw.len() - 1]) {
            let text = unescaped(raw).ok_or(Stop::NotJson)?;
            if let Cow::Owned(clean) = self.sanitizer.text_at(&text, self.nested) {
                self.clean.push_str(&self.text[self.copied..from]);
                self.clean.push_str(&serde_json::Value::String(clean).to_string());
                self.copied = self.at;
            }
        }
        Ok(())
    }

    /// The text ends in this string: the last word of it may be half a URL, which shows half a secret.
    fn cut_string(&mut self, from: usize) {
        let raw = &self.text[from + 1..];
        let escaped = raw.contains(r"\/") || raw.contains(r"\u");
        if escaped || may_hold_secret(raw) || raw.contains('?') {
            let is_url = raw.contains("//") || raw.contains('?');
            let blank = raw.char_indices().rfind(|(_, character)| character.is_whitespace()).filter(|_| !escaped);
            let whole_words = match blank {
                _ if !escaped && !is_url => raw,
                Some((at, blank)) => &raw[..at + blank.len_utf8()],
                None => "",
            };
            self.clean.push_str(&self.text[self.copied..=from]);
            self.clean.push_str(&self.sanitizer.text_at(whole_words, MAX_NESTED));
            self.clean.push('…');
            self.copied = self.text.len();
        }
    }

    /// A string with its quotes, as it is written.
    fn string(&mut self) -> Result<&'a str, Stop> {
        let from = self.at;
        let mut bytes = self.text.as_bytes()[from..].iter().enumerate().skip(1);
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.at = from + index + 1;
                    return Ok(&self.text[from..self.at]);
                }
                b'\\' => drop(bytes.next()),
                0..b' ' => return Err(Stop::NotJson),
                _ => {}
            }
        }
        self.at = self.text.len();
        Err(Stop::Cut)
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<(), Stop> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        let word = &rest[..length];
        self.at += length;
        let cut = self.at == self.text.len();
        match serde_json::from_str::<serde::de::IgnoredAny>(word) {
            Ok(_) => Ok(()),
            Err(_) if cut && ["true", "false", "null"].iter().any(|name| name.starts_with(word)) => Err(Stop::Cut),
            Err(_) if cut && word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => Err(Stop::Cut),
            Err(_) => Err(Stop::NotJson),
        }
    }
}

/// A string as it is meant. None if its escapes are none.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.get(1..raw.len().checked_sub(1)?)?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
