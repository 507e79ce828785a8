//! The builder of an agent, and the start of the agent's thread.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Agent, AgentGuard, Inner, LogFormat,
    log_filter::RUST_LOG,
    resource::{self, Host},
    startup::Startup,
    subscriber::{self, LogFilters, LogLevelSwitch},
    tls_warning,
};
use crate::{
    apm_server::{ServerClient, ServerSettings, ServerVersion, follow, look_up},
    capture::install_panic_hook,
    client::sqlx::{IntoSqlxDatabase, SqlxDatabase, SqlxUrlError},
    config::{
        CaptureBody, CaptureLogErrors, CaptureSpanFields, Central, CloudProvider, CodeOptions, Config, EnvVars,
        Exporter, LiveConfig, LogEcsReformatting, LogLevel, OtlpCompression, OtlpProtocol, Secret,
        TraceContinuationStrategy, define_setters, option_setters, unknown_variables,
    },
    error::BuildError,
    intake::IntakeExporter,
    metadata::CloudMetadata,
    metrics::{Metrics, can_be_sent},
    otel::{ApmTracer, ElasticPropagator},
    pipeline::{Discard, Measuring, Queue, Worker, WorkerSettings},
    record::{Resource, TraceId},
    transaction::{ErrorFilters, FinishedTransaction, Recorder, ReportedError, TransactionFilters, install, installed},
};
#[cfg(feature = "otlp")]
use crate::{config::Origin, otlp::OtlpExporter, pipeline::WithCopy};

/// Builds an agent with options.
///
/// Each option can be set by an environment variable or by a setter. The variable takes precedence. An invalid value is logged
/// as a warning, and the next source is used.
///
/// ```
/// use std::time::Duration;
/// use tower_apm::{Agent, EnvVars};
///
/// # fn main() -> Result<(), tower_apm::BuildError> {
/// let agent = Agent::builder()
///     .env_vars(EnvVars::empty()) // ignores the variables of the machine that runs the test
///     .service_name("marketplace")
///     .server_url("http://127.0.0.1:8200")
///     .api_request_time(Duration::from_secs(5))
///     .build()?;
/// # let _ = agent;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "no agent starts before `install()`, `install_without_subscriber()` or `build()`"]
pub struct AgentBuilder {
    options: CodeOptions,
    env_vars: Option<EnvVars>,
    log_format: LogFormat,
    log_filter: Option<String>,
    gzip: Option<bool>,
    filters: TransactionFilters,
    error_filters: ErrorFilters,
    sqlx: Option<Result<SqlxDatabase, SqlxUrlError>>,
}

option_setters!(AgentBuilder);

impl AgentBuilder {
    /// Sets the environment variables to read, in place of the variables of the process.
    pub fn env_vars(mut self, variables: EnvVars) -> Self {
        self.env_vars = Some(variables);
        self
    }

    /// Sets the format in which [`install`](Self::install) prints log lines. Default: [`LogFormat::Full`].
    pub fn log_format(mut self, format: LogFormat) -> Self {
        self.log_format = format;
        self
    }

    /// Sets which log lines [`install`](Self::install) prints if `RUST_LOG` is not set. Default: `info`.
    ///
    /// The filter is a list of levels, and of targets with levels, such as `info,my_crate=debug`. With the feature
    /// `env-filter` the syntax is that of `tracing_subscriber::EnvFilter`, which also filters by spans and fields.
    pub fn log_filter(mut self, filter: impl Into<String>) -> Self {
        self.log_filter = Some(filter.into());
        self
    }

