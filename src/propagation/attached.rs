//! Which baggage becomes labels (`baggage_to_attach`).
//!
//! Any client can send baggage, and each key becomes a field of the index, which has room for about a thousand fields.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use opentelemetry::{
    Context, Key, KeyValue,
    baggage::{Baggage, BaggageExt},
};

use crate::config::Wildcard;

/// The most keys that an agent attaches in its lifetime although `baggage_to_attach` does not list them.
const MAX_KEYS: usize = 16;
/// The longest of these keys, in bytes.
const MAX_KEY_BYTES: usize = 128;

/// The agent's attached keys that match only a pattern with `*`, or a listed key in another case.
#[derive(Debug, Default)]
pub(crate) struct AttachedBaggage {
    keys: RwLock<Vec<Key>>,
    has_warned: AtomicBool,
}

impl AttachedBaggage {
    /// What a context carries, as attributes `baggage.<key>` of an event that begins in it. Without baggage this is one
    /// look.
    #[inline]
    pub(crate) fn attributes(&self, context: &Context, patterns: &[Wildcard]) -> Vec<KeyValue> {
        let baggage = context.baggage();
        if baggage.is_empty() { Vec::new() } else { self.attributes_of(baggage, patterns) }
    }

    fn attributes_of(&self, baggage: &Baggage, patterns: &[Wildcard]) -> Vec<KeyValue> {
        let matches = |key: &Key| patterns.iter().any(|pattern| pattern.matches(key.as_str()));
        let mut members: Vec<_> = baggage.iter().filter(|(key, _)| matches(key)).collect();
        // the same baggage gives the same attributes
        members.sort_unstable_by_key(|(key, _)| *key);
        members.retain(|(key, _)| patterns.iter().any(|pattern| pattern.as_str() == key.as_str()) || self.admits(key));
        members.into_iter().map(|(key, (value, _))| KeyValue::new(format!("baggage.{key}"), value.clone())).collect()
    }

    fn admits(&self, key: &Key) -> bool {
        if key.as_str().len() > MAX_KEY_BYTES {
            return false;
        }
        let is_admitted = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if keys.len() == MAX_KEYS || keys.contains(key) { Some(keys.contains(key)) } else { None }
        };
        let is_admitted = is_admitted.unwrap_or_else(|| self.add(key));
        if !is_admitted && !self.has_warned.swap(true, Relaxed) {
            tracing::warn!(
                target: "tower_apm",
                "requests contained more than {MAX_KEYS} baggage keys: further keys are not recorded, except those that \
                 `baggage_to_attach` names without `*`"
            );
        }
        is_admitted
    }

    /// Returns false if other threads have taken the last places.
    fn add(&self, key: &Key) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains(key) && keys.len() < MAX_KEYS {
            keys.push(key.clone());
        }
        keys.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(attached: &AttachedBaggage, members: &[&str], patterns: &[&str]) -> Vec<String> {
        let context = Context::new().with_baggage(members.iter().map(|key| KeyValue::new((*key).to_owned(), "1")));
        let patterns: Vec<_> = patterns.iter().map(|pattern| Wildcard::new(pattern)).collect();
        attached.attributes(&context, &patterns).iter().map(|pair| pair.key.to_string()).collect()
    }

    fn numbered(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|number| format!("k{number:02}")).collect()
    }

    #[test]
    fn patterns_select_the_attached_baggage() {
        let attached = AttachedBaggage::default();
        let members = ["shop", "user"];
        assert_eq!(keys(&attached, &members, &["*"]), ["baggage.shop", "baggage.user"]);
        assert_eq!(keys(&attached, &members, &["us*"]), ["baggage.user"]);
        assert!(keys(&attached, &members, &[]).is_empty());
    }

    #[test]
    fn unlisted_baggage_keys_are_limited_to_16_per_agent() {
        let attached = AttachedBaggage::default();
        let many = numbered(0, 60);
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let expected: Vec<_> = numbered(0, MAX_KEYS).iter().map(|key| format!("baggage.{key}")).collect();
        assert_eq!(keys(&attached, &many, &["*"]), expected, "of one request");
        let others = numbered(60, 80);
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        assert!(keys(&attached, &others, &["*"]).is_empty(), "of all requests");
        assert_eq!(keys(&attached, &["k03", "k77"], &["*"]), ["baggage.k03"]);
    }

    #[test]
    fn listed_baggage_keys_do_not_count_towards_the_limit() {
        let attached = AttachedBaggage::default();
        let mut members = numbered(0, 40);
        members.push("user".to_owned());
        members.push("USER".to_owned());
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        let found = keys(&attached, &members, &["*", "user"]);
        assert_eq!(found.len(), MAX_KEYS + 1);
        assert!(found.contains(&"baggage.user".to_owned()), "{found:?}");
    }

    #[test]
    fn long_baggage_keys_are_left_out_unless_listed() {
        let attached = AttachedBaggage::default();
        let (longest, too_long) = ("k".repeat(MAX_KEY_BYTES), "l".repeat(MAX_KEY_BYTES + 1));
        assert_eq!(keys(&attached, &[&longest, &too_long], &["*"]), [format!("baggage.{longest}")]);
        assert_eq!(keys(&attached, &[&too_long], &[&too_long]), [format!("baggage.{too_long}")]);
    }
}
