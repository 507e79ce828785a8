//! One function for each target: takes any bytes and panics where something does not hold.

mod intake;
mod json;
mod options;
mod otlp;
mod sanitize_json;
mod sanitize_text;
mod sql;
mod trace_headers;
mod wildcard;

pub use self::{
    intake::intake, options::options, otlp::otlp, sanitize_json::sanitize_json, sanitize_text::sanitize_text, sql::sql,
    trace_headers::trace_headers, wildcard::wildcard,
};