    /// Sets whether requests are compressed. By default, they are compressed, except for a server on this machine.
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = Some(gzip);
        self
    }

    /// Adds a filter that is called at the end of each transaction. Return `false` to drop the transaction.
    ///
    /// With several filters, a transaction is kept only if all filters return `true`. To ignore requests by path,
    /// `transaction_ignore_urls` is cheaper. With a filter, the spans of a transaction wait for its end, and are sent or dropped
    /// with the transaction. Errors of the transaction are always sent. Dropped events are counted in
    /// [`Stats::filtered`](crate::Stats::filtered). A transaction with more than 1000 spans is kept without calling the filter.
    /// A panic in the filter is caught and counted, and the transaction is kept. The filter runs on the thread on which the
    /// transaction ends, so it must be quick. Transactions that a filter or hook starts are kept without calling the filter, and
    /// spans that a filter or hook enters are not recorded.
    ///
    /// ```
    /// use tower_apm::{Agent, Outcome};
    ///
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let agent = Agent::builder()
    ///     .transaction_filter(|tx| tx.path() != Some("/health") || tx.outcome() != Outcome::Success)
    ///     .build()?;
    /// # let _ = agent;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction_filter<F>(mut self, keeps: F) -> Self
    where
        F: Fn(&FinishedTransaction<'_>) -> bool + Send + Sync + 'static,
    {
        self.filters.add(keeps);
        self
    }

    /// Adds a filter that is called for every error before it is queued. Return `false` to drop the error.
    ///
    /// If there are several filters, all of them must return `true`. Dropped errors are counted in
    /// [`Stats::filtered`](crate::Stats::filtered); the outcome of the transaction does not change. To filter by type
    /// only, use `ignore_exceptions`. A panic in the filter is contained and counted, and the error is kept.
    ///
    /// The filter runs on the thread that captures the error, so it must be quick. For a panic it runs after the panic
    /// hook; for a panic outside a transaction, on the agent's thread. Errors that a filter or hook captures or logs are
    /// kept without calling the filter.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let agent = tower_apm::Agent::builder()
    ///     .error_filter(|error| !(error.handled() && error.message().contains("out of stock")))
    ///     .build()?;
    /// # let _ = agent;
    /// # Ok(())
    /// # }
    /// ```
    pub fn error_filter<F>(mut self, keeps: F) -> Self
    where
        F: Fn(&ReportedError<'_>) -> bool + Send + Sync + 'static,
    {
        self.error_filters.add(keeps);
        self
    }

    /// Sets the database of the statements that sqlx logs.
    ///
    /// The spans of the statements then have the subtype, name, address and service target of this database. By
    /// default, their subtype is `sql`. If the method is called several times, the last database is used for all
    /// statements, because sqlx does not log the database of a statement. See [`tower_apm::sqlx`](crate::sqlx).
    ///
    /// The argument is a [`SqlxDatabase`] or the result of [`SqlxDatabase::from_url`]. A URL that is not valid does not fail
    /// the build. It is logged as a warning, without the URL.
    ///
    /// ```
    /// use tower_apm::{Agent, SqlxDatabase};
    ///
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let database = SqlxDatabase::from_url("postgres://app:secret@db.internal/orders");
    /// let agent = Agent::builder().service_name("marketplace").sqlx(database).build()?;
    /// # let _ = agent;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sqlx(mut self, database: impl IntoSqlxDatabase) -> Self {
        self.sqlx = Some(database.into_sqlx_database());
        self
    }

    /// Starts the agent and sets nothing globally: for tests, and for several agents in one process.
    ///
    /// [`tower_apm::layer()`](crate::layer), [`Transaction::start`](crate::Transaction::start) and errors outside of
    /// transactions use the installed agent and not this one. Instead, use [`Agent::layer`],
    /// [`Agent::start_transaction`] and [`Agent::capture_error`].
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate cannot be read or used, or if no thread can be started. Other options cannot
    /// cause an error. See [`Agent::warnings`].
    pub fn build(self) -> Result<Agent, BuildError> {
        let agent = self.start(cloud_metadata_for)?;
        agent.log_startup();
        Ok(agent)
    }

    /// Starts the agent and installs it for the process, for a service that has its own `tracing` subscriber.
    ///
    /// The method sets everything that [`install`](Self::install) sets, except for the subscriber and the logger of the
    /// `log` crate. Add [`Agent::tracing_layer`] to your subscriber. The subscriber can be set before or after this call.
    /// The agent logs its start and its warnings as soon as the subscriber is set. [`log_format`](Self::log_format) and
    /// [`log_filter`](Self::log_filter) have no effect.
    ///
    /// Keep the guard until the end of `main`.
    ///
    /// ```no_run
    /// use tower_apm::Agent;
    /// use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};
    ///
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let agent = Agent::builder().service_name("marketplace").install_without_subscriber()?;
    /// tracing_subscriber::registry()
    ///     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO)) // the filter belongs to the layer
    ///     .with(agent.tracing_layer())
    ///     .init();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`build`](Self::build), and [`BuildError::AlreadyInstalled`] if an agent is installed. Nothing
    /// is set then.
    pub fn install_without_subscriber(self) -> Result<AgentGuard, BuildError> {
        if installed().is_some() {
            return Err(BuildError::AlreadyInstalled);
        }
        let agent = self.start(cloud_metadata_for)?;
        install_globally(agent.recorder());
        agent.log_startup();
        Ok(AgentGuard::new(agent))
    }

    /// Starts the agent. `cloud` creates the reader of the cloud metadata.
    fn start(self, cloud: impl FnOnce(&Config) -> Option<CloudMetadata>) -> Result<Agent, BuildError> {
        let env = self.env_vars.unwrap_or_else(EnvVars::process);
        let unknown =
            [unknown_variables(&env), env.broken_otel_attributes(), resource::unknown_activation_method(&env)];
        let (live, warnings) = LiveConfig::new(self.options, env);
        let config = live.snapshot();
        let no_log_lines = (config.log_sending && config.sends_spans_only()).then(|| {
            "log_sending has no effect, because OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is for traces only: set \
             OTEL_EXPORTER_OTLP_ENDPOINT instead"
                .to_owned()
        });
        let (database, no_database) = match self.sqlx.transpose() {
            Ok(database) => (database.map_or_else(Vec::new, |database| database.attributes()), None),
            Err(error) => (Vec::new(), Some(format!("sqlx: {error}; SQL spans have no database"))),
        };
        let further = unknown.into_iter().flatten().chain(no_log_lines).chain(no_database);
        let further = further.chain(tls_warning::missing_provider(&config));
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).chain(further).collect();
        let warnings: Arc<[String]> = warnings.into();
        let queue = Queue::new(config.max_queue_size, config.max_queue_bytes);
        let recorder = Arc::new(
            Recorder::new(live.clone(), queue.clone())
                .with_filters(self.filters, self.error_filters)
                .with_database(database),
        );
        let log_level = LogLevelSwitch::default();
        let startup = Arc::new(Startup::default());
        let tasks = || background_tasks(recorder.clone(), startup.clone(), warnings.clone());
        let start = || start_worker(&recorder, &live, &queue, self.gzip, log_level.clone(), tasks(), cloud);
        let worker = config.enabled.then(start).transpose()?;
        if let Some(worker) = &worker {
            recorder.panics().set_flusher(worker.flusher());
        }
        Ok(Agent { inner: Arc::new(Inner { recorder, queue, worker, warnings, log_level, startup }) })
    }

    /// Starts the agent and sets up the process for it.
    ///
    /// The method sets the global `tracing` subscriber with a filter and a log format, the logger of the `log` crate,
    /// OpenTelemetry's tracer provider and propagator, the panic hook, and the agent that
    /// [`tower_apm::layer()`](crate::layer), [`Transaction::start`](crate::Transaction::start) and errors outside of
    /// transactions use. A service with its own subscriber uses
    /// [`install_without_subscriber`](Self::install_without_subscriber).
    ///
    /// Keep the guard until the end of `main`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`build`](Self::build). Also returns an error if the [`log_filter`](Self::log_filter) from code
    /// is not valid, if an agent is installed, or if a global subscriber is set. An invalid `RUST_LOG` is not an error: it
    /// is logged as a warning, and the filter from code is used.
    pub fn install(self) -> Result<AgentGuard, BuildError> {
        if installed().is_some() {
            return Err(BuildError::AlreadyInstalled);
        }
        let from_env = match &self.env_vars {
            Some(env) => env.get(RUST_LOG).map(str::to_owned),
            None => std::env::var(RUST_LOG).ok(),
        };
        let filters = LogFilters { from_env, from_code: self.log_filter.clone() };
        let format = self.log_format;
        let agent = self.start(cloud_metadata_for)?;
        let recorder = agent.recorder().clone();
        subscriber::set_global(recorder.clone(), format, filters, &agent.inner.log_level)?;
        install_globally(&recorder);
        // no subscriber could print before this point
        agent.log_startup();
        Ok(AgentGuard::new(agent))
    }
}

