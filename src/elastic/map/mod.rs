//! Maps records to the model. The limits of the server and of its index are applied here. Pure: no clock, no I/O, no globals.

mod body;
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
mod otel_transaction;
mod request;
mod span;
mod transaction;
mod url;

pub(crate) use self::labels::is_exact;
pub(super) use self::{body::is_broken, labels::index_key};
pub(crate) use self::{
    error::error,
    labels::tags,
    log::log,
    metadata::metadata,
    metricset::{is_metric_name, metricset},
    span::{frames, span},
    transaction::transaction,
};
#[cfg(feature = "otlp")]
pub(crate) use self::{histogram::values as histogram_values, labels::field_tags};
