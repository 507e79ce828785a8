//! What `install()` returns: it delivers what waits when it goes out of scope.

use std::{ops::Deref, time::Duration};

use super::Agent;

/// How long a guard that is dropped waits for the server.
const GRACE: Duration = Duration::from_secs(5);

/// The installed [`Agent`]. Dropping it shuts the agent down and blocks for up to five seconds while what waits is
/// delivered; `agent.shutdown(timeout).await` before that does the same without blocking.
#[derive(Debug)]
#[must_use = "dropping it shuts the agent down: keep it to the end of `main`"]
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
        // the worker has logged what it could not deliver
        let _ = self.agent.shutdown_blocking(GRACE);
    }
}
