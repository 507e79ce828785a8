//! The agent's layers of a `tracing` subscriber.
//!
//! They are the bridge to OpenTelemetry, a layer for all other data, and a layer that only sets the level.
//!
//! Each layer with hooks for spans adds a cost to every span of the process.

use std::sync::{Arc, OnceLock};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::WeakDispatch,
    level_filters::LevelFilter,
    span::{Attributes, Id},
    subscriber::Interest,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::startup::Startup;
use crate::{
    capture::ErrorEvents,
    client::sqlx,
    otel::{
        ApmTracer, BridgeFilter, OtherBridge, SpanSelection, StatementLevel, is_statement, request_span, span_chain,
    },
    transaction::Recorder,
};

/// The owner of the subscriber to which the layers belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriberOwner {
    /// The service. The layer applies `log_level` to the agent's own log lines, and requests have no span.
    Service,
    /// The agent: the subscriber of `install()` or of the test kit. Its filter selects the agent's own log lines, with `RUST_LOG` taking
    /// precedence, and hides the spans of requests.
    Agent,
}

/// Returns the layer that records `tracing` spans. `startup` is `None` if the agent has already logged its start.
pub(super) fn with_spans<S>(
    recorder: Option<Arc<Recorder>>,
    owner: SubscriberOwner,
    startup: Option<Arc<Startup>>,
) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    // the target is a static string; the location and the thread would cost more than the span itself
    let bridge = tracing_opentelemetry::layer()
        .with_tracer(ApmTracer::new(recorder.clone()))
        .with_location(false)
        .with_threads(false)
        .with_target(true)
        .with_level(false)
        .with_tracked_inactivity(false);
    let own = AgentLayer { startup, records_spans: true, ..AgentLayer::new(recorder, owner) };
    let selection = own.selection.clone();
    let (filter, other) = match owner {
        SubscriberOwner::Agent => (BridgeFilter::in_own_subscriber(selection), None),
        SubscriberOwner::Service => {
            let other = Arc::new(OtherBridge::default());
            (BridgeFilter::in_service_subscriber(other.clone(), selection), Some(other))
        }
    };
    // the bridge comes first, because the second layer reads the data that the bridge attaches; the last layer sets the
    // level
    let level = StatementLevel::above(own.selection.level());
    bridge.with_filter(filter).and_then(AgentLayer { other, ..own }).and_then(level)
}

/// Returns the layer for a service whose spans come from a pipeline of OpenTelemetry's SDK.
pub(super) fn without_spans<S>(recorder: Arc<Recorder>, startup: Arc<Startup>) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let own = AgentLayer { startup: Some(startup), ..AgentLayer::new(Some(recorder), SubscriberOwner::Service) };
    let level = StatementLevel::above(own.selection.level());
    own.and_then(level)
}

/// Returns a layer that belongs to no agent. Each span finds its agent through its transaction.
#[cfg(feature = "testkit")]
pub(crate) fn routing_layer<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    with_spans(None, SubscriberOwner::Agent, None)
}

/// Handles the agent's own log lines, ERROR events, sqlx's statements, and the spans of requests.
struct AgentLayer {
    logs: Option<Arc<Recorder>>,
    errors: ErrorEvents,
    dispatch: OnceLock<WeakDispatch>,
    /// `None` once the agent's start is logged.
    startup: Option<Arc<Startup>>,
    selection: Arc<SpanSelection>,
    /// Whether the bridge is part of the same subscriber.
    records_spans: bool,
    /// Used for the bridge, whose filter has no access to the subscriber.
    other: Option<Arc<OtherBridge>>,
}

impl AgentLayer {
    fn new(recorder: Option<Arc<Recorder>>, owner: SubscriberOwner) -> Self {
        let selection = recorder.as_ref().map(|recorder| SpanSelection::of(&recorder.config())).unwrap_or_default();
        Self {
            logs: recorder.clone().filter(|_| owner == SubscriberOwner::Service),
            errors: ErrorEvents::new(recorder),
            dispatch: OnceLock::new(),
            startup: None,
            selection: Arc::new(selection),
            records_spans: false,
            other: None,
        }
    }
}

fn is_own_log(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == "tower_apm"
}

impl<S> Layer<S> for AgentLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // the level can change, so the result must not be cached
        if self.logs.is_some() && is_own_log(metadata) { Interest::sometimes() } else { Interest::always() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let hides = |logs: &Arc<Recorder>| {
            is_own_log(metadata) && LevelFilter::from(logs.config().log_level) < *metadata.level()
        };
        !self.logs.as_ref().is_some_and(hides)
    }

    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // a layer is part of one subscriber
        let _ = self.dispatch.set(dispatch.downgrade());
        if let Some(other) = &self.other {
            other.set_subscriber(dispatch);
        }
        if let Some(startup) = &self.startup {
            startup.set_subscriber(dispatch, self.records_spans);
        }
        request_span::mark_layer_installed();
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.errors.begin(event.metadata());
        true
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match is_statement(event.metadata()) {
            true => sqlx::record(event),
            false => self.errors.on_event(event),
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        span_chain::interrupt();
        request_span::on_new_span(attributes, id, &context, &self.selection);
        sqlx::start_span(attributes, id, &self.dispatch);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        span_chain::interrupt();
        request_span::on_enter(id, &context);
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        request_span::on_exit(id);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        request_span::on_close();
        span_chain::on_close(&id, &context, &self.dispatch);
    }
}
