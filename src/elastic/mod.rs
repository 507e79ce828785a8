//! Elastic's document model, which both exporters send: intake v2 as JSON, OTLP as attributes.
//!
//! ```text
//! record ─▶ map ─▶ model ─▶ intake: JSON lines
//!                        └▶ otlp: attributes
//! ```

mod index_checks;
pub(crate) mod map;
pub(crate) mod model;

pub(crate) use self::index_checks::IndexChecks;

#[cfg(test)]
pub(crate) mod tests;
