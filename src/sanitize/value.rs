//! Where a value in free text ends: a literal, something in brackets, or a word.

use memchr::memchr_iter;

/// Bytes of a name in front of a value, and of a type in front of a bracket.
pub(super) const MAX_NAME: usize = 128;

/// A value, as the bytes that are secret and the place behind the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Between quotes, which stay.
    Literal { from: usize, to: usize, end: usize },
    /// `[…]`, `{…}`, `(…)` or `Some(…)`; all of it is secret.
    Bracket { from: usize, end: usize },
    /// Up to a blank or a delimiter.
    Word { from: usize, end: usize },
}

/// Reads values out of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    text: &'a str,
}

impl<'a> Values<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text }
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// The value that begins here. `level` is the number of backslashes before a quote of the text around it, and
    /// `separator` the byte in front of it.
    pub(super) fn value(&self, at: usize, level: usize, separator: u8) -> Value {
        self.literal(at)
            .or_else(|| self.bracket(at, level))
            .unwrap_or_else(|| Value::Word { from: at, end: self.word(at, separator) })
    }

    /// `"…"`, `'…'`, `b"…"`, `r#"…"#` or `\"…\"`.
    pub(super) fn literal(&self, at: usize) -> Option<Value> {
        let prefix = (at..at + 4).take_while(|at| b"&brc#".contains(&self.byte(*at))).count();
        let backslashes = self.backslashes_from(at + prefix);
        let open = at + prefix + backslashes;
        let quote = self.byte(open);
        if !b"\"'`".contains(&quote) {
            return None;
        }
        let from = open + 1;
        let (to, end) = match self.closing_quote(from, quote, backslashes) {
            Some(place) => place,
            // the text was cut within the value
            None if quote == b'"' => (self.text.len(), self.text.len()),
            None => return None,
        };
        Some(Value::Literal { from, to, end })
    }

    pub(super) fn backslashes_from(&self, at: usize) -> usize {
        self.text.as_bytes().get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b'\\').count()
    }

    pub(super) fn backslashes_before(&self, at: usize, from: usize) -> usize {
        self.text.as_bytes()[from..at].iter().rev().take_while(|byte| **byte == b'\\').count()
    }

    /// The end of what is between quotes, and the place behind the closing one. A quote that is escaped one level deeper
    /// has more backslashes, the quote of a text around it has fewer.
    pub(super) fn closing_quote(&self, from: usize, quote: u8, level: usize) -> Option<(usize, usize)> {
        for found in memchr_iter(quote, &self.text.as_bytes()[from..]) {
            let at = from + found;
            let run = self.backslashes_before(at, from);
            if run < level {
                return Some((at - run, at - run));
            }
            if run % (2 * (level + 1)) == level {
                return Some((at - level, at + 1));
            }
        }
        None
    }

    /// `{…}`, or a type and its content: `Some(…)`, `Secret<str>(…)`, `Header { … }`.
    fn bracket(&self, at: usize, level: usize) -> Option<Value> {
        let head = at + usize::from(self.byte(at) == b'&');
        let is_of_type = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        let mut open = head + (0..MAX_NAME).take_while(|step| is_of_type(self.byte(head + step))).count();
        if open > head && self.byte(open) == b'<' {
            let rest = &self.text.as_bytes()[open..];
            open += rest.iter().take(MAX_NAME).position(|byte| b"({ ".contains(byte)).unwrap_or(0);
        }
        if open > head && self.byte(open) == b' ' && self.byte(open + 1) == b'{' {
            open += 1;
        }
        b"([{".contains(&self.byte(open)).then(|| Value::Bracket { from: at, end: self.closing_bracket(open, level) })
    }

    /// The place behind the bracket that closes the one here; the end of the text if it was cut.
    pub(super) fn closing_bracket(&self, open: usize, level: usize) -> usize {
        let (bytes, mut depth, mut at) = (self.text.as_bytes(), 0_usize, open);
        while at < bytes.len() {
            match bytes[at] {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return at + 1;
                    }
                }
                // a bracket as a character
                b'\'' if self.byte(at + 2) == b'\'' => at += 2,
                b'"' => {
                    let backslashes = self.backslashes_before(at, open);
                    if backslashes < level {
                        // the text around it ends here
                        return at - backslashes;
                    }
                    match self.closing_quote(at + 1, b'"', backslashes) {
                        Some((_, end)) => at = end.max(at + 1) - 1,
                        None => return bytes.len(),
                    }
                }
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }

    /// The end of a word. A delimiter within it that no blank and no further name follows may be part of the secret.
    pub(super) fn word(&self, from: usize, separator: u8) -> usize {
        let (bytes, mut depth, mut at) = (self.text.as_bytes(), 0_usize, from);
        while at < bytes.len() {
            match bytes[at] {
                b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'`' => break,
                b'<' | b'>' if at > from && separator == b'=' => break,
                b'\\' if b"\"'`nrt\\".contains(&self.byte(at + 1)) => break,
                b'\'' if !self.byte(at + 1).is_ascii_alphanumeric() => break,
                b'&' if separator == b'=' || self.is_name_with(at + 1, b"=") => break,
                b',' | b';' if self.is_end(at + 1) => break,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' if depth > 0 => depth -= 1,
                b')' | b']' | b'}' if !self.byte(at + 1).is_ascii_alphanumeric() => break,
                _ => {}
            }
            at += 1;
        }
        let trimmed = self.text[from..at].trim_end_matches(['.', ',', ';', ':']);
        if trimmed.is_empty() { at } else { from + trimmed.len() }
    }

    fn is_end(&self, at: usize) -> bool {
        let next = self.byte(at);
        at >= self.text.len()
            || next.is_ascii_whitespace()
            || b"\"'`\\)]},;".contains(&next)
            || self.is_name_with(at, b"=:")
    }

    fn is_name_with(&self, at: usize, separators: &[u8]) -> bool {
        let length = (0..64).take_while(|step| is_of_name(self.byte(at + step))).count();
        length > 0 && separators.contains(&self.byte(at + length))
    }

    /// The end of the line, or of the literal or bracket that the line is in: for headers with several values.
    pub(super) fn line(&self, from: usize) -> usize {
        let (bytes, mut depth, mut at) = (self.text.as_bytes(), 0_usize, from);
        while at < bytes.len() {
            match bytes[at] {
                b'\n' | b'\r' | b'`' => break,
                b'\\' if b"nr".contains(&self.byte(at + 1)) => break,
                b'"' => {
                    let backslashes = self.backslashes_before(at, from);
                    // a value in quotes belongs to the line
                    if self.byte((at - backslashes).wrapping_sub(1)) != b'=' || at - backslashes == from {
                        at -= backslashes;
                        break;
                    }
                    match self.closing_quote(at + 1, b'"', backslashes) {
                        Some((_, end)) => at = end.max(at + 1) - 1,
                        None => at = bytes.len() - 1,
                    }
                }
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' if depth > 0 => depth -= 1,
                b')' | b']' | b'}' if !self.byte(at + 1).is_ascii_alphanumeric() => break,
                _ => {}
            }
            at += 1;
        }
        from + self.text[from..at.max(from)].trim_end().len()
    }
}

/// A character of a name that is not in quotes.
pub(super) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.%[]$@".contains(&byte)
}
