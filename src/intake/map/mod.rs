//! From record to model, purely: no clock, no I/O, no globals. Here the rules of the server and of its index are met.

mod body;
mod bridged;
mod context;
mod custom;
mod error;
mod histogram;
mod labels;
mod log;
mod message;
mod metadata;
mod metricset;
mod origin;
mod request;
mod semconv;
mod span;
mod span_type;
mod target;
mod transaction;
mod truncate;
mod url;

pub(crate) use self::{
    body::is_broken,
    error::error,
    labels::{index_key, is_exact, tags},
    log::log,
    metadata::metadata,
    metricset::{is_metric_name, metricset},
    span::{describe, frames, span},
    span_type::span_type,
    transaction::transaction,
    truncate::cut,
};
#[cfg(feature = "otlp")]
pub(crate) use self::{histogram::values as histogram_values, labels::field_tags};
