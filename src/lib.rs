//! Elastic APM for axum and tower.

mod pipeline;
mod record;

pub use crate::{
    pipeline::{DropReason, Dropped, Stats, Unsent},
    record::{LabelValue, Outcome, SpanId, TraceId, User},
};
