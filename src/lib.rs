//! Elastic APM for axum and tower.

mod intake;
mod pipeline;
mod record;
mod sanitize;
#[cfg(test)]
mod spec_folder;
mod sql;
mod stack;

pub use crate::{
    pipeline::{DropReason, Dropped, Stats, Unsent},
    record::{LabelValue, Outcome, SpanId, TraceId, User},
};
