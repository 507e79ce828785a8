//! Labels and custom context that the server takes and the index then hides: each is told in the log, once.
//!
//! The mapping has already made the best of them. This only watches, on the worker's thread, and remembers no more than
//! a fixed number of keys.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{
    map::{index_key, is_exact},
    model::{Scalar, Tags},
};
use crate::record::{Custom, Label, LabelValue};

/// Keys remembered. Those beyond are not watched: by then the log has said that there are too many.
const MAX_KEYS: usize = 512;
/// An index has room for a thousand fields, shared by all services.
const MANY_LABELS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trap {
    BlankLabel,
    BlankCustom,
    ChangingKind,
    LargeInteger,
    TypedName,
    CollidingCustom,
}

impl Trap {
    fn warn(self, key: &str) {
        macro_rules! warn {
            ($text:literal) => {
                tracing::warn!(target: "tower_apm", ?key, $text)
            };
        }
        match self {
            Trap::BlankLabel => warn!("a label with a blank key was left out: the index would refuse the document"),
            Trap::BlankCustom => {
                warn!("custom context with a blank key was left out: the index would refuse the document")
            }
            Trap::ChangingKind => {
                warn!("a label is once a number and once text: these are two fields, and a search finds one of them")
            }
            Trap::LargeInteger => {
                warn!("a label's integer is beyond ±9.2e12 and sent as text: as numbers, the index tells none apart")
            }
            Trap::TypedName => warn!(
                "a label's name stands for a date, a place, an address or a score, and its value is none: it is stored \
                 and cannot be found"
            ),
            Trap::CollidingCustom => {
                warn!("two keys of custom context are one after `.`, `*` and `\"` became `_`: the last one is kept")
            }
        }
    }
}

/// `labels.*` or `numeric_labels.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
}

/// What was seen and told so far.
#[derive(Debug, Default)]
pub(crate) struct Traps {
    kinds: HashMap<Box<str>, Kind>,
    told: HashMap<Trap, HashSet<Box<str>>>,
    told_many: bool,
}

impl Traps {
    /// Looks at labels as they are sent.
    pub(crate) fn tags(&mut self, tags: &Tags<'_>) {
        for (key, value) in &tags.0 {
            let kind = match value {
                Scalar::Integer(_) | Scalar::Float(_) => Kind::Number,
                Scalar::Text(text) => {
                    self.typed(key, text);
                    Kind::Text
                }
                Scalar::Bool(_) => {
                    self.typed(key, "");
                    Kind::Text
                }
            };
            match self.kinds.get(&**key) {
                Some(known) if *known == kind => {}
                Some(_) => self.tell(Trap::ChangingKind, key),
                None => self.remember(key, kind),
            }
        }
    }

    /// Looks for what the mapping left out or changed.
    pub(crate) fn labels(&mut self, labels: &[Label]) {
        for Label { key, value } in labels {
            if key.trim().is_empty() {
                self.tell(Trap::BlankLabel, "");
            } else if matches!(value, LabelValue::Integer(number) if !is_exact(*number)) {
                self.tell(Trap::LargeInteger, key);
            }
        }
    }

    /// Looks for what the mapping left out or replaced.
    pub(crate) fn custom(&mut self, custom: &[Custom]) {
        for (at, Custom { key, .. }) in custom.iter().enumerate() {
            match index_key(key) {
                None => self.tell(Trap::BlankCustom, ""),
                Some(renamed) => {
                    if custom[..at]
                        .iter()
                        .any(|other| other.key != *key && index_key(&other.key) == Some(renamed.clone()))
                    {
                        self.tell(Trap::CollidingCustom, &renamed);
                    }
                }
            }
        }
    }

    fn typed(&mut self, key: &str, text: &str) {
        if !is_what_it_is_called(key, text) {
            self.tell(Trap::TypedName, key);
        }
    }

    fn remember(&mut self, key: &str, kind: Kind) {
        if self.kinds.len() < MAX_KEYS {
            self.kinds.insert(key.into(), kind);
        }
        if self.kinds.len() > MANY_LABELS && !self.told_many {
            self.told_many = true;
            tracing::warn!(
                target: "tower_apm",
                "more than {MANY_LABELS} keys of labels are in use: each is a field of the index, and those beyond its \
                 limit cannot be found; is a part of a key made from data?"
            );
        }
    }

    fn tell(&mut self, trap: Trap, key: &str) {
        let told = self.told.entry(trap).or_default();
        if told.len() < MAX_KEYS && !told.contains(key) {
            told.insert(key.into());
            trap.warn(key);
        }
    }
}

/// The index types some fields by their name; a value that does not fit is stored and not indexed.
fn is_what_it_is_called(key: &str, text: &str) -> bool {
    let ends = |ending: &str| key.ends_with(ending);
    if matches!(key, "created" | "start" | "end") || ends("_timestamp") {
        is_date(text)
    } else if key == "location" {
        is_place(text)
    } else if ends("_ip") {
        text.parse::<IpAddr>().is_ok()
    } else if ends("_score") {
        text.parse::<f64>().is_ok_and(f64::is_finite)
    } else {
        // objects, which no label is
        !ends("imports") && !ends("exports")
    }
}

/// Milliseconds since the epoch, or ISO 8601 from the year on.
fn is_date(text: &str) -> bool {
    let (year, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(text) || (digits(year) && rest.starts_with('-') && rest[1..].starts_with(|char: char| char.is_ascii_digit()))
}

/// Latitude and longitude, or a point as well-known text.
fn is_place(text: &str) -> bool {
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok();
    text.starts_with("POINT") || text.split_once(',').is_some_and(|(lat, lon)| is_number(lat) && is_number(lon))
}

#[cfg(test)]
#[path = "traps_tests.rs"]
mod tests;