/// Sets everything that is global except the subscriber.
fn install_globally(recorder: &Arc<Recorder>) {
    opentelemetry::global::set_tracer_provider(ApmTracer::new(Some(recorder.clone())));
    opentelemetry::global::set_text_map_propagator(ElasticPropagator::new());
    install_panic_hook();
    install(recorder.clone());
}

/// The maximum time that the first events wait for the server's version and the cloud metadata.
const MAX_PREPARATION: Duration = Duration::from_secs(3);

fn start_worker(
    recorder: &Arc<Recorder>,
    live: &LiveConfig,
    queue: &Queue,
    gzip: Option<bool>,
    log_level: LogLevelSwitch,
    tasks: impl Future<Output = ()> + Send + 'static,
    cloud: impl FnOnce(&Config) -> Option<CloudMetadata>,
) -> Result<Worker, BuildError> {
    let config = &*live.snapshot();
    let thread = |source| BuildError::Thread { source };
    let mut settings = WorkerSettings {
        max_age: config.api_request_time,
        max_backlog_bytes: config.max_backlog_bytes,
        measuring: None,
    };
    if config.disable_send || config.context_propagation_only {
        return Worker::start(queue.clone(), Discard::default(), settings, None, tasks).map_err(thread);
    }
    let server_settings = ServerSettings::from_config(config, gzip);
    let client = ServerClient::new(&server_settings)?;
    let resource = resource::gather(config, live.environment(), Host::read(), TraceId::random().to_string());
    let server = recorder.server().clone();
    let server_tasks = poll_server(client.clone(), recorder.clone(), log_level);
    let background_tasks = async { _ = tokio::join!(server_tasks, tasks) };
    let preparing = Some(Box::pin(prepare(resource.clone(), server.clone(), cloud(config))) as _);
    if can_be_sent(config) {
        settings.measuring = Some(Measuring::new(Metrics::new(recorder.clone()), config.metrics_interval));
    }
    #[cfg(feature = "otlp")]
    if config.exporter == Exporter::Otlp {
        let exporter = OtlpExporter::new(live.clone(), gzip, &resource)?;
        return Worker::start(queue.clone(), exporter, settings, preparing, background_tasks).map_err(thread);
    }
    let exporter = IntakeExporter::new(client, server, live.clone(), &resource)?;
    #[cfg(feature = "otlp")]
    if config.exporter == Exporter::IntakeAndOtlp {
        let copies = OtlpExporter::new(live.clone(), gzip, &resource)?;
        let exporter = WithCopy::new(exporter, copies, queue.clone());
        return Worker::start(queue.clone(), exporter, settings, preparing, background_tasks).map_err(thread);
    }
    Worker::start(queue.clone(), exporter, settings, preparing, background_tasks).map_err(thread)
}

