//! Elastic APM for axum and tower.

#[cfg(feature = "devserver")]
#[cfg_attr(docsrs, doc(cfg(feature = "devserver")))]
pub mod devserver;
mod pipeline;
mod record;

pub use crate::{
    pipeline::{DropReason, Dropped, Stats, Unsent},
    record::{LabelValue, Outcome, SpanId, TraceId, User},
};
