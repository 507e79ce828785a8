//! Elastic APM for axum and tower.

#[allow(dead_code, unused_imports, reason = "what uses it comes on top")]
mod agent;
#[allow(dead_code, unused_imports, reason = "what uses it comes on top")]
mod config;
mod error;
mod pipeline;
#[allow(dead_code, unused_imports, reason = "what uses it comes on top")]
mod propagation;
mod record;
#[allow(dead_code, unused_imports, reason = "what uses it comes on top")]
mod sanitize;

pub use crate::{
    config::{CaptureBody, Environment, LogLevel},
    error::BuildError,
    pipeline::{DropReason, Dropped, Stats, Unsent},
    record::{LabelValue, Outcome, SpanId, TraceId, User},
};
