//! Everything that reads text which somebody else wrote.

use http::HeaderMap;

use crate::{
    config::{CodeOptions, Config, EnvVars, OPTIONS, Wildcard, resolve},
    propagation::{self, Outgoing},
    sanitize, semconv,
};

/// Whether a wildcard pattern matches a text.
#[must_use]
pub fn wildcard_matches(pattern: &str, text: &str) -> bool {
    Wildcard::new(pattern).matches(text)
}

/// The name of a SQL statement.
#[must_use]
pub fn sql_signature(statement: &str) -> String {
    semconv::signature(statement).into_owned()
}

/// The patterns of `sanitize_field_names` where nobody sets it.
#[must_use]
pub fn default_secret_names() -> Vec<String> {
    Config::default().sanitize_field_names.iter().map(|pattern| pattern.as_str().to_owned()).collect()
}

/// A caller's trace headers, as they were understood.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceHeaders {
    pub trace_id: String,
    pub parent_id: String,
    pub sampled: bool,
    pub sample_rate: Option<f64>,
    /// The headers of a call that is made with the caller's span as its parent.
    pub passed_on: HeaderMap,
}

/// None where there is no valid `traceparent`.
#[must_use]
pub fn trace_headers(headers: &HeaderMap) -> Option<TraceHeaders> {
    let propagation::Incoming { trace_id, parent_id, sampled, sample_rate, tracestate } =
        propagation::extract(headers).0?;
    let outgoing = Outgoing { trace_id, parent_id, sampled, tracestate, legacy: false, baggage: None };
    let passed_on =
        outgoing.headers().filter_map(|(name, value)| Some((name.parse().ok()?, value?.parse().ok()?))).collect();
    let (trace_id, parent_id) = (trace_id.to_string(), parent_id.to_string());
    Some(TraceHeaders { trace_id, parent_id, sampled, sample_rate, passed_on })
}

/// What takes secrets out, with the default names.
#[derive(Debug, Clone, Default)]
pub struct Sanitizer(sanitize::Sanitizer);

impl Sanitizer {
    /// Whether a value under this name is hidden.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        self.0.is_secret(name)
    }

    /// JSON text; None if it is not JSON.
    #[must_use]
    pub fn json(&self, text: &str) -> Option<String> {
        self.0.json_text(text)
    }

    /// JSON text that was cut somewhere; None if it does not even begin as JSON.
    #[must_use]
    pub fn json_prefix(&self, text: &str) -> Option<String> {
        self.0.json_prefix(text)
    }

    /// A query string or the body of a form.
    #[must_use]
    pub fn query(&self, query: &str) -> String {
        self.0.query(query).into_owned()
    }

    /// The cookies of a `Cookie` header.
    #[must_use]
    pub fn cookies(&self, header: &str) -> Vec<(String, String)> {
        self.0.cookies(header).into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    /// Free text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.0.text(text).into_owned()
    }

    /// The name of a span or a transaction.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        self.0.name(name).into_owned()
    }

    /// A text with URLs in it.
    #[must_use]
    pub fn urls_in(&self, text: &str) -> String {
        self.0.urls_in(text).into_owned()
    }
}

/// Every option as an environment sets it.
#[derive(Debug, Clone)]
pub struct Options {
    pub values: Vec<OptionValue>,
    /// One for each value that is not allowed.
    pub warnings: Vec<String>,
    /// The start-up line.
    pub described: String,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionValue {
    pub name: &'static str,
    /// The variable that sets it.
    pub variable: &'static str,
    /// As it would be written in the environment; hidden where it is secret, empty where it is not set.
    pub shown: String,
    pub secret: bool,
}

/// Reads all options from an environment.
#[must_use]
pub fn options(environment: &EnvVars) -> Options {
    let (config, warnings) = resolve(&CodeOptions::default(), environment);
    let values = OPTIONS.iter().zip(config.shown()).map(|(row, shown)| OptionValue {
        name: row.name,
        variable: row.variables.first().copied().unwrap_or_default(),
        shown,
        secret: row.secret,
    });
    Options {
        values: values.collect(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        described: config.describe(),
    }
}
