//! Received messages of an agent that is not the installed one.

use super::Agent;
use crate::client::messaging::Receive;

impl Receive<'_> {
    /// Records into this agent instead of the installed one, as tests do with their own agent.
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
