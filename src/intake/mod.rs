//! The exporter for Elastic's intake v2: `POST /intake/v2/events`, one JSON line per event.
//!
//! ```text
//! record ─▶ map ─▶ model ─▶ encode ─▶ batch ─▶ transport ─▶ server
//!                                                  └─▶ answer: what became of the events
//! ```

mod answer;
mod encode;
mod exporter;
mod json;
mod map;
mod model;
mod settings;
mod shorten;
mod tls;
mod told;
mod transport;
mod traps;

pub(crate) use self::{exporter::IntakeExporter, settings::IntakeSettings};

#[cfg(test)]
mod tests;
