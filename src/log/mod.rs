//! The service's log lines: with the ids of the trace that they were written in, in ECS, and to the server (agent-spec 13).

mod ecs;
mod line;
mod sender;
mod trace_ids;

pub(crate) use self::sender::LogSender;
pub use self::{ecs::EcsFormat, trace_ids::WithTraceIds};
