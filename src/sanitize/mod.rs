//! The one place that decides what is secret, and takes it out before anything is encoded.
//!
//! The name decides, never the value: of a header, a cookie, a query parameter, a form field, or a key in JSON. The
//! key stays visible, its value becomes [`REDACTED`]. Labels are not touched: they are chosen one by one in code.
//!
//! Elastic's other agents leave JSON bodies, custom context and query strings alone; here a `password` in any of them
//! is gone. That makes the breadth of the default list felt: `*token*` would hide the `token_id` of a market's
//! listings, which is the id of a token and what support looks for. Hence a list may name exceptions, after a `!`, and
//! the default list has `!token_id`. A list of the user's own replaces the default with its exceptions.

mod json;
mod names;
mod query;
mod urls;

pub(crate) use self::names::Sanitizer;
pub(crate) use crate::config::REDACTED;

#[cfg(test)]
mod tests;
