//! The exporter for Elastic's intake v2: `POST /intake/v2/events`, lines of JSON.

mod map;
mod model;
