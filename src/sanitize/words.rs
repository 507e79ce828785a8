//! Words after a name that are not secrets, and words before a token.

/// What a program writes where there is no value, or where it hides it itself.
const NO_VALUES: [&str; 13] = [
    "none",
    "null",
    "nil",
    "undefined",
    "true",
    "false",
    "sensitive",
    "hidden",
    "redacted",
    "masked",
    "omitted",
    "<redacted>",
    "<hidden>",
];

/// The beginnings of sentences about a value: `password: must not be empty`.
const ABOUT_VALUES: [&str; 33] = [
    "required",
    "missing",
    "invalid",
    "expired",
    "empty",
    "incorrect",
    "wrong",
    "mismatch",
    "malformed",
    "unknown",
    "unexpected",
    "not",
    "is",
    "are",
    "was",
    "must",
    "should",
    "cannot",
    "can't",
    "could",
    "too",
    "failed",
    "failure",
    "error",
    "expected",
    "validation",
    "no",
    "has",
    "length",
    "the",
    "value",
    "field",
    "denied",
];

/// The schemes of the `Authorization` header, of which a token follows.
const SCHEMES: [&str; 9] =
    ["basic", "bearer", "digest", "token", "apikey", "negotiate", "ntlm", "dpop", "aws4-hmac-sha256"];

/// The longest of the schemes, in bytes.
pub(super) const MAX_SCHEME: usize = 16;

pub(super) fn is_no_value(word: &str) -> bool {
    let is_placeholder = |word: &str| {
        let digits = word.strip_prefix('$').unwrap_or("x");
        word == "?" || word == "%s" || digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    word.bytes().all(|byte| b"*.-_<>()[]{}".contains(&byte))
        || is_placeholder(word)
        || NO_VALUES.iter().any(|known| known.eq_ignore_ascii_case(word))
}

pub(super) fn is_about_value(word: &str) -> bool {
    ABOUT_VALUES.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// An authentication scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `Basic` and `Bearer`: what follows is a token unless it is a plain word.
    Common,
    /// `ApiKey` and the like: what follows must look like a token.
    Rare,
    /// `Token` is also a word of sentences that names the id of an item (`token revert-1`): what follows must look like a
    /// long token.
    Token,
    /// `Digest` and the like: `name="value"` between commas.
    Parameters,
}

pub(super) fn scheme(word: &str) -> Option<Scheme> {
    if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(word)) {
        return None;
    }
    Some(match word.as_bytes().first()?.to_ascii_lowercase() {
        b'b' => Scheme::Common,
        b'd' if word.eq_ignore_ascii_case("digest") => Scheme::Parameters,
        b'a' if word.contains('-') => Scheme::Parameters,
        b't' => Scheme::Token,
        _ => Scheme::Rare,
    })
}

/// Whether the word behind a scheme is a token. `is_header` is true where the scheme begins a text or a value.
pub(super) fn is_token(word: &str, scheme: Scheme, is_header: bool) -> bool {
    let bytes = word.trim_end_matches('=').as_bytes();
    let has = |test: fn(&u8) -> bool| bytes.iter().any(test);
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/:".contains(byte);
    let (digit, letter) = (has(u8::is_ascii_digit), has(u8::is_ascii_alphabetic));
    let head = bytes.iter().take_while(|byte| is_of_token(byte)).count();
    let mixed = bytes.iter().skip(1).any(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let parted = bytes.iter().any(|byte| b"-_.~+/".contains(byte));
    match scheme {
        // `Bearer realm="api"` is a challenge, and no token
        _ if bytes.contains(&b'=') || head < 4 => false,
        Scheme::Common => {
            bytes.len() >= 16 || digit || mixed && bytes.len() >= 6 || word.ends_with('=') || is_header && parted
        }
        Scheme::Rare => !word.starts_with("0x") && (digit && letter && bytes.len() >= 8 || bytes.len() >= 20),
        Scheme::Token => !word.starts_with("0x") && digit && letter && bytes.len() >= 16,
        Scheme::Parameters => false,
    }
}
