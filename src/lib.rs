//! Elastic APM for axum and tower.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod agent;
mod capture;
mod config;
#[cfg(feature = "devserver")]
#[cfg_attr(docsrs, doc(cfg(feature = "devserver")))]
pub mod devserver;
mod error;
mod intake;
mod pipeline;
mod propagation;
mod record;
mod sanitize;
mod server;
mod span;
#[cfg(test)]
mod spec_folder;
mod sql;
mod stack;
#[cfg(feature = "testkit")]
#[cfg_attr(docsrs, doc(cfg(feature = "testkit")))]
pub mod testkit;
pub mod trace_context;
mod transaction;

pub use crate::{
    agent::{Agent, AgentBuilder, AgentGuard, LogFormat},
    capture::{CapturedError, panic_hook},
    config::{CaptureBody, Environment, LogLevel},
    error::BuildError,
    pipeline::{DropReason, Dropped, Stats, Unsent},
    record::{LabelValue, Outcome, SpanId, TraceId, User},
    server::{ApmLayer, ApmService, Panicked, ResponseBody, ResponseExt, ResponseFuture, ServiceError, layer},
    transaction::{StartedTransaction, Transaction},
};
