//! Cookies: redacted by name, or if the value looks like a token.

use std::borrow::Cow;

use super::{REDACTED, Sanitizer};

/// A cookie with this many characters of a token's alphabet in a row is taken for one.
const TOKEN: usize = 16;

/// Names of session cookies that no pattern of `sanitize_field_names` matches. As names of other values they are
/// ordinary. `id` is the session cookie of tower-sessions, axum-login and actix-session.
const SESSION_COOKIES: [&str; 15] = [
    "id",
    "uid",
    "sid",
    "ssid",
    "sess",
    "access",
    "refresh",
    "remember",
    "remember_me",
    "rememberme",
    "login",
    "identity",
    "ticket",
    "sso",
    "private",
];

impl Sanitizer {
    /// The cookies of a `Cookie` header by name. The header itself must not be sent in addition.
    pub(crate) fn cookies<'a>(&self, header: &'a str) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let pairs = header.split(';').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.trim(), value.trim())).filter(|(name, _)| !name.is_empty());
        pairs.map(|(name, value)| (name.into(), self.cookie(name, value))).collect()
    }

    /// A `Set-Cookie` header, whose attributes stay as they are.
    pub(crate) fn set_cookie<'a>(&self, header: &'a str) -> Cow<'a, str> {
        let (pair, attributes) = header.split_at(header.find(';').unwrap_or(header.len()));
        match pair.split_once('=').map(|(name, value)| (name, value, self.cookie(name.trim(), value.trim()))) {
            Some((name, value, clean)) if clean != value.trim() => format!("{name}={clean}{attributes}").into(),
            _ => header.into(),
        }
    }

    fn cookie<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        match value.is_empty() {
            true => value.into(),
            false if self.is_secret(name) || is_session_cookie(name) || looks_like_token(value) => REDACTED.into(),
            false => self.query_value(value, 0).map_or(value.into(), Cow::Owned),
        }
    }
}

fn is_session_cookie(name: &str) -> bool {
    let name = name.strip_prefix("__Host-").or_else(|| name.strip_prefix("__Secure-")).unwrap_or(name);
    // `connect.sid`, `tide.sid`, `my_sid`; but `token_id` and `cart-id` are no sessions
    let last = name.rsplit(['.', '-', '_']).next().filter(|last| !last.eq_ignore_ascii_case("id")).unwrap_or(name);
    SESSION_COOKIES.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(last))
}

/// Whether sixteen characters in a row are those of tokens, in Base64, hexadecimal, or percent-encoded.
fn looks_like_token(value: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=%|:!*$".contains(&byte);
    value.as_bytes().split(|byte| !is_of_token(*byte)).any(|run| run.len() >= TOKEN)
}
