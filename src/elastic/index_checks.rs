//! Labels and custom context that the server takes and the index then hides: each is told in the log, once.
//!
//! The mapping has already made the best of them. This only watches, on the worker's thread, and remembers no more than
//! a fixed number of keys.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{
    map::{index_key, is_broken, is_exact, is_metric_name, tags},
    model::{self, Scalar, Tags},
};
use crate::record::{Context, Custom, Label, LabelValue, MetricsRecord};

/// Keys remembered. Those beyond are not watched: by then the log has said that there are too many.
const MAX_KEYS: usize = 512;
/// Characters of a key in the log.
const MAX_TOLD: usize = 100;
/// An index has room for a thousand fields, shared by all services.
const MANY_LABELS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum IndexWarning {
    BlankLabel,
    BlankCustom,
    ChangingKind,
    LargeInteger,
    TypedName,
    CollidingCustom,
    CollidingLabel,
    MetricName,
    MetricPath,
}

impl IndexWarning {
    fn warn(self, key: &str) {
        macro_rules! warn {
            ($text:literal) => {
                tracing::warn!(target: "tower_apm", ?key, $text)
            };
        }
        match self {
            IndexWarning::BlankLabel => {
                warn!("a label with a blank key was left out: the index would refuse the document")
            }
            IndexWarning::BlankCustom => {
                warn!("custom context with a blank key was left out: the index would refuse the document")
            }
            IndexWarning::ChangingKind => {
                warn!("a label is once a number and once text: these are two fields, and a search finds one of them")
            }
            IndexWarning::LargeInteger => {
                warn!("a label's integer is beyond ±9.2e12 and sent as text: as numbers, the index tells none apart")
            }
            IndexWarning::TypedName => warn!(
                "a label's name stands for a date, a place, an address or a score, and its value is none: it is stored \
                 and cannot be found"
            ),
            IndexWarning::CollidingCustom => {
                warn!("two keys of custom context are one after `.`, `*` and `\"` became `_`: the last one is kept")
            }
            IndexWarning::CollidingLabel => {
                warn!("two keys of labels are one after `.`, `*` and `\"` became `_`: the last one is kept")
            }
            IndexWarning::MetricName => {
                warn!("a metric was left out: the index would refuse the document for its name")
            }
            IndexWarning::MetricPath => warn!(
                "a metric was left out: its name is the beginning of another metric's, or another's is of its own, and \
                 a field cannot be both a number and an object"
            ),
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
pub(crate) struct IndexChecks {
    kinds: HashMap<Box<str>, Kind>,
    told: HashMap<IndexWarning, HashSet<Box<str>>>,
    told_many: bool,
    told_body: bool,
    metrics: HashSet<Box<str>>,
    /// Everything before a dot of their names.
    metric_objects: HashSet<Box<str>>,
    dropped_keys: u64,
}

impl IndexChecks {
    /// Looks at labels as they are sent.
    pub(crate) fn tags(&mut self, tags: &Tags<'_>) {
        for (key, value) in &tags.0 {
            match value {
                Scalar::Integer(_) | Scalar::Float(_) => self.label(key, None),
                Scalar::Text(text) => self.label(key, Some(text)),
                Scalar::Bool(_) => self.label(key, Some("")),
            }
        }
    }

    /// A label of text, or of a number.
    fn label(&mut self, key: &str, text: Option<&str>) {
        let kind = match text {
            Some(text) => {
                self.typed(key, text);
                Kind::Text
            }
            None => Kind::Number,
        };
        match self.kinds.get(key) {
            Some(known) if *known == kind => {}
            Some(_) => self.tell(IndexWarning::ChangingKind, key),
            None => self.remember(key, kind),
        }
    }

    /// Keys that were left out or replaced since the last question.
    pub(crate) fn take_lost_keys(&mut self) -> u64 {
        std::mem::take(&mut self.dropped_keys)
    }

    /// Looks at the labels that every document gets.
    pub(crate) fn global_labels(&mut self, labels: &[Label]) {
        self.labels(labels);
        self.tags(&tags(labels));
    }

    /// Looks at a span's or event's attributes as they are sent: at those that the server makes labels of. The agent's
    /// own attributes all have a dot in their name, but for the type; labels have none.
    #[cfg(feature = "otlp")]
    pub(crate) fn attributes(&mut self, attributes: &[opentelemetry::KeyValue]) {
        const MADE: [&str; 4] = ["custom.", "user.", "http.request.header.", "http.response.header."];
        for attribute in attributes {
            let key = attribute.key.as_str();
            if key == "type" || key.contains('.') && !MADE.iter().any(|prefix| key.starts_with(prefix)) {
                continue;
            }
            let Some(key) = index_key(key) else { continue };
            match &attribute.value {
                opentelemetry::Value::I64(_) | opentelemetry::Value::F64(_) => self.label(&key, None),
                opentelemetry::Value::String(text) => self.label(&key, Some(text.as_str())),
                _ => self.label(&key, Some("")),
            }
        }
    }

    /// Takes samples out whose names the index cannot have, or not beside those that it has.
    pub(crate) fn metrics(&mut self, record: &mut MetricsRecord) {
        let before = record.samples.len();
        record.samples.retain(|(name, _)| {
            let warning = if !is_metric_name(name) {
                IndexWarning::MetricName
            } else if !self.is_free_path(name) {
                IndexWarning::MetricPath
            } else {
                return true;
            };
            self.tell(warning, name);
            false
        });
        self.dropped_keys += (before - record.samples.len()) as u64;
    }

    /// Whether no metric is called as an object of this one, or the other way round. Remembers it.
    fn is_free_path(&mut self, name: &str) -> bool {
        let objects = || name.match_indices('.').map(|(at, _)| &name[..at]);
        if self.metrics.contains(name) {
            return true;
        }
        if self.metric_objects.contains(name) || objects().any(|object| self.metrics.contains(object)) {
            return false;
        }
        if self.metrics.len() < MAX_KEYS {
            self.metrics.insert(name.into());
            self.metric_objects.extend(objects().map(Box::from));
        }
        true
    }

    /// Looks for what the mapping left out or changed.
    pub(crate) fn labels(&mut self, labels: &[Label]) {
        for (at, Label { key, value }) in labels.iter().enumerate() {
            if key.trim().is_empty() {
                self.dropped_keys += 1;
                self.tell(IndexWarning::BlankLabel, "");
            } else if let Some(renamed) = collides(key, labels[..at].iter().map(|label| &*label.key)) {
                self.dropped_keys += 1;
                self.tell(IndexWarning::CollidingLabel, &renamed);
            } else if matches!(value, LabelValue::Integer(number) if !is_exact(*number)) {
                self.tell(IndexWarning::LargeInteger, key);
            }
        }
    }

    /// Looks for what the mapping left out or replaced.
    pub(crate) fn custom(&mut self, custom: &[Custom]) {
        for (at, Custom { key, .. }) in custom.iter().enumerate() {
            if key.trim().is_empty() {
                self.dropped_keys += 1;
                self.tell(IndexWarning::BlankCustom, "");
            } else if let Some(renamed) = collides(key, custom[..at].iter().map(|custom| &*custom.key)) {
                self.dropped_keys += 1;
                self.tell(IndexWarning::CollidingCustom, &renamed);
            }
        }
    }

    /// Looks for a captured body that could not be read, and was therefore not told.
    pub(crate) fn body(&mut self, record: &Context, told: Option<&model::Context<'_>>) {
        let captured = record.request.as_ref().and_then(|request| request.body.as_ref());
        let told = told.and_then(|context| context.request.as_ref()).and_then(|request| request.body.as_deref());
        let is_broken = captured.zip(told).is_some_and(|(captured, told)| is_broken(captured, told));
        if is_broken && !self.told_body {
            self.told_body = true;
            tracing::warn!(
                target: "tower_apm",
                "the body of a request says that it is JSON and is not: it cannot be freed of secrets and is not told; \
                 further ones are not named"
            );
        }
    }

    fn typed(&mut self, key: &str, text: &str) {
        if !is_what_it_is_called(key, text) {
            self.tell(IndexWarning::TypedName, key);
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

    fn tell(&mut self, warning: IndexWarning, key: &str) {
        let key = key.char_indices().nth(MAX_TOLD).map_or(key, |(end, _)| &key[..end]);
        let told = self.told.entry(warning).or_default();
        if told.len() < MAX_KEYS && !told.contains(key) {
            told.insert(key.into());
            warning.warn(key);
        }
    }
}

/// The name that a key shares with one of `others`, which is another key. Few keys are ever renamed: only for those a
/// copy is made.
fn collides<'a>(key: &'a str, mut others: impl Iterator<Item = &'a str>) -> Option<Cow<'a, str>> {
    let renamed = index_key(key)?;
    let is_renamed = |key: &str| key.contains(['.', '*', '"']);
    let meets = match is_renamed(key) {
        true => others.any(|other| {
            other != key && (other == renamed || is_renamed(other) && index_key(other).as_ref() == Some(&renamed))
        }),
        false => others.any(|other| is_renamed(other) && index_key(other).as_ref() == Some(&renamed)),
    };
    meets.then_some(renamed)
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
#[path = "index_checks_tests.rs"]
mod tests;
