//! Holds a value against its [`Shape`].

use std::{cell::Cell, fmt};

use serde_json::value::RawValue;

use super::{
    schema::{Field, KEYWORD, Leaf, LeafRule, Object, Rule, Shape},
    timestamp,
};
use crate::devserver::json::{self, Type};

/// Exceptions may be nested; deeper than this is refused, so that no event can exhaust the stack.
const MAX_DEPTH: usize = 256;
/// Each level reads its bytes again. An event of the largest size with some 25 levels around all of it is taken.
const MAX_READ: usize = 8 * 1024 * 1024;

/// Where in an event a value is.
#[derive(Debug, Clone, Copy)]
struct Level<'a> {
    depth: usize,
    /// Bytes that were read so far, those of earlier events included.
    read: &'a Cell<usize>,
    /// The most of them.
    max_read: usize,
}

impl Level<'_> {
    /// The level of what `raw` contains.
    fn below(self, raw: &RawValue) -> Self {
        Self { depth: self.depth + 1, ..self.reading(raw) }
    }

    /// Counts the bytes of `raw`.
    fn reading(self, raw: &RawValue) -> Self {
        self.read.set(self.read.get() + raw.get().len());
        self
    }
}

/// Why a value was refused. Holds names of fields and the rule, no content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// From the innermost field outwards.
    path: Vec<String>,
    rule: String,
}

impl Fault {
    fn new(rule: impl Into<String>) -> Self {
        Self { path: Vec::new(), rule: rule.into() }
    }

    fn within(mut self, step: &str) -> Self {
        self.path.push(step.to_owned());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for (place, step) in self.path.iter().rev().enumerate() {
            write!(f, "{}{step}", if place == 0 { "" } else { "." })?;
        }
        write!(f, "' {}", self.rule)
    }
}

/// True if the value is set: an object whose fields are all absent is not, nor is an empty list or map.
pub(super) type IsSet = bool;

/// Checks `raw` as the field `name`, and adds to `read` the bytes that this took.
pub(super) fn check(name: &str, shape: &Shape, raw: &RawValue, read: &Cell<usize>) -> Result<IsSet, Fault> {
    check_at(name, shape, raw, Level { depth: 0, read, max_read: read.get() + MAX_READ })
}

fn check_at(name: &str, shape: &Shape, raw: &RawValue, level: Level<'_>) -> Result<IsSet, Fault> {
    if Type::of(raw) == Type::Null {
        return Ok(false);
    }
    if level.depth > MAX_DEPTH {
        return Err(Fault::new(format!("must not be nested more than {MAX_DEPTH} levels deep")));
    }
    if level.read.get() > level.max_read {
        return Err(Fault::new("must not be large and deeply nested at the same time"));
    }
    check_value(shape, raw, level).map_err(|fault| fault.within(name))
}

fn check_value(shape: &Shape, raw: &RawValue, level: Level<'_>) -> Result<IsSet, Fault> {
    match shape {
        Shape::Text | Shape::Flat(_) => expect(raw, Type::Text),
        Shape::Short(max) => short(raw, *max),
        Shape::NonEmpty => short(raw, 1024).and_then(|_| non_empty(raw)),
        Shape::ServiceName { non_empty: needed } => {
            short(raw, 1024)?;
            if *needed {
                non_empty(raw)?;
            }
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-');
            rule(json::text(raw).chars().all(allowed), "must hold letters, digits, spaces, '_' and '-' only")
        }
        Shape::Outcome => {
            expect(raw, Type::Text)?;
            let known = matches!(json::text(raw).as_ref(), "" | "success" | "failure" | "unknown");
            rule(known, "must be success, failure or unknown")
        }
        Shape::Int => int(raw).map(|_| true),
        Shape::IntFrom(min) => int(raw).and_then(|value| rule(value >= *min, format!("must be at least {min}"))),
        Shape::Number => number(raw).map(|_| true),
        Shape::NumberFrom(min) => number(raw).and_then(|value| rule(value >= *min, format!("must be at least {min}"))),
        Shape::Bool => expect(raw, Type::Bool),
        Shape::Timestamp => match Type::of(raw) {
            Type::Text => rule(timestamp::is_readable(&json::text(raw)), "must be a time in RFC 3339"),
            Type::Number => int(raw).map(|_| true),
            other => Err(Fault::new(format!("must be microseconds or a time in RFC 3339, found {other}"))),
        },
        Shape::Headers => headers(raw),
        Shape::TextOrInt => match Type::of(raw) {
            Type::Text => short(raw, 1024),
            _ => int(raw).map(|_| true),
        },
        Shape::Port => match Type::of(raw) {
            Type::Text => rule(json::text(raw).parse::<i64>().is_ok(), "must hold an integer"),
            _ => int(raw).map(|_| true),
        },
        Shape::TextOrObject => match Type::of(raw) {
            Type::Text | Type::Object => Ok(true),
            other => Err(Fault::new(format!("must be a string or an object, found {other}"))),
        },
        Shape::Any => Ok(true),
        Shape::Map => expect(raw, Type::Object).map(|_| !json::members(raw).is_empty()),
        Shape::Labels => labels(raw),
        Shape::Object(object) => check_object(object, raw, level.below(raw)),
        Shape::List(object) => list(object, raw, level.below(raw)),
        Shape::Texts => each(raw, |element| expect(element, Type::Text)),
        Shape::ShortTexts => each(raw, |element| short(element, 1024)),
        Shape::Numbers => each(raw, |element| number(element).map(|_| true)),
        Shape::Counts => each(raw, |element| {
            let is_count = Type::of(element) == Type::Null || element.get().parse::<u64>().is_ok();
            rule(is_count, "must hold integers that are not negative")
        }),
        Shape::Samples(sample) => samples(sample, raw, level.below(raw)),
        Shape::Marks => marks(raw),
        Shape::Leaves(leaves) => check_leaves(leaves, raw),
    }
}

