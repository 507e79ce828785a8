//! Which names are secret.

use std::sync::Arc;

use crate::config::{CaptureSpanFields, Config, Wildcard};

/// The patterns of `sanitize_field_names`, and the maximum length of a text. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sanitizer {
    pub(super) rules: Arc<Rules>,
    max_characters: usize,
    span_fields: bool,
    is_off: bool,
}

#[derive(Debug)]
pub(super) struct Rules {
    secret: Vec<Pattern>,
    /// For each of 32 letters which of the first 64 patterns need it.
    needed: [u64; 32],
    exceptions: Vec<Wildcard>,
    /// Verdicts on names that nearly every message has, each at the place that [`place`] gives it.
    known: Vec<Option<(&'static str, bool)>>,
}

#[derive(Debug)]
struct Pattern {
    wildcard: Wildcard,
    /// What a name must have for the pattern to match: most names lack a letter of most patterns.
    letters: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Secret,
    Exception,
    Plain,
}

/// The default of `long_field_max_length`.
const LONG: usize = 10_000;

impl Sanitizer {
    /// A pattern that begins with `!` names what is not secret although another pattern says so.
    pub(crate) fn new(patterns: &[Wildcard]) -> Self {
        let (exceptions, secret): (Vec<_>, Vec<_>) =
            patterns.iter().partition(|pattern| pattern.as_str().starts_with('!'));
        let exceptions = exceptions.iter().map(|pattern| Wildcard::new(&pattern.as_str()[1..])).collect();
        let secret: Vec<_> = secret.into_iter().map(Pattern::new).collect();
        let mut rules = Rules { needed: needed(&secret), secret, exceptions, known: vec![None; PLACES] };
        for name in KNOWN {
            let verdict = rules.is_secret(name);
            if let Some(slot) = rules.known.get_mut(place(name)) {
                *slot = Some((name, verdict));
            }
        }
        Self { rules: Arc::new(rules), max_characters: LONG, span_fields: true, is_off: false }
    }

    /// Redacts nothing: for a look at a record that is not sent.
    pub(crate) fn off() -> Self {
        let rules = Rules { secret: Vec::new(), needed: [0; 32], exceptions: Vec::new(), known: Vec::new() };
        Self { rules: Arc::new(rules), max_characters: LONG, span_fields: false, is_off: true }
    }

    /// Whether this one redacts nothing.
    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    pub(crate) fn of(config: &Config) -> Self {
        Self {
            max_characters: config.long_field_max_length,
            span_fields: config.capture_span_fields == CaptureSpanFields::On,
            ..Self::new(&config.sanitize_field_names)
        }
    }

    /// Whether the fields of spans become labels (`capture_span_fields`).
    pub(crate) fn shows_span_fields(&self) -> bool {
        self.span_fields
    }

    /// The most characters of bodies, statements and messages (`long_field_max_length`).
    pub(crate) fn max_characters(&self) -> usize {
        self.max_characters
    }

    /// The value under this name must not be shown. Allocates nothing for names of ASCII characters.
    ///
    /// Of a name with parts (`user[password]`, `order.token`) each part is looked at too.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        match self.rules.known.get(place(name)) {
            _ if self.is_off => false,
            Some(Some((known, verdict))) if *known == name => *verdict,
            _ => self.rules.is_secret(name),
        }
    }
}

impl Default for Sanitizer {
    fn default() -> Self {
        Self::new(&Config::default().sanitize_field_names)
    }
}

impl Rules {
    fn is_secret(&self, name: &str) -> bool {
        // `:authority` and the other pseudo headers of HTTP/2 are the request line, and `*auth*` would match
        if name.starts_with(':') {
            return false;
        }
        let whole = self.verdict(name);
        let parted = ['.', '[', ']'];
        if !name.contains(parted) {
            return whole == Verdict::Secret;
        }
        let parts = || name.split(parted).filter(|part| !part.is_empty()).map(|part| self.verdict(part));
        parts().any(|part| part == Verdict::Secret)
            || whole == Verdict::Secret && parts().all(|part| part != Verdict::Exception)
    }

    /// Whether a pattern for secrets matches. Each letter that a name lacks rules patterns out.
    fn matches(&self, name: &str, letters: u32) -> bool {
        let mut candidates = u64::MAX.checked_shr(64_u32.saturating_sub(self.secret.len() as u32)).unwrap_or(0);
        let mut absent = !letters;
        while absent != 0 && candidates != 0 {
            candidates &= !self.needed[absent.trailing_zeros() as usize];
            absent &= absent - 1;
        }
        while candidates != 0 {
            if self.secret[candidates.trailing_zeros() as usize].wildcard.matches(name) {
                return true;
            }
            candidates &= candidates - 1;
        }
        let matches = |pattern: &Pattern| pattern.letters & !letters == 0 && pattern.wildcard.matches(name);
        self.secret.iter().skip(64).any(matches)
    }