fn cloud_metadata_for(config: &Config) -> Option<CloudMetadata> {
    let cloud = CloudMetadata::new(config.cloud_provider, is_loopback_only(config));
    if cloud.is_none() && config.cloud_provider == CloudProvider::Auto {
        tracing::debug!(target: "tower_apm", "cloud metadata is not requested, because the server is on this machine: set cloud_provider to request it");
    }
    cloud
}

/// Returns whether every server is on this machine. The service then runs on a laptop or in a test, without a cloud.
fn is_loopback_only(config: &Config) -> bool {
    let native = ServerSettings::from_config(config, None).is_loopback();
    let otlp = config.otlp_endpoint.as_ref().map_or(native, |endpoint| endpoint.url.is_loopback());
    match config.exporter {
        Exporter::Intake => native,
        Exporter::Otlp => otlp,
        Exporter::IntakeAndOtlp => native && otlp,
    }
}

/// Returns whether events go to an endpoint of their own over OTLP, and no APM Server is set.
#[cfg(feature = "otlp")]
pub(super) fn has_no_apm_server(config: &Config) -> bool {
    config.exporter == Exporter::Otlp
        && config.otlp_endpoint.is_some()
        && config.origin("server_url") == Some(Origin::Default)
        && config.server_urls.is_empty()
}

