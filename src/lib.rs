//! Elastic APM for axum and tower.

#[expect(dead_code, unused_imports, unused_macros, reason = "the builder and the layer come on top")]
mod config;
mod pipeline;
mod record;

pub use crate::{
    config::{CaptureBody, Environment, LogLevel},
    pipeline::{DropReason, Dropped, Stats, Unsent},
    record::{LabelValue, Outcome, SpanId, TraceId, User},
};
