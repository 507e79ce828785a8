//! Questions to the exporter as a whole.

mod documents;
mod json;
pub(super) mod records;
pub(super) mod schemas;
mod server;
mod spans;
mod wire;