/// Waits for the server's version and the cloud metadata, at most for [`MAX_PREPARATION`].
async fn prepare(mut resource: Resource, server: ServerVersion, cloud: Option<CloudMetadata>) -> Resource {
    // an old server needs unsampled transactions, and one version does not accept a field of the metadata
    let asked = tokio::time::timeout(MAX_PREPARATION, server.asked());
    let find = async {
        match cloud.filter(|_| resource.cloud.is_none()) {
            Some(cloud) => tokio::time::timeout(MAX_PREPARATION, cloud.find()).await.ok().flatten(),
            None => None,
        }
    };
    let (_, found) = tokio::join!(asked, find);
    resource.cloud = resource.cloud.or(found);
    resource
}

/// Runs the tasks of the agent's thread that need no server: it filters recorded panics and logs the start.
async fn background_tasks(recorder: Arc<Recorder>, startup: Arc<Startup>, warnings: Arc<[String]>) {
    tokio::join!(recorder.keep_settling_panics(), startup.log_in_subscriber(recorder.clone(), warnings));
}

/// Reads data from the server while the agent runs.
async fn poll_server(client: ServerClient, recorder: Arc<Recorder>, log_level: LogLevelSwitch) {
    let config = recorder.snapshot();
    #[cfg(feature = "otlp")]
    if has_no_apm_server(&config) {
        return recorder.server().is_not_asked();
    }
    let version = look_up(client.clone(), recorder.server().clone());
    if !config.central_config {
        return version.await;
    }
    let (service_name, environment) = (config.service_name.clone(), config.environment.clone());
    let follow = follow(client, service_name, environment, |central| apply(&recorder, &log_level, central));
    tokio::join!(version, follow);
}

