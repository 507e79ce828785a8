//! Recording of received messages with an agent that is not installed.

use super::Agent;
use crate::client::messaging::Receive;

impl Receive<'_> {
    /// Records into this agent instead of the installed agent. Use this in tests.
    ///
    /// ```
    /// use tower_apm::messaging;
    ///
    /// # async fn consume(agent: &tower_apm::Agent) {
    /// messaging::receive("kafka", "sales").agent(agent).run(async {}).await;
    /// # }
    /// ```
    pub fn agent(self, agent: &Agent) -> Self {
        self.recorder(agent.recorder().clone())
    }
}
