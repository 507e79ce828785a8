//! How a test's agent and its server are set up.

use std::{thread, time::Duration};

use super::{TestAgent, process, scene::Scene};
use crate::{Agent, AgentBuilder, EnvVars, Exporter, OtlpProtocol, devserver::DevServer};

/// Builds a [`TestAgent`]. All options have defaults. Call [`start`](Self::start) to start the agent.
///
/// ```
/// use std::time::Duration;
/// use tower_apm::{CaptureBody, testkit::TestAgent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let apm = TestAgent::builder()
///     .configure(|agent| agent.capture_body(CaptureBody::Errors).transaction_max_spans(10))
///     .secret_token("hunter2")
///     .deadline(Duration::from_secs(2))
///     .start()
///     .await;
/// # let _ = apm;
/// # }
/// ```
#[must_use = "nothing runs before `start()`"]
pub struct TestAgentBuilder {
    configure: Box<dyn FnOnce(AgentBuilder) -> AgentBuilder + Send>,
    secret_token: Option<String>,
    deadline: Duration,
}

impl Default for TestAgentBuilder {
    fn default() -> Self {
        Self { configure: Box::new(|agent| agent), secret_token: None, deadline: Duration::from_secs(10) }
    }
}

impl TestAgentBuilder {
    /// Sets options of the agent. Several calls add up.
    ///
    /// The test kit sets these options before: an empty environment, the URL of the server, a service name with the name of the
    /// test, and an `api_request_time` of 10 ms. Metrics and stacks of spans are off, because they depend on the time. The agent
    /// does not poll central configuration, because [`TestAgent::set_central_config`] applies it at once.
    pub fn configure(mut self, configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> Self {
        let before = self.configure;
        self.configure = Box::new(|agent| configure(before(agent)));
        self
    }

    /// Makes the agent send OTLP over HTTP or gRPC instead of Elastic's own protocol.
    ///
    /// This needs the feature `otlp`. The expectations are the same, see [By OTLP](super#by-otlp).
    ///
    /// ```
    /// use tower_apm::{OtlpProtocol, User, testkit::TestAgent};
    ///
    /// # #[cfg(feature = "otlp")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::builder().otlp(OtlpProtocol::Grpc).start().await;
    /// let job = apm.agent().start_transaction("settle auctions", "scheduled");
    /// job.set_user(User::id("0xdef")).set_custom_context("order", 7);
    /// drop(job);
    ///
    /// apm.expect_transaction("settle auctions").await.user_id("0xdef").custom("/order", 7);
    /// # }
    /// # #[cfg(not(feature = "otlp"))]
    /// # fn main() {}
    /// ```
    pub fn otlp(self, protocol: OtlpProtocol) -> Self {
        self.configure(move |agent| agent.exporter(Exporter::Otlp).otlp_protocol(protocol))
    }

    /// Sets a secret token, which the agent sends and the server requires. By default, there is no token.
    pub fn secret_token(mut self, token: impl Into<String>) -> Self {
        self.secret_token = Some(token.into());
        self
    }

    /// Sets how long an expectation waits before it fails. The default is 10 s, because resolving the first stack of a process
    /// can take seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the server on a free port of this machine, and the agent.
    ///
    /// # Panics
    /// Panics if no port or thread is available, or if a certificate of [`configure`](Self::configure) cannot be read.
    pub async fn start(self) -> TestAgent {
        let note = process::prepare();
        let mut server = DevServer::builder();
        let mut agent = Agent::builder()
            .env_vars(EnvVars::empty())
            .service_name(service_name(thread::current().name()))
            .api_request_time(Duration::from_millis(10))
            .metrics_interval(Duration::ZERO)
            .span_stack_trace_min_duration(None)
            // a poll that is answered late would undo what a test sets
            .central_config(false);
        if let Some(token) = self.secret_token {
            server = server.secret_token(&token);
            agent = agent.secret_token(token);
        }
        let server = server.bind("127.0.0.1:0").unwrap_or_else(|error| panic!("the test's APM server: {error}"));
        let agent = (self.configure)(agent.server_url(server.url())).build();
        let agent = agent.unwrap_or_else(|error| panic!("the test's agent: {error}"));
        agent.recorder().start_watch();
        let scene = Scene { agent, store: server.store().clone(), deadline: self.deadline, note };
        TestAgent::new(scene, server)
    }
}

/// libtest names a test's thread after the test.
fn service_name(thread: Option<&str>) -> String {
    let allowed = |char: char| if char.is_ascii_alphanumeric() { char } else { '-' };
    thread.map_or_else(|| "test".to_owned(), |name| name.replace("::", " ").chars().map(allowed).collect())
}

impl std::fmt::Debug for TestAgentBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestAgentBuilder").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
