//! The exporter for Elastic's intake v2: `POST /intake/v2/events`, one JSON line per event.
//!
//! ```text
//! record ─▶ map ─▶ model ─▶ encode ─▶ batch ─▶ server
//!                                     └─▶ answer: what became of the events
//! ```

mod answer;
mod encode;
mod exporter;
mod json;
mod map;
pub(crate) mod model;
mod shorten;
mod told;
mod traps;

pub(crate) use self::{
    exporter::IntakeExporter,
    map::{describe, span_type},
};
/// A record in Elastic's terms: what any exporter tells.
#[cfg(feature = "otlp")]
pub(crate) use self::{
    map::{cut, error, field_tags, frames, histogram_values, is_exact, is_metric_name, log, span, tags, transaction},
    traps::Traps,
};

#[cfg(test)]
mod tests;
