//! The exporter for Elastic's own protocol: `POST /intake/v2/events`, one JSON line per event.
//!
//! ```text
//! elastic's model ─▶ encode ─▶ batch ─▶ server
//!                                       └─▶ answer: what became of the events
//! ```

mod answer;
mod encode;
mod error_response;
mod exporter;
mod json;
mod truncate_event;

pub(crate) use self::exporter::IntakeExporter;
#[cfg(test)]
pub(crate) use self::json::write;

#[cfg(test)]
mod tests;
