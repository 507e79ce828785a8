//! The agent and its builder, which connect all other parts of the crate.

mod builder;
mod filter_probe;
mod guard;
mod layer;
pub(crate) mod log_filter;
mod messaging;
#[cfg(feature = "sdk")]
mod otel_metrics;
mod resource;
mod startup;
mod subscriber;
mod tls_warning;

use std::{borrow::Cow, error::Error, fmt, future::Future, sync::Arc, time::Duration};

use opentelemetry::trace::{Span, Tracer, TracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

#[cfg(feature = "testkit")]
pub(crate) use self::layer::routing_layer;
pub use self::{builder::AgentBuilder, guard::AgentGuard, subscriber::LogFormat};
use self::{layer::SubscriberOwner, startup::Startup, subscriber::LogLevelSwitch};
#[cfg(feature = "testkit")]
use crate::config::Central;
use crate::{
    background::StartedTransaction,
    capture::{ErrorBuilder, capture_message_of_agent},
    log::{EcsFormat, LogSender},
    otel::ApmTracer,
    pipeline::{FlushTimeout, Queue, Stats, Worker},
    propagation::TraceContext,
    server::ApmLayer,
    transaction::{Recorder, uninstall},
};

/// An Elastic APM agent. Clones are cheap and refer to the same agent.
///
/// | final method of the builder | what it does |
/// |---|---|
/// | [`install`](AgentBuilder::install) | sets the global `tracing` subscriber, OpenTelemetry's tracer provider and propagator, the panic hook, and the agent that [`tower_apm::layer()`](crate::layer) and [`Transaction::start`](crate::Transaction::start) use |
/// | [`install_without_subscriber`](AgentBuilder::install_without_subscriber) | sets the same, except for the subscriber: add [`tracing_layer`](Self::tracing_layer) to your subscriber |
/// | [`build`](AgentBuilder::build) | sets nothing: for tests, and for several agents in one process, each with its own [`layer`](Self::layer) |
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: Arc<Recorder>,
    queue: Queue,
    /// None if the agent is disabled. There is then no thread and no connection.
    worker: Option<Worker>,
    warnings: Arc<[String]>,
    log_level: LogLevelSwitch,
    startup: Arc<Startup>,
}

