//! URLs in a text, such as the message of an error.

use std::borrow::Cow;

use memchr::memchr2_iter;

use super::{REDACTED, Sanitizer};

impl Sanitizer {
    /// Takes user and password out of every URL in a text, and the secret values out of its query and fragment. A path
    /// with a query is treated the same without a host.
    pub(crate) fn urls_in<'a>(&self, message: &'a str) -> Cow<'a, str> {
        self.urls_at(message, 0)
    }

    /// `depth` counts the texts around this one.
    pub(super) fn urls_at<'a>(&self, message: &'a str, depth: usize) -> Cow<'a, str> {
        // most texts have neither, and are passed over at a glance
        let may_hold_one = memchr2_iter(b':', b'?', message.as_bytes())
            .any(|at| message.as_bytes()[at] == b'?' || message[at + 1..].starts_with("//"));
        if !may_hold_one {
            return Cow::Borrowed(message);
        }
        let boundary = |character: char| character.is_whitespace() || matches!(character, '"' | '<' | '>' | '`');
        let mut clean = String::new();
        let mut copied = 0;
        let mut at = 0;
        for word in message.split_inclusive(boundary) {
            let url = word.strip_suffix(boundary).unwrap_or(word);
            // what ends a sentence or a quotation is no part of the URL in it
            let url = url.trim_end_matches(['.', ',', ';', ':', '!', ')', '}', '\'', '\\']);
            if let Some(cleaned) = self.url(url, depth, at + url.len() == message.len()) {
                clean.push_str(&message[copied..at]);
                clean.push_str(&cleaned);
                copied = at + url.len();
            }
            at += word.len();
        }
        if copied == 0 {
            return Cow::Borrowed(message);
        }
        clean.push_str(&message[copied..]);
        Cow::Owned(clean)
    }

    /// None when nothing in it is secret. `is_last` is true where the text may have been cut within the URL.
    fn url(&self, url: &str, depth: usize, is_last: bool) -> Option<String> {
        let without_user = hide_users(url, is_last);
        let url = without_user.as_deref().unwrap_or(url);
        let query_from = url.find(['?', '#']).map_or(url.len(), |at| at + 1);
        let (front, back) = url.split_at(query_from);
        let (query, fragment) = back.split_once('#').map_or((back, None), |(query, fragment)| (query, Some(fragment)));
        let (clean_query, clean_fragment) =
            (self.query_at(query, depth), fragment.map(|fragment| self.query_at(fragment, depth)));
        let untouched = |part: &Cow<'_, str>| matches!(part, Cow::Borrowed(_));
        if untouched(&clean_query) && clean_fragment.as_ref().is_none_or(untouched) {
            return without_user;
        }
        let mut clean = format!("{front}{clean_query}");
        if let Some(fragment) = clean_fragment {
            clean.push('#');
            clean.push_str(&fragment);
        }
        Some(clean)
    }
}

/// None when no URL in it names a user.
fn hide_users(text: &str, is_last: bool) -> Option<String> {
    // looked for once, so that many schemes cost no more than one
    let last_user = text.rfind('@');
    let mut clean = String::new();
    let mut at = 0;
    while let Some(scheme) = text[at..].find("://") {
        let host = at + scheme + 3;
        let user = user_end(text, host, last_user, is_last);
        clean.push_str(&text[at..host]);
        if user > host {
            clean.push_str(REDACTED);
        }
        at = user;
    }
    clean.push_str(&text[at..]);
    (clean != text).then_some(clean)
}

/// The end of `user:password` behind a scheme; the `@` does not belong to it. The same place if there is none.
fn user_end(text: &str, from: usize, last_user: Option<usize>, is_last: bool) -> usize {
    let authority = &text[from..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    if let Some(at) = authority.rfind('@') {
        return from + at;
    }
    // a password in which a slash was not encoded: `postgres://user:pa/ss@host`
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let no_port = !authority.starts_with('[') && !port.is_empty() && !port.bytes().all(|byte| byte.is_ascii_digit());
    match last_user {
        Some(at) if no_port && at > from => at,
        // the text was cut within the password
        None if no_port && is_last && from + authority.len() == text.len() => text.len(),
        _ => from,
    }
}
