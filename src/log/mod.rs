//! The service's log lines: with the ids of the trace that they were written in, in ECS, and to the server (agent-spec 13).

mod ecs;
mod line;
mod log_crate;
mod sender;
mod trace_ids;

pub use self::{ecs::EcsFormat, trace_ids::WithTraceIds};
pub(crate) use self::{log_crate::WithLogTargets, sender::LogSender};
