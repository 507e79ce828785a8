//! Says of one line what the APM Server would say of it.
//!
//! The rules are tables, one file per event type, in the words of [`schema`]; [`interpret`] holds a line against them.
//! They were learnt from the server's decoder and are kept honest by a test that feeds the same bytes to both.

mod error;
mod interpret;
mod log;
mod metadata;
mod metricset;
mod schema;
mod shared;
mod span;
mod timestamp;
mod transaction;

use std::cell::Cell;

use serde_json::value::RawValue;

use self::schema::{Object, Shape};
use super::{
    event::Kind,
    json::{self, Type},
};

/// The verdict on one line.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    Accepted {
        kind: Kind,
        body: &'a RawValue,
    },
    /// Valid, but the server makes nothing of it and does not count it: a breakdown metric set without the samples that
    /// it knows.
    Ignored,
    Rejected {
        /// What the line wanted to be, where that is known.
        kind: Option<Kind>,
        message: String,
    },
}

/// Judges a line that must be the metadata of its stream. Adds to `read` the bytes that this took: those of each level of
/// nesting count again.
pub(crate) fn judge_metadata<'a>(line: &'a str, read: &Cell<usize>) -> Verdict<'a> {
    match first_key(line) {
        Some("metadata") => judge_as(Kind::Metadata, line, read),
        _ => Verdict::Rejected { kind: None, message: "the first line of a stream must be \"metadata\"".to_owned() },
    }
}

/// Judges any line after the metadata, as [`judge_metadata`]. The line is not empty.
pub(crate) fn judge_event<'a>(line: &'a str, read: &Cell<usize>) -> Verdict<'a> {
    let key = first_key(line).unwrap_or_default();
    match Kind::of_event(key) {
        Some(kind) => judge_as(kind, line, read),
        None => {
            let known = "transaction, span, error, metricset or log";
            let message = format!("did not recognize object type: \"{key}\" is none of {known}");
            Verdict::Rejected { kind: None, message }
        }
    }
}

/// What stands between the first quotes of the line: by this alone the server tells what the line is.
fn first_key(line: &str) -> Option<&str> {
    let start = line.find(['"', '\''])?;
    let (quote, rest) = line.get(start..)?.split_at_checked(1)?;
    rest.split_once(quote).map(|(key, _)| key)
}

fn judge_as<'a>(kind: Kind, line: &'a str, read: &Cell<usize>) -> Verdict<'a> {
    let rejected = |message| Verdict::Rejected { kind: Some(kind), message };
    let root = match json::leading(line) {
        Ok(root) if Type::of(root) == Type::Object => root,
        Ok(root) => return rejected(format!("decode error: the line must be an object, found {}", Type::of(root))),
        Err(error) => return rejected(format!("decode error: {error}")),
    };
    let mut body = None;
    for (key, value) in json::members(root) {
        if key == kind.as_str() || key.to_lowercase() == kind.as_str() {
            match interpret::check(kind.as_str(), &Shape::Object(table(kind)), value, read) {
                Ok(true) => body = Some(value),
                Ok(false) => {}
                Err(fault) => return rejected(format!("validation error: {fault}")),
            }
        } else if !json::numbers_fit(value) {
            return rejected(format!("decode error: a number in \"{key}\" is beyond the range of a 64-bit float"));
        }
    }
    match body {
        None => rejected(format!("validation error: '{kind}' is required")),
        Some(body) if kind == Kind::Metricset && !is_kept(body) => Verdict::Ignored,
        Some(body) => Verdict::Accepted { kind, body },
    }
}

fn table(kind: Kind) -> &'static Object {
    match kind {
        Kind::Metadata => &metadata::METADATA,
        Kind::Transaction => &transaction::TRANSACTION,
        Kind::Span => &span::SPAN,
        Kind::Error => &error::ERROR,
        Kind::Metricset => &metricset::METRICSET,
        Kind::Log => &log::LOG,
    }
}

/// A metric set that names a transaction is a breakdown: without a span and a sample of it, nothing of it is kept.
fn is_kept(metricset: &RawValue) -> bool {
    let members = json::members(metricset);
    let names_one_of = |object: &str, fields: [&str; 2]| {
        let objects = members.iter().filter(|(key, _)| key.to_lowercase() == object);
        objects
            .flat_map(|(_, value)| json::members(value))
            .any(|(key, value)| fields.contains(&key.to_lowercase().as_str()) && Type::of(value) != Type::Null)
    };
    !names_one_of("transaction", ["name", "type"])
        || (names_one_of("span", ["type", "subtype"]) && names_one_of("samples", metricset::BREAKDOWN_SAMPLES))
}