    fn verdict(&self, name: &str) -> Verdict {
        // beyond ASCII a lower-case letter may be of another kind
        let letters = if name.is_ascii() { letters(name) } else { u32::MAX };
        if !self.matches(name, letters) {
            Verdict::Plain
        } else if self.exceptions.iter().any(|pattern| pattern.matches(name)) {
            Verdict::Exception
        } else {
            Verdict::Secret
        }
    }
}

/// By letter, the patterns that need it.
fn needed(patterns: &[Pattern]) -> [u64; 32] {
    let mut needed = [0; 32];
    for (letter, patterns_of) in needed.iter_mut().enumerate() {
        let need = patterns.iter().take(64).enumerate().filter(|(_, pattern)| pattern.letters & 1 << letter != 0);
        *patterns_of = need.fold(0, |all, (index, _)| all | 1 << index);
    }
    needed
}

impl Pattern {
    fn new(wildcard: &Wildcard) -> Self {
        let letters = wildcard.literals().map(letters).fold(0, |all, part| all | part);
        Self { wildcard: wildcard.clone(), letters }
    }
}

/// The characters of a text, each as one of 32 bits, the same for both cases of a letter.
fn letters(text: &str) -> u32 {
    text.bytes().filter(u8::is_ascii).fold(0, |all, byte| all | 1 << ((byte | 0x20) & 31))
}

const PLACES: usize = 256;

/// A hash that is good enough to tell the names of headers apart, in a few instructions.
fn place(name: &str) -> usize {
    let at = |index: usize| name.as_bytes().get(index).map_or(0, |byte| usize::from(*byte));
    (name.len() + at(0) + at(name.len() / 2) * 9 + at(name.len().wrapping_sub(1)) * 8) % PLACES
}

/// The headers that browsers, proxies and frameworks send. Where two have the same place the later one has it, so the
/// most frequent are last.
const KNOWN: [&str; 52] = [
    "server",
    "date",
    "x-amzn-trace-id",
    "x-envoy-attempt-count",
    "via",
    "pragma",
    "etag",
    "age",
    "location",
    "expires",
    "x-api-key",
    "x-real-ip",
    "x-user-id",
    "x-correlation-id",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "upgrade-insecure-requests",
    "if-modified-since",
    "if-none-match",
    "transfer-encoding",
    "content-encoding",
    "last-modified",
    "x-requested-with",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
    "tracestate",
    "baggage",
    "set-cookie",
    "vary",
    "cache-control",
    "referer",
    "origin",
    "accept-language",
    "x-forwarded-for",
    "traceparent",
    "connection",
    "cookie",
    "authorization",
    "accept",
    "host",
    "accept-encoding",
    "content-length",
    "content-type",
    "user-agent",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_known_names_have_their_own_slot() {
        let sanitizer = Sanitizer::default();
        let kept = sanitizer.rules.known.iter().flatten().count();
        assert!(kept * 10 >= KNOWN.len() * 8, "{kept} of {}", KNOWN.len());
    }

    #[test]
    fn cached_verdict_equals_the_patterns() {
        let sanitizer = Sanitizer::new(&[Wildcard::new("user-*"), Wildcard::new("*length")]);
        for name in KNOWN {
            assert_eq!(sanitizer.is_secret(name), sanitizer.rules.is_secret(name), "{name}");
        }
        assert!(sanitizer.is_secret("user-agent") && !sanitizer.is_secret("authorization"));
    }

    #[test]
    fn letter_prefilter_rejects_no_matching_name() {
        let patterns = ["*Key", "x-*-id", "(?-i)*aUth*", "*ß*", "k*", "*", "a.b", "", "[x]", "~^`"].map(Wildcard::new);
        let names =
            ["API_KEY", "X-My-Id", "oauth", "oaUth", "STRAßE", "\u{212A}elvin", "Kelvin", "", "[X]", "~^`", "~^@"];
        for pattern in &patterns {
            let sanitizer = Sanitizer::new(std::slice::from_ref(pattern));
            for name in names {
                assert_eq!(
                    sanitizer.rules.verdict(name) == Verdict::Secret,
                    pattern.matches(name),
                    "{pattern:?} {name}"
                );
            }
        }
    }
}
