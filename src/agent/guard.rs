//! The guard that `install()` returns. It shuts the agent down when it goes out of scope.

use std::{ops::Deref, time::Duration};

use super::Agent;

/// The maximum time that dropping a guard blocks.
const GRACE: Duration = Duration::from_secs(5);

/// The installed [`Agent`]. Dropping the guard shuts the agent down.
///
/// The drop blocks for up to five seconds while the waiting events are delivered. Call
/// [`agent.shutdown(timeout).await`](Agent::shutdown) before the drop to deliver them without blocking.
#[derive(Debug)]
#[must_use = "dropping it shuts the agent down: keep it until the end of `main`"]
pub struct AgentGuard {
    agent: Agent,
}

impl AgentGuard {
    pub(super) fn new(agent: Agent) -> Self {
        Self { agent }
    }
}

impl Deref for AgentGuard {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl Drop for AgentGuard {
    fn drop(&mut self) {
        // the worker has logged the events that it could not deliver
        let _ = self.agent.shutdown_blocking(GRACE);
    }
}