/// The fields of an object, then its rules if anything in it is set.
fn check_object(object: &Object, raw: &RawValue, level: Level<'_>) -> Result<IsSet, Fault> {
    let set = set_fields(object, raw, level)?;
    if set.is_empty() {
        return Ok(false);
    }
    check_rules(object, &set)?;
    Ok(true)
}

fn set_fields(object: &Object, raw: &RawValue, level: Level<'_>) -> Result<Vec<&'static str>, Fault> {
    expect(raw, Type::Object)?;
    let mut set = Vec::new();
    for (key, value) in json::members(raw) {
        let Some(field) = find(object.fields, &key) else {
            rule(json::numbers_fit(value), "must be within the range of a 64-bit float")
                .map_err(|fault| fault.within(&key))?;
            continue;
        };
        let shape = match &field.shape {
            Shape::Flat(nested) if json::text_at(raw, nested).is_some() => &Shape::Text,
            Shape::Flat(_) => &KEYWORD,
            shape => shape,
        };
        if check_at(field.name, shape, value, level)? {
            set.push(field.name);
        }
    }
    Ok(set)
}

/// An exact match wins over one that differs in case.
fn find(fields: &'static [Field], key: &str) -> Option<&'static Field> {
    let exact = fields.iter().find(|field| field.name == key);
    exact.or_else(|| {
        let key = key.to_lowercase();
        fields.iter().find(|field| field.name == key)
    })
}

fn check_rules(object: &Object, set: &[&str]) -> Result<(), Fault> {
    if let Some(missing) = object.fields.iter().find(|field| field.required && !set.contains(&field.name)) {
        return Err(Fault::new("is required").within(missing.name));
    }
    let is_set = |name: &&&str| set.contains(*name);
    for rule in object.rules {
        match rule {
            Rule::AnyOf(names) if names.iter().find(is_set).is_none() => {
                return Err(Fault::new(format!("needs at least one of {}", names.join(", "))));
            }
            Rule::With { field, others } if !set.contains(field) => {
                if let Some(other) = others.iter().find(is_set) {
                    return Err(Fault::new(format!("is required when {other} is set")).within(field));
                }
            }
            Rule::AnyOf(_) | Rule::With { .. } => {}
        }
    }
    Ok(())
}

fn list(object: &Object, raw: &RawValue, level: Level<'_>) -> Result<IsSet, Fault> {
    each(raw, |element| {
        let is_set = Type::of(element) != Type::Null && check_object(object, element, level.reading(element))?;
        rule(is_set, "must not hold null or empty objects")
    })
}

/// Checks every element. `null` among plain values is taken for their zero value.
fn each(raw: &RawValue, mut check: impl FnMut(&RawValue) -> Result<IsSet, Fault>) -> Result<IsSet, Fault> {
    expect(raw, Type::List)?;
    let elements = json::elements(raw);
    for (place, element) in elements.iter().enumerate() {
        check(element).map_err(|fault| fault.within(&place.to_string()))?;
    }
    Ok(!elements.is_empty())
}

fn labels(raw: &RawValue) -> Result<IsSet, Fault> {
    expect(raw, Type::Object)?;
    let members = json::members(raw);
    for (key, value) in &members {
        let checked = match Type::of(value) {
            Type::Null | Type::Bool | Type::Number => Ok(true),
            Type::Text => short(value, 1024),
            other => Err(Fault::new(format!("must be a string, a number or a boolean, found {other}"))),
        };
        checked.map_err(|fault| fault.within(key))?;
    }
    Ok(!members.is_empty())
}

fn headers(raw: &RawValue) -> Result<IsSet, Fault> {
    expect(raw, Type::Object)?;
    for (name, value) in json::members(raw) {
        let is_text = |value: &&RawValue| Type::of(value) == Type::Text;
        let taken = match Type::of(value) {
            Type::Text => true,
            Type::List => json::elements(value).iter().all(is_text),
            _ => false,
        };
        rule(taken, "must be a string or a list of strings").map_err(|fault| fault.within(&name))?;
    }
    Ok(true)
}

fn samples(sample: &Object, raw: &RawValue, level: Level<'_>) -> Result<IsSet, Fault> {
    expect(raw, Type::Object)?;
    let members = json::members(raw);
    for (name, value) in &members {
        rule(!name.contains(['*', '"']), "must not hold '*' or '\"' in its name")
            .map_err(|fault| fault.within(name))?;
        let set = if Type::of(value) == Type::Null { Ok(Vec::new()) } else { set_fields(sample, value, level) };
        // an empty sample is refused: it is the one object whose rules apply when nothing is set
        set.and_then(|set| check_rules(sample, &set)).map_err(|fault| fault.within(name))?;
    }
    Ok(!members.is_empty())
}

fn marks(raw: &RawValue) -> Result<IsSet, Fault> {
    expect(raw, Type::Object)?;
    let groups = json::members(raw);
    for (name, group) in &groups {
        if Type::of(group) == Type::Null {
            continue;
        }
        expect(group, Type::Object).map_err(|fault| fault.within(name))?;
        for (mark, value) in json::members(group) {
            if Type::of(value) != Type::Null {
                number(value).map_err(|fault| fault.within(&mark).within(name))?;
            }
        }
    }
    Ok(!groups.is_empty())
}

fn check_leaves(leaves: &[Leaf], raw: &RawValue) -> Result<IsSet, Fault> {
    expect(raw, Type::Object)?;
    for leaf in leaves {
        let Some(value) = json::at(raw, leaf.path) else { continue };
        let checked = match (&leaf.rule, Type::of(value)) {
            (LeafRule::Short, Type::Text) => short(value, 1024),
            (LeafRule::Int, Type::Number) => int(value).map(|_| true),
            _ => Ok(true),
        };
        checked.map_err(|fault| fault.within(&leaf.path.join(".")))?;
    }
    Ok(!json::members(raw).is_empty())
}

fn expect(raw: &RawValue, wanted: Type) -> Result<IsSet, Fault> {
    match Type::of(raw) {
        found if found == wanted || (found == Type::Null && wanted == Type::Text) => Ok(true),
        found => Err(Fault::new(format!("must be {wanted}, found {found}"))),
    }
}

fn short(raw: &RawValue, max: usize) -> Result<IsSet, Fault> {
    expect(raw, Type::Text)?;
    let text = json::text(raw);
    rule(text.len() <= max || text.chars().count() <= max, format!("must not be longer than {max} characters"))
}

fn non_empty(raw: &RawValue) -> Result<IsSet, Fault> {
    rule(!json::text(raw).is_empty(), "must not be empty")
}

fn int(raw: &RawValue) -> Result<i64, Fault> {
    match Type::of(raw) {
        Type::Number => raw.get().parse().map_err(|_| Fault::new("must be an integer within 64 bits")),
        found => Err(Fault::new(format!("must be an integer, found {found}"))),
    }
}

fn number(raw: &RawValue) -> Result<f64, Fault> {
    match Type::of(raw) {
        Type::Null => Ok(0.0),
        Type::Number => match raw.get().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Fault::new("must be within the range of a 64-bit float")),
        },
        found => Err(Fault::new(format!("must be a number, found {found}"))),
    }
}

fn rule(kept: bool, rule: impl Into<String>) -> Result<IsSet, Fault> {
    if kept { Ok(true) } else { Err(Fault::new(rule)) }
}
