//! Names with values in free text: `name: value`, `name=value`, `"name": "value"`, `("name", "value")`, `Name("value")`,
//! `name: "password", value: "…"`, and tokens behind an authentication scheme.

use std::borrow::Cow;

use memchr::memmem;
use percent_encoding::percent_decode_str;

use super::{
    REDACTED, Sanitizer,
    value::{MAX_NAME, Value, Values, is_of_name},
    words::{self, MAX_SCHEME, Scheme},
};

/// Names whose values are names, and names of the values that belong to those.
pub(super) const NAMING: [&str; 11] =
    ["name", "key", "field", "header", "param", "parameter", "attribute", "id", "label", "type", "k"];
pub(super) const VALUED: [&str; 6] = ["value", "val", "content", "data", "values", "v"];
/// Names of numbers that are secret. Behind other names `:8080` is a port.
const SHORT_NUMBERS: [&str; 8] = ["pin", "otp", "totp", "cvv", "cvc", "ssn", "pw", "pwd"];
/// Words that make one name with the word in front of them: `session id: …`.
const SECOND_WORDS: [&str; 7] = ["id", "number", "no", "value", "code", "hash", "string"];
/// Blanks between a name and its separator.
const MAX_BLANKS: usize = 32;
/// Bytes of the headers between `name="password"` and the value in a multipart body.
const MAX_PART_HEAD: usize = 512;
/// The bytes at which a pair may be.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut index = 0;
    while index < 6 {
        stops[b":=\"( -"[index] as usize] = true;
        index += 1;
    }
    stops
};

impl Sanitizer {
    /// Redacts the values of secret names in free text. `depth` counts the texts around this one.
    pub(super) fn pairs<'a>(&self, text: &'a str, depth: usize) -> Cow<'a, str> {
        let values = Values::new(text);
        let mut pairs = Pairs { sanitizer: self, text, values, depth, copied: 0, decoded: 0, clean: String::new() };
        let mut at = 0;
        while let Some(found) = text.as_bytes()[at..].iter().position(|byte| STOPS[usize::from(*byte)]) {
            let place = at + found;
            at = pairs.look_at(place).max(place + 1);
        }
        if pairs.copied == 0 {
            return Cow::Borrowed(text);
        }
        pairs.clean.push_str(&text[pairs.copied..]);
        Cow::Owned(pairs.clean)
    }
}

struct Pairs<'s, 'a> {
    sanitizer: &'s Sanitizer,
    text: &'a str,
    values: Values<'a>,
    /// Texts around this one.
    depth: usize,
    /// Everything before was searched for percent-encoded values.
    decoded: usize,
    /// Everything before is in `clean`, or left out of it.
    copied: usize,
    clean: String,
}

/// A name in front of a separator.
struct Named<'a> {
    name: Cow<'a, str>,
    /// The place of the name, or of the quote before it.
    from: usize,
    /// The quote around the name, with its backslashes.
    quote: Option<&'a str>,
}

