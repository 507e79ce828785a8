//! Redaction: finds secrets in records and replaces them before an event is encoded.
//!
//! A value is secret because of its name: that of a header, a cookie, a query parameter, a form field, a JSON key, an XML
//! element, or of a `name: value` pair in free text. The name stays visible, and the value becomes [`REDACTED`]. Four kinds
//! of values are secret without a name: user information in a URL, a token behind `Bearer` or `Basic`, a JSON Web Token, and a cookie whose
//! value looks like a token. Labels that a developer sets are not redacted.
//!
//! | file | content |
//! |---|---|
//! | `names` | the patterns of `sanitize_field_names` |
//! | `query`, `cookies`, `json`, `xml` | values whose grammar is known |
//! | `urls`, `pairs`, `value`, `words` | free text: URLs, names with values, the end of a value, words that are not values |
//! | `text` | the order in which free text is searched |
//!
//! Elastic's other agents redact headers and form fields only. A list of `sanitize_field_names` may name exceptions
//! after a `!`: `*token*` would hide `token_id`, and the default list has `!token_id`. A list of the user's own
//! replaces the default with its exceptions.

mod cookies;
mod json;
mod names;
mod pairs;
mod query;
mod text;
mod urls;
mod value;
mod words;
mod xml;

pub(crate) use self::{names::Sanitizer, text::without_queries};
pub(crate) use crate::config::REDACTED;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;