/// Replaces central configuration, and logs the changes.
pub(super) fn apply(recorder: &Recorder, log_level: &LogLevelSwitch, central: Central) {
    let before = recorder.config().describe();
    let applied = recorder.apply(central);
    log_level.set(recorder.config().log_level);
    let now = recorder.config().describe();
    if now != before {
        tracing::info!(target: "tower_apm", "central configuration has changed the options: {now}");
    }
    for warning in applied.warnings {
        tracing::warn!(target: "tower_apm", "{warning}");
    }
    if !applied.unknown.is_empty() {
        tracing::warn!(
            target: "tower_apm",
            "central configuration sets options that this agent does not have, or that cannot change while it runs: {}",
            applied.unknown.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::net::TcpListener;

    use super::*;
    use crate::metadata::Bases;

    #[test]
    fn cloud_metadata_is_requested_unless_every_server_is_local() {
        let here = |configure: fn(AgentBuilder) -> AgentBuilder| {
            let builder = configure(AgentBuilder::default().env_vars(EnvVars::empty()).disable_send(true));
            is_loopback_only(&builder.build().unwrap().recorder().config())
        };
        assert!(here(|agent| agent));
        assert!(!here(|agent| agent.server_url("https://apm.example")));
        if cfg!(feature = "otlp") {
            assert!(!here(|agent| agent.exporter(Exporter::Otlp).otlp_endpoint("https://collector.example")));
            assert!(!here(|agent| agent.exporter(Exporter::IntakeAndOtlp).otlp_endpoint("https://collector.example")));
            assert!(here(|agent| agent.exporter(Exporter::Otlp).otlp_endpoint("http://127.0.0.1:4317")));
            assert!(here(|agent| agent.otlp_endpoint("https://collector.example")), "the exporter is not OTLP");
        }
    }

    /// Starts a server that accepts every request. Returns its URL and the bodies that it receives.
    async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let log = bodies.clone();
        let app = axum::Router::new().fallback(async move |body: String| {
            log.lock().unwrap().push(body);
            axum::http::StatusCode::ACCEPTED
        });
        (serve(app).await, bodies)
    }

    async fn serve(app: axum::Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// Starts an agent in this cloud and records a transaction. Returns the agent and the bodies that it sends.
    async fn agent_with_cloud(cloud: String) -> (Agent, Arc<Mutex<Vec<String>>>) {
        let (url, bodies) = server().await;
        let builder = AgentBuilder::default().env_vars(EnvVars::empty()).server_url(url).central_config(false);
        let builder = builder.metrics_interval(Duration::ZERO);
        let bases = Bases { aws: cloud.clone(), gcp: cloud.clone(), azure: cloud };
        let agent = builder.start(|_| Some(CloudMetadata::with_bases(CloudProvider::Gcp, bases))).unwrap();
        drop(agent.start_transaction("a job", "scheduled"));
        (agent, bodies)
    }

    fn metadata(bodies: &Mutex<Vec<String>>) -> serde_json::Value {
        let bodies = bodies.lock().unwrap();
        let first = bodies.iter().find_map(|body| body.lines().next().filter(|line| line.starts_with("{\"metadata")));
        serde_json::from_str(first.unwrap()).unwrap()
    }

    const DEADLINE: Duration = Duration::from_secs(60);

    // spec: metadata.md
    #[tokio::test]
    async fn first_event_has_cloud_metadata() {
        const GCP: &str = r#"{"instance":{"id":43,"zone":"projects/5/zones/us-west3-a"},"project":{"projectId":"p"}}"#;
        let cloud = serve(axum::Router::new().fallback(async || GCP)).await;
        let (agent, bodies) = agent_with_cloud(cloud).await;
        agent.shutdown(DEADLINE).await.unwrap();
        let cloud = &metadata(&bodies)["metadata"]["cloud"];
        assert_eq!((&cloud["provider"], &cloud["region"]), (&"gcp".into(), &"us-west3".into()), "{cloud}");
        assert_eq!(agent.stats().accepted, 1);
    }

    // spec: metadata.md
    #[tokio::test]
    async fn unreachable_cloud_metadata_does_not_delay_events() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (agent, bodies) = agent_with_cloud(format!("http://{}", listener.local_addr().unwrap())).await;
        // the metadata was requested and there is no response, but the service still runs its work
        let _asked = listener.accept().await.unwrap();
        let handled = agent.start_transaction("meanwhile", "scheduled").run(async { 7 }).await;
        assert_eq!((handled, agent.stats().recorded, agent.stats().accepted), (7, 2, 0));
        agent.shutdown(DEADLINE).await.unwrap();
        assert_eq!(metadata(&bodies)["metadata"]["cloud"], serde_json::Value::Null);
        assert_eq!(agent.stats().accepted, 2);
    }

    #[test]
    fn https_server_needs_no_further_option() {
        let builder = AgentBuilder::default().env_vars(EnvVars::empty());
        let agent = builder.server_url("https://apm.example.com:8200").build().unwrap();
        assert_eq!(agent.recorder().config().server_ca_cert_file, None);
        assert_eq!(agent.warnings().count(), 0);
    }
}
