//! Tests of the mapping as a whole, and the records and schema checks that other tests use.

mod documents;
pub(crate) mod records;
pub(crate) mod schemas;
mod spans;