impl Agent {
    /// Returns a builder. Without further calls, the agent reads its options from the variables `ELASTIC_APM_*`.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// use tower_apm::Agent;
    ///
    /// let agent = Agent::builder().service_name("marketplace").service_version(env!("CARGO_PKG_VERSION")).build()?;
    /// # let _ = agent;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> AgentBuilder {
        AgentBuilder::default()
    }

    /// Returns the tower layer of this agent.
    ///
    /// The layer wraps a router, a method router, the service of a `ServiceBuilder`, or any `Service<http::Request<B>>`.
    ///
    /// ```
    /// # async fn my_service(_: http::Request<String>) -> Result<http::Response<String>, std::convert::Infallible> {
    /// #     Ok(http::Response::new(String::new()))
    /// # }
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// let service = tower::ServiceBuilder::new().layer(agent.layer()).service_fn(my_service);
    /// # let _ = service;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn layer(&self) -> ApmLayer {
        ApmLayer::new(Some(self.inner.recorder.clone()))
    }

    /// Returns the agent's layer for your own `tracing` subscriber.
    ///
    /// The layer records `tracing` spans as Elastic spans, and ERROR events that contain an error as error documents.
    /// One layer serves all agents of the process. The options `span_level` and `ignore_spans` select the spans.
    ///
    /// Put filters on the layers that print, not on the subscriber. A filter on the subscriber that disables the spans
    /// of your database crate also hides these spans from the agent. The agent reports such a filter once, on stderr if
    /// the filter hides the agent's log lines too.
    ///
    /// Other layers of the subscriber see nothing of the agent: requests have no `tracing` span unless
    /// [`ApmLayer::request_span`] enables it. To carry the transaction into a spawned task, use
    /// [`ApmFutureExt::in_current_transaction`](crate::ApmFutureExt::in_current_transaction).
    ///
    /// ```
    /// use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt};
    ///
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// let subscriber = tracing_subscriber::registry()
    ///     .with(agent.tracing_layer())
    ///     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::WARN));
    /// # let _ = subscriber;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tracing_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let recorder = &self.inner.recorder;
        layer::with_spans(Some(recorder.clone()), SubscriberOwner::Service, Some(self.inner.startup.clone()))
    }

    /// Returns a layer like [`tracing_layer`](Self::tracing_layer) that records no spans.
    ///
    /// Use it in a service whose spans come from a pipeline of OpenTelemetry's SDK. See the guide
    /// [`opentelemetry`](crate::docs::opentelemetry).
    pub fn tracing_layer_without_spans<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let recorder = &self.inner.recorder;
        layer::without_spans(recorder.clone(), self.inner.startup.clone())
    }

    /// Returns a log format for your own subscriber: lines in the Elastic Common Schema.
    ///
    /// The lines contain the trace ids. See [`EcsFormat`]. For other formats, use [`WithTraceIds`](crate::WithTraceIds).
    ///
    /// ```
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// let printer = tracing_subscriber::fmt::layer().json().event_format(agent.ecs_format());
    /// let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(printer);
    /// # let _ = subscriber;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ecs_format(&self) -> EcsFormat {
        EcsFormat::new(self.inner.recorder.clone())
    }

    /// Returns a layer for your own subscriber that sends log lines to the server while the option `log_sending` is on.
    ///
    /// Give the layer the filter of the layer that prints, and add it after [`tracing_layer`](Self::tracing_layer). The
    /// subscriber of [`install`](AgentBuilder::install) already has the layer. Lines wait in the agent's queue with all other
    /// events. If the queue is full, lines are dropped and counted in [`Stats::dropped`].
    ///
    /// ```
    /// use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt};
    ///
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let agent = tower_apm::Agent::builder().log_sending(true).build()?;
    /// let subscriber = tracing_subscriber::registry()
    ///     .with(agent.tracing_layer())
    ///     .with(agent.log_layer().with_filter(LevelFilter::INFO))
    ///     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO));
    /// # let _ = subscriber;
    /// # Ok(())
    /// # }
    /// ```
    pub fn log_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        LogSender::new(self.inner.recorder.clone())
    }

    /// Returns a tracer provider for code that uses OpenTelemetry's API.
    ///
    /// [`install`](AgentBuilder::install) sets it as the global provider. [`build`](AgentBuilder::build) does not.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// opentelemetry::global::set_tracer_provider(agent.tracer_provider());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tracer_provider(
        &self,
    ) -> impl TracerProvider<Tracer: Tracer<Span: Span + Send + Sync + 'static> + Send + Sync + 'static>
    + Clone
    + fmt::Debug
    + Send
    + Sync
    + use<> {
        ApmTracer::new(Some(self.inner.recorder.clone()))
    }

    /// Starts a transaction that is not a request. See [`Transaction::start`](crate::Transaction::start).
    #[must_use = "it ends when it is dropped"]
    pub fn start_transaction(
        &self,
        name: impl Into<Cow<'static, str>>,
        transaction_type: impl Into<Cow<'static, str>>,
    ) -> StartedTransaction {
        StartedTransaction::new(Some(self.inner.recorder.clone()), None, name.into(), transaction_type.into())
    }

    /// Starts a transaction in the sender's trace. See [`Transaction::start_from`](crate::Transaction::start_from).
    #[must_use = "it ends when it is dropped"]
    pub fn start_transaction_from(
        &self,
        sender: &TraceContext,
        name: impl Into<Cow<'static, str>>,
        transaction_type: impl Into<Cow<'static, str>>,
    ) -> StartedTransaction {
        StartedTransaction::new(Some(self.inner.recorder.clone()), Some(sender), name.into(), transaction_type.into())
    }

    /// Records an error that was handled.
    ///
    /// The error belongs to the current transaction if this agent records that transaction, and otherwise to no
    /// transaction. See [`Transaction::capture_error`](crate::Transaction::capture_error).
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// if let Err(error) = std::fs::read("rates.json") {
    ///     agent.capture_error(&error);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn capture_error<E: Error + 'static + ?Sized>(&self, error: &E) {
        self.error(error).capture();
    }

    /// Records a text as an error.
    ///
    /// The error belongs to the current transaction if this agent records that transaction, and otherwise to no
    /// transaction. See [`Transaction::capture_message`](crate::Transaction::capture_message).
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// agent.capture_message("the price feed has been silent for an hour");
    /// # Ok(())
    /// # }
    /// ```
    pub fn capture_message(&self, message: impl Into<Cow<'static, str>>) {
        capture_message_of_agent(&self.inner.recorder, message.into());
    }

    /// Returns `false` if the agent records nothing because `enabled` or `recording` is off.
    ///
    /// The value can change at any time, because both options can be changed in Kibana. The other methods do not need this
    /// check. Use it to skip the preparation of expensive data that only the agent uses.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let agent = tower_apm::Agent::builder().recording(false).build()?;
    /// assert!(!agent.is_recording());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.inner.recorder.is_recording()
    }

    /// Returns a builder for an error document with labels, custom context and other data.
    ///
    /// See
    /// [`Transaction::error`](crate::Transaction::error).
    pub fn error<E: Error + 'static + ?Sized>(&self, error: &E) -> ErrorBuilder {
        ErrorBuilder::of_agent(&self.inner.recorder, error)
    }

    /// Waits until all events that were recorded before the call are delivered, at most for `timeout`.
    ///
    /// Works on any runtime and without one: the agent's thread sends the events, and a separate thread enforces the
    /// timeout in case the agent's thread is stuck.
    ///
    /// # Errors
    ///
    /// Returns [`FlushTimeout`] if the timeout is reached: the events are kept and sent later. Returns it at once on the agent's
    /// own thread, on which a filter may run, and in a process that was forked after the agent started, because the fork
    /// has no such thread.
    pub fn flush(&self, timeout: Duration) -> impl Future<Output = Result<(), FlushTimeout>> + Send + 'static {
        self.inner.recorder.settle_panics();
        let flushed = self.inner.worker.as_ref().map(|worker| worker.flush(timeout));
        async move {
            match flushed {
                Some(flushed) => flushed.await,
                None => Ok(()),
            }
        }
    }

    /// Stops recording, waits at most for `timeout` until the waiting events are delivered, and ends the agent's thread.
    ///
    /// # Errors
    ///
    /// Returns [`FlushTimeout`] if the timeout is reached: the remaining events are lost, and counted in [`Stats`]. Returns it at
    /// once in a forked process, as [`flush`](Self::flush) does.
    pub fn shutdown(&self, timeout: Duration) -> impl Future<Output = Result<(), FlushTimeout>> + Send + 'static {
        uninstall(&self.inner.recorder);
        self.inner.recorder.settle_panics();
        let stopped = self.inner.worker.as_ref().map(|worker| worker.shutdown(timeout));
        async move {
            match stopped {
                Some(stopped) => stopped.await,
                None => Ok(()),
            }
        }
    }

    pub(crate) fn shutdown_blocking(&self, timeout: Duration) -> Result<(), FlushTimeout> {
        uninstall(&self.inner.recorder);
        self.inner.recorder.settle_panics();
        self.inner.worker.as_ref().map_or(Ok(()), |worker| worker.shutdown_blocking(timeout))
    }

    /// Returns the numbers of recorded, accepted, rejected, dropped and waiting events since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.queue.stats()
    }

    /// Returns the warnings about the options, one sentence for each.
    ///
    /// The agent also logs the warnings once, as soon as there is a subscriber.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.inner.warnings.iter().cloned()
    }

    /// Returns one line with the agent's version, the host, and the options that are not at their default.
    ///
    /// Each option is shown with the source of its value. Secrets are hidden. The agent logs this line once, as soon as there is a subscriber.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_apm::BuildError> {
    /// let agent = tower_apm::Agent::builder().service_name("marketplace").build()?;
    /// assert!(agent.startup_summary().contains(r#"service_name="marketplace""#));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn startup_summary(&self) -> String {
        resource::startup_line(&self.inner.recorder.config(), self.inner.recorder.environment())
    }

    /// Logs the start of the agent, now or as soon as its layer is part of a subscriber.
    fn log_startup(&self) {
        self.inner.startup.log_now(&self.inner.recorder, &self.inner.warnings);
    }

    /// Applies central configuration as if the server had sent it.
    #[cfg(feature = "testkit")]
    pub(crate) fn apply_central_config(&self, central: Central) {
        builder::apply(&self.inner.recorder, &self.inner.log_level, central);
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.inner.recorder
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("service_name", &self.inner.recorder.config().service_name)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
