//! An agent and the server that it sends to, for one test.

use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

use serde_json::Value;

use super::{TestAgentBuilder, scene::Scene};
use crate::{
    Agent, ApmLayer,
    devserver::{Answer, DevServer, Kind},
};

/// An agent of this test alone, and the [`DevServer`] that it sends to, on a free port.
///
/// Any number of them live side by side. Both end when it is dropped.
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

    /// Starts with the default options.
    ///
    /// # Panics
    /// As [`TestAgentBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Options first.
    pub fn builder() -> TestAgentBuilder {
        TestAgentBuilder::default()
    }

    /// The tower layer of this agent, to be put around the app. Layers of `tower_apm::layer()` further in belong to it
    /// then, for each request that comes through it.
    #[must_use]
    pub fn layer(&self) -> ApmLayer {
        self.scene.agent.layer()
    }

    /// The agent, for [`stats`](Agent::stats), [`start_transaction`](Agent::start_transaction) or a shutdown.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.scene.agent
    }

    /// The server, for its [`url`](DevServer::url), or its [`store`](DevServer::store) with all that arrived.
    pub fn server(&self) -> &DevServer {
        &self.server
    }

    /// Delivers what was recorded so far; waits for the deadline at most. Expectations do so by themselves.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + 'static {
        let scene = self.scene.clone();
        async move {
            scene.flush(scene.deadline).await;
        }
    }

    /// Lays down how the server answers the next requests to its intake, one answer for each; then all is normal again.
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

    /// Sets central configuration, the whole of it, as if Kibana had: the server tells it from now on, and the agent
    /// takes it over at once instead of at its next poll. An empty one takes back what was set.
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

    /// Forgets what has arrived, and answers that are laid down.
    pub fn clear(&self) {
        self.server.clear();
    }

    /// The events of a kind that have arrived so far, as they were sent, in the order of their arrival. Does not wait.
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
