//! Questions to the exporter as a whole.

mod documents;
mod records;
mod schemas;
mod server;
mod spans;
mod wire;
