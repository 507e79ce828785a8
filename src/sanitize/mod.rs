//! Redaction: the one place that decides what is secret. (Stand-in with the agreed interface.)

use std::borrow::Cow;

use serde_json::Value;

pub(crate) const REDACTED: &str = "[REDACTED]";

const SECRET: [&str; 10] = ["password", "passwd", "pwd", "secret", "key", "token", "session", "credit", "card", "auth"];

#[derive(Debug, Clone, Default)]
pub(crate) struct Sanitizer;

impl Sanitizer {
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        name == "set-cookie" || SECRET.iter().any(|part| name.contains(part))
    }

    pub(crate) fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let secret = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| self.is_secret(name));
        if !query.split('&').any(secret) {
            return Cow::Borrowed(query);
        }
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if self.is_secret(name) => format!("{name}={REDACTED}"),
            _ => pair.to_owned(),
        });
        Cow::Owned(pairs.collect::<Vec<_>>().join("&"))
    }

    pub(crate) fn json(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(entries) => entries.iter_mut().for_each(|(key, item)| {
                if self.is_secret(key) {
                    *item = REDACTED.into();
                } else {
                    self.json(item);
                }
            }),
            _ => {}
        }
    }

    pub(crate) fn json_text(&self, text: &str) -> Option<String> {
        let mut value = serde_json::from_str(text).ok()?;
        self.json(&mut value);
        serde_json::to_string(&value).ok()
    }

    pub(crate) fn cookies<'a>(&self, header: &'a str) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs
            .map(|(name, value)| (name.into(), if self.is_secret(name) { REDACTED.into() } else { value.into() }))
            .collect()
    }

    pub(crate) fn urls_in<'a>(&self, message: &'a str) -> Cow<'a, str> {
        match message.split_once("://").and_then(|(_, rest)| rest.split_once('?')) {
            Some((_, query)) => match self.query(query) {
                Cow::Borrowed(_) => Cow::Borrowed(message),
                Cow::Owned(clean) => Cow::Owned(format!("{}{clean}", &message[..message.len() - query.len()])),
            },
            None => Cow::Borrowed(message),
        }
    }
}