impl<'a> Pairs<'_, 'a> {
    /// Looks at a byte that may be part of a pair. Returns where to go on.
    fn look_at(&mut self, at: usize) -> usize {
        match self.values.byte(at) {
            b':' | b'=' => self.separator(at),
            b'"' => self.tuple(at),
            b'(' => self.new_type(at),
            b'-' => self.flag(at),
            _ => self.scheme(at),
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        // `x-id: 1`; a lone `-` or `.` is none
        let name = name.trim_start_matches(['-', '.', '$', '@', '%']);
        !name.is_empty() && (self.sanitizer.is_secret(name) || name.eq_ignore_ascii_case("bearer"))
    }

    /// Puts `[REDACTED]` in place of a part.
    fn redact(&mut self, from: usize, to: usize, quote: &str) {
        self.clean.push_str(&self.text[self.copied..from]);
        self.clean.extend([quote, REDACTED, quote]);
        self.copied = to;
    }

    fn separator(&mut self, at: usize) -> usize {
        let byte = self.values.byte(at);
        let next = self.values.byte(at + 1);
        let behind = match (byte, next) {
            // a path of Rust, and the scheme of a URL
            (b':', b':') => return at + 2,
            (b':', b'/') if self.values.byte(at + 2) == b'/' => return at + 3,
            (b':', b'=') | (b'=', b'=' | b'>' | b'~') => at + 2,
            _ => at + 1,
        };
        let Some(named) = self.name_before(at) else { return behind };
        if let Some(end) = self.cookie(&named).or_else(|| self.named_value(&named, behind)) {
            return end;
        }
        let is_secret = match self.is_secret(&named.name) {
            secret if secret || named.quote.is_some() => secret,
            _ => self.is_secret_with_word_before(&named),
        };
        match is_secret {
            true => self.value(behind, byte, &named),
            false if byte == b'=' && at >= self.decoded => self.encoded_value(behind),
            false => behind,
        }
    }

    /// `next=%2Flogin%3Ftoken%3D…`
    fn encoded_value(&mut self, from: usize) -> usize {
        let end = self.values.word(from, b'=');
        self.decoded = end;
        let word = &self.text[from..end];
        let clean = if word.contains('%') { self.sanitizer.query_value(word, self.depth) } else { None };
        let Some(clean) = clean else { return from };
        self.clean.push_str(&self.text[self.copied..from]);
        self.clean.push_str(&clean);
        self.copied = end;
        end
    }

    /// The name that ends here, in quotes or not.
    fn name_before(&self, separator: usize) -> Option<Named<'a>> {
        let bytes = self.text.as_bytes();
        let blanks = bytes[..separator].iter().rev().take(MAX_BLANKS).take_while(|byte| byte.is_ascii_whitespace());
        let mut end = separator - blanks.count();
        // `headers["password"] = "…"`, `password != "…"`, `password?: string`
        while end > 0 && b"])!? ".contains(&bytes[end - 1]) {
            let rest = &bytes[..end - 1];
            match bytes[end - 1] {
                b')' => return self.names_in_brackets(end - 1),
                b']' if rest.last().is_none_or(|byte| !b"\"'".contains(byte)) => break,
                _ => end -= 1,
            }
        }
        let quote = *bytes[..end].last()?;
        if b"\"'`".contains(&quote) {
            let backslashes = self.values.backslashes_before(end - 1, 0).min(end - 1);
            let close = end - 1 - backslashes;
            let head = &bytes[close.saturating_sub(MAX_NAME)..close];
            let open = close - head.iter().rev().position(|byte| *byte == quote)?;
            let name = self.text.get(open..close)?;
            if name.contains('\n') {
                return None;
            }
            let from = open - 1 - self.values.backslashes_before(open - 1, 0).min(backslashes);
            return Some(Named { name: unescaped(name), from, quote: Some(&self.text[close..end]) });
        }
        let length = bytes[..end].iter().rev().take(MAX_NAME).take_while(|byte| is_of_name(**byte)).count();
        let from = end - length;
        let name = &self.text[from..end];
        (!name.is_empty()).then(|| Named { name: decoded(name), from, quote: None })
    }

    /// PostgreSQL's `Key (token, id)=(…, 42)`: one that is secret.
    fn names_in_brackets(&self, close: usize) -> Option<Named<'a>> {
        let head = &self.text.as_bytes()[close.saturating_sub(MAX_NAME)..close];
        let from = close - head.iter().rev().position(|byte| *byte == b'(')?;
        let mut names = self.text.get(from..close)?.split(',').map(str::trim);
        let name = names.find(|name| self.is_secret(name))?;
        Some(Named { name: name.into(), from, quote: None })
    }

    /// `card number: …`, `session id: …`
    fn is_secret_with_word_before(&self, named: &Named<'_>) -> bool {
        if !SECOND_WORDS.iter().any(|word| word.eq_ignore_ascii_case(&named.name)) {
            return false;
        }
        let Some(before) = self.text[..named.from].strip_suffix(' ') else { return false };
        let word = before.as_bytes().iter().rev().take(MAX_NAME).take_while(|byte| byte.is_ascii_alphanumeric());
        let word = &before[before.len() - word.count()..];
        !word.is_empty() && self.is_secret(&format!("{word}_{}", named.name))
    }

    /// Redacts the value of a secret name.
    fn value(&mut self, behind: usize, separator: u8, named: &Named<'_>) -> usize {
        let at = self.skip_blanks(behind, named.quote.is_some());
        let level = named.quote.map_or(0, |quote| quote.len() - 1);
        match self.values.value(at, level, separator) {
            Value::Literal { from, to, end } => self.literal(from, to, end),
            Value::Bracket { from, end } => {
                let content = &self.text[from..end];
                if content != REDACTED && !words::is_no_value(content) {
                    self.redact(from, end, named.quote.unwrap_or_default());
                }
                end
            }
            Value::Word { from, end } => self.word(from, end, behind, separator, named),
        }
    }

    fn skip_blanks(&self, at: usize, lines: bool) -> usize {
        let rest = &self.text.as_bytes()[at..];
        let is_blank = |byte: &&u8| b" \t".contains(*byte) || lines && b"\r\n".contains(*byte);
        at + rest.iter().take_while(is_blank).count()
    }

    fn literal(&mut self, from: usize, to: usize, end: usize) -> usize {
        let content = &self.text[from..to];
        if !content.is_empty() && content != REDACTED && !words::is_no_value(content) {
            self.redact(from, to, "");
        }
        end
    }

    fn word(&mut self, from: usize, end: usize, behind: usize, separator: u8, named: &Named<'_>) -> usize {
        let word = &self.text[from..end];
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        if word.is_empty() || word.starts_with(REDACTED) || words::is_no_value(word) {
            return end;
        }
        if separator == b':' && from == behind && named.quote.is_none() && is_number && word.len() <= 5 {
            let is_short = SHORT_NUMBERS.iter().any(|known| named.name.to_ascii_lowercase().ends_with(known));
            if !is_short {
                return end;
            }
        }
        if words::is_about_value(word) {
            return self.literals_of_line(end);
        }
        let end = match words::scheme(word) {
            _ if self.has_long_value(&named.name, separator) => self.values.line(from),
            Some(Scheme::Parameters) => self.values.line(from),
            Some(_) if self.values.byte(end) == b' ' => self.values.word(end + 1, separator),
            _ => end,
        };
        let end = end.max(from + word.len());
        self.redact(from, end, named.quote.unwrap_or_default());
        end
    }

    /// Headers with blanks in their values, and phrases.
    fn has_long_value(&self, name: &str, separator: u8) -> bool {
        let name = name.to_ascii_lowercase();
        name.contains("cookie")
            || name.contains("phrase")
            || name.contains("mnemonic")
            || separator == b':' && name.ends_with("authorization")
    }

    /// `password: invalid type: string "hunter2", expected …`: what a sentence about a value quotes may be the value.
    fn literals_of_line(&mut self, from: usize) -> usize {
        let line = from + self.text.as_bytes()[from..].iter().take_while(|byte| **byte != b'\n').count();
        let mut at = from;
        while at < line {
            let found = self.text.as_bytes()[at..line].iter().position(|byte| b"\"`".contains(byte));
            let Some(found) = found else { return line };
            let backslashes = self.values.backslashes_before(at + found, from);
            match self.values.literal(at + found - backslashes) {
                Some(Value::Literal { from, to, end }) => at = self.literal(from, to, end).max(at + found + 1),
                _ => at += found + 1,
            }
        }
        at
    }

    /// `Cookie { cookie_string: Some("id=…"), … }`: the `Debug` output of the crate `cookie`, redacted as a whole.
    fn cookie(&mut self, named: &Named<'_>) -> Option<usize> {
        let before = self.text[..named.from].trim_ascii_end();
        if named.name != "cookie_string" || !before.ends_with("Cookie {") || before.len() < self.copied {
            return None;
        }
        let end = self.values.closing_bracket(before.len() - 1, 0);
        let content = &self.text[before.len()..end];
        self.redact(before.len(), before.len() + content.strip_suffix('}').unwrap_or(content).len(), "");
        Some(end)
    }

    /// `name: "password", value: "…"`, and `name="password"` of a multipart body with the value behind an empty line.
    fn named_value(&mut self, named: &Named<'_>, behind: usize) -> Option<usize> {
        if !NAMING.iter().any(|name| named.name.eq_ignore_ascii_case(name)) {
            return None;
        }
        let Value::Literal { from, to, end } = self.values.literal(self.skip_blanks(behind, true))? else {
            return None;
        };
        let name = self.text.get(from..to).filter(|name| name.len() <= MAX_NAME)?;
        if !self.is_secret(name) {
            return None;
        }
        let head = &self.text.as_bytes()[named.from.saturating_sub(MAX_NAME)..named.from];
        if memmem::find(head, b"form-data").is_some()
            && let Some((from, to)) = self.part_of_body(end)
        {
            self.redact(from, to, "");
            return Some(to);
        }
        let rest = &self.text[end..];
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',', '\\']);
        let valued = rest.trim_start_matches(['"', '\'']);
        let length = valued.bytes().take_while(|byte| is_of_name(*byte)).count();
        let known = valued.get(..length)?;
        if !VALUED.iter().any(|value| value.eq_ignore_ascii_case(known)) {
            return None;
        }
        let behind = valued[length..].trim_start_matches(['\\', '"', '\'', ' ']);
        let separator = behind.bytes().next().filter(|byte| b":=".contains(byte))?;
        let place = self.text.len() - behind.len() + 1;
        Some(self.value(place, separator, named))
    }

    /// The body of a part whose header ends in front of `at`.
    fn part_of_body(&self, at: usize) -> Option<(usize, usize)> {
        let rest = &self.text[at..];
        let head = rest.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_PART_HEAD).last()?;
        let blank_lines = ["\r\n\r\n", "\n\n", "\\r\\n\\r\\n", "\\n\\n"];
        let found = blank_lines.iter().filter_map(|blank| Some(rest[..head].find(blank)? + blank.len())).min()?;
        let body = &rest[found..];
        let ends = ["\r\n--", "\n--", "\\r\\n--", "\\n--"];
        let end = ends.iter().filter_map(|end| body.find(end)).min().unwrap_or(body.len());
        (end > 0 && &body[..end] != REDACTED).then_some((at + found, at + found + end))
    }

    /// `("password", "…")`, `["password", "…"]`, `"--password", "…"`: the quote that is here begins the name.
    fn tuple(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let level = self.values.backslashes_before(at, self.copied);
        let next = self.values.byte(at + 1);
        if !(next.is_ascii_alphanumeric() || b"-_".contains(&next)) {
            return at + 1;
        }
        let length = (0..MAX_NAME).take_while(|step| is_of_name(self.values.byte(at + 1 + step))).count();
        let close = at + 1 + length + level;
        if self.values.byte(close) != b'"' || !self.is_secret(&self.text[at + 1..at + 1 + length]) {
            return at + 1;
        }
        let before =
            bytes[self.copied..at - level].iter().rev().find(|byte| !byte.is_ascii_whitespace() && **byte != b'b');
        let opener = before.copied().filter(|byte| b"([".contains(byte));
        let mut value_at = self.skip_blanks(close + 1, true);
        match self.values.byte(value_at) {
            b',' if opener.is_some() || next == b'-' => value_at = self.skip_blanks(value_at + 1, true),
            b'"' if next == b'-' && level == 0 => {}
            _ => return at + 1,
        }
        match self.values.value(value_at, level, b',') {
            Value::Literal { from, to, end } => {
                let behind = self.text[end..].trim_start().trim_start_matches(',').trim_start();
                // a list of names has more elements than two
                if next != b'-' && opener == Some(b'[') && !behind.is_empty() && !behind.starts_with([']', ')']) {
                    return at + 1;
                }
                self.literal(from, to, end)
            }
            Value::Bracket { from, end } => {
                if &self.text[from..end] != REDACTED {
                    self.redact(from, end, "");
                }
                end
            }
            Value::Word { from, end } => {
                let word = &self.text[from..end];
                if opener == Some(b'(') && !word.is_empty() && !words::is_no_value(word) {
                    self.redact(from, end, "");
                }
                end
            }
        }
    }

    /// `Password("…")`: a type with a secret name, but no error.
    fn new_type(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let length = bytes[..at].iter().rev().take(64).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let name = &self.text[at - length..at];
        let is_error = ["Error", "Err", "Kind", "Exception"].iter().any(|end| name.ends_with(end))
            || ["Unauthorized", "Unauthenticated", "Author", "Key"].contains(&name);
        if !name.starts_with(|first: char| first.is_ascii_uppercase()) || is_error {
            return at + 1;
        }
        let is_scheme = ["Bearer", "Basic", "Digest"].contains(&name);
        if !is_scheme && !self.is_secret(name) {
            return at + 1;
        }
        let end = self.values.closing_bracket(at, 0);
        let content = &self.text[at + 1..end];
        let content = content.strip_suffix(')').unwrap_or(content);
        if content == REDACTED || words::is_no_value(content) {
            return end;
        }
        self.redact(at + 1, at + 1 + content.len(), "");
        end
    }

    /// `--password hunter2`
    fn flag(&mut self, at: usize) -> usize {
        let is_first = at == 0 || b" \"'[".contains(&self.values.byte(at - 1));
        if !is_first || self.values.byte(at + 1) != b'-' {
            return at + 1;
        }
        let length = (0..MAX_NAME).take_while(|step| is_of_name(self.values.byte(at + step))).count();
        let blank = at + length;
        if self.values.byte(blank) != b' ' || !self.is_secret(&self.text[at..blank]) {
            return at + 1;
        }
        let named = Named { name: "".into(), from: at, quote: None };
        match self.values.byte(blank + 1) {
            b'-' | b' ' => blank,
            _ => self.value(blank + 1, b' ', &named),
        }
    }

    /// `Bearer …`: the blank behind the scheme is here.
    fn scheme(&mut self, blank: usize) -> usize {
        let bytes = self.text.as_bytes();
        // the last letters of the schemes
        if blank == 0 || !b"crtnymep6".contains(&bytes[blank - 1].to_ascii_lowercase()) {
            return blank + 1;
        }
        let is_of_scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
        let from = blank - bytes[..blank].iter().rev().take(MAX_SCHEME + 1).take_while(is_of_scheme).count();
        let Some(scheme) = words::scheme(&self.text[from..blank]) else { return blank + 1 };
        let at = self.skip_blanks(blank, false);
        if scheme == Scheme::Parameters {
            let name = (0..MAX_NAME).take_while(|step| is_of_name(self.values.byte(at + step))).count();
            if name == 0 || self.values.byte(at + name) != b'=' {
                return at;
            }
            let end = self.values.line(at);
            self.redact(at, end.max(at + name + 1), "");
            return self.copied;
        }
        let before = from.checked_sub(1).map(|before| bytes[before]);
        let end = self.values.word(at, b' ');
        let is_header =
            before.is_none_or(|byte| b"\"'`:=(".contains(&byte)) || self.text[..from].trim_end().ends_with([':', '=']);
        // `Bearer realm="api"` is a challenge
        let is_parameter = self.values.byte(end) == b'"' && self.text[..end].ends_with('=');
        if !is_parameter && words::is_token(&self.text[at..end], scheme, is_header) {
            self.redact(at, end, "");
        }
        end
    }
}

/// A name in quotes as it is meant, with the escapes of JSON.
fn unescaped(name: &str) -> Cow<'_, str> {
    match name.contains('\\') {
        true => serde_json::from_str(&format!("\"{name}\"")).map_or(Cow::Borrowed(name), Cow::Owned),
        false => Cow::Borrowed(name),
    }
}

/// A name with the escapes of forms.
fn decoded(name: &str) -> Cow<'_, str> {
    match name.contains('%') {
        true => percent_decode_str(name).decode_utf8_lossy(),
        false => Cow::Borrowed(name),
    }
}
