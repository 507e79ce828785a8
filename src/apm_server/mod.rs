//! The server that events go to: how it is reached, what it is, and what it tells the agent to do.
//!
//! Knows HTTP and options, and nothing of events.

mod central_config;
mod client;
mod probe;
mod retry_after;
mod settings;
mod version;

#[cfg(feature = "otlp")]
pub(crate) use self::client::hide;
pub(crate) use self::{
    central_config::follow,
    client::ServerClient,
    settings::ServerSettings,
    version::{ServerVersion, look_up},
};
pub(crate) use crate::transport::Answer;
