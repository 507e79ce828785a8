//! Questions to the exporter as a whole.

mod json;
mod server;
mod wire;
