//! An agent and the server that it sends to, for one test.

use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

use serde_json::Value;

use super::{TestAgentBuilder, scene::Scene};
use crate::{
    Agent, ApmLayer,
    devserver::{Answer, DevServer, Kind},
};

/// An agent for one test, and the [`DevServer`] to which the agent sends its events, on a free port.
///
/// A process can have any number of test agents. Dropping the test agent stops both the agent and the server.
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tower::ServiceExt;
/// use tower_apm::testkit::TestAgent;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let apm = TestAgent::start().await;
/// let app = Router::new().route("/listings/{id}", get(async || "a listing")).layer(apm.layer());
/// app.oneshot(Request::get("/listings/7").body(Body::empty()).unwrap()).await.unwrap();
///
/// apm.expect_transaction("GET /listings/{id}").await.outcome("success").status(200);
/// # }
/// ```
#[must_use = "the agent and its server stop when it is dropped"]
pub struct TestAgent {
    pub(super) scene: Scene,
    server: DevServer,
}

impl TestAgent {
    pub(super) fn new(scene: Scene, server: DevServer) -> Self {
        Self { scene, server }
    }

    /// Starts an agent and a server with the default options.
    ///
    /// # Panics
    /// Panics in the same cases as [`TestAgentBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Returns a builder with options.
    pub fn builder() -> TestAgentBuilder {
        TestAgentBuilder::default()
    }

    /// Returns the tower layer of this agent. Add the layer around the app. Inner layers from `tower_apm::layer()` then use this
    /// agent too.
    #[must_use]
    pub fn layer(&self) -> ApmLayer {
        self.scene.agent.layer()
    }

    /// Returns the agent, for [`stats`](Agent::stats), [`start_transaction`](Agent::start_transaction) or a shutdown.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.scene.agent
    }

    /// Returns the server, for its [`url`](DevServer::url) and its [`store`](DevServer::store) of received events.
    pub fn server(&self) -> &DevServer {
        &self.server
    }

    /// Delivers the events that were recorded before the call, at most until the deadline. Expectations call this method.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + 'static {
        let scene = self.scene.clone();
        async move {
            scene.flush(scene.deadline).await;
        }
    }

    /// Sets the server's responses to the next intake requests, one for each request. Later requests are answered as usual.
    ///
    /// ```
    /// use tower_apm::testkit::{Answer, TestAgent};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::start().await;
    /// apm.answer([Answer::unavailable(), Answer::cut()]);
    /// apm.agent().start_transaction("settle auctions", "scheduled").run(async {}).await;
    ///
    /// apm.expect_transaction("settle auctions").await; // the third attempt
    /// assert_eq!(apm.agent().stats().accepted, 1);
    /// # }
    /// ```
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.server.script(answers);
    }

    /// Replaces the whole central configuration, as Kibana does. The agent applies the configuration at once instead of at its
    /// next poll. An empty configuration resets all options.
    ///
    /// ```
    /// use tower_apm::testkit::TestAgent;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::start().await;
    /// apm.set_central_config([("transaction_name_groups", "settle *")]);
    /// apm.agent().start_transaction("settle 7", "scheduled").run(async {}).await;
    ///
    /// apm.expect_transaction("settle *").await;
    /// # }
    /// ```
    pub fn set_central_config(&self, options: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) {
        let options = options.into_iter().map(|(name, value)| (name.into(), value.into()));
        let options: BTreeMap<String, String> = options.collect();
        self.server.set_agent_config("", options.clone());
        self.scene.agent.apply_central_config(options);
    }

    /// Removes the received events, and the responses that were set with [`answer`](Self::answer).
    pub fn clear(&self) {
        self.server.clear();
    }

    /// Returns the received events of one kind in the order of their arrival, as they were sent. This method does not wait.
    ///
    /// ```
    /// use tower_apm::testkit::{Kind, TestAgent};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::start().await;
    /// apm.agent().start_transaction("settle auctions", "scheduled").run(async {}).await;
    /// apm.flush().await;
    ///
    /// assert_eq!(apm.events(Kind::Transaction)[0]["type"], "scheduled");
    /// assert_eq!(apm.events(Kind::Metadata)[0]["service"]["agent"]["name"], "rust");
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self, kind: Kind) -> Vec<Value> {
        self.scene.events(kind)
    }

    /// How long expectations wait.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.scene.deadline
    }
}

impl fmt::Debug for TestAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAgent").field("agent", &self.scene.agent).field("server", &self.server).finish()
    }
}
