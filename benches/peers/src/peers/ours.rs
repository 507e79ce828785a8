//! tower-apm, in the set-ups that its speed is promised for.

use std::time::Duration;

use axum::Router;
use tower_apm::{Agent, AgentBuilder, ApmLayer, EnvVars};
use tracing_subscriber::{Layer as _, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{Rig, child::Child, probe::Probed};

/// gzip forced on (the sink is local), so that the work is the floor's. No stacks of long spans: under callgrind every
/// span is long.
///
/// With `PEERS_ENV` options come from the environment too, and whether bodies are compressed is the agent's choice.
fn builder(sink: &str) -> AgentBuilder {
    let builder = match std::env::var_os("PEERS_ENV") {
        Some(_) => Agent::builder().env_vars(EnvVars::process()),
        None => Agent::builder().env_vars(EnvVars::empty()).gzip(true),
    };
    builder
        .service_name("marketplace")
        .server_url(format!("http://{sink}"))
        .capture_headers(false)
        .span_stack_trace_min_duration(None)
}

/// As `install()` sets a process up: our layers, and a printer behind a filter of its own.
pub struct Quiet;
impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Quiet {}

fn rig(app: Router, agent: &Agent, layer: ApmLayer) -> Rig {
    tracing_subscriber::registry().with(agent.tracing_layer()).with(Quiet.with_filter(LevelFilter::WARN)).init();
    let agent = agent.clone();
    let runtime = tokio::runtime::Handle::current();
    Rig::new(app.layer(layer), move || {
        runtime.block_on(agent.flush(Duration::from_secs(30))).expect("the sink answers");
    })
}

/// The layer under `install()`, whose subscriber turns the request's span on.
fn layer(agent: &Agent) -> ApmLayer {
    agent.layer().request_span(true)
}

pub fn installed(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).build().unwrap();
    rig(app, &agent, layer(&agent))
}

pub fn no_request_span(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).build().unwrap();
    rig(app, &agent, agent.layer())
}

pub fn headers(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).capture_headers(true).build().unwrap();
    rig(app, &agent, layer(&agent))
}

pub fn unsampled(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).transaction_sample_rate(0.0).build().unwrap();
    rig(app, &agent, layer(&agent))
}

pub fn disabled(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).enabled(false).build().unwrap();
    rig(app, &agent, agent.layer())
}

/// The installed set-up with one child span for each request.
pub fn child(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).build().unwrap();
    rig(app.layer(Probed(Child)), &agent, layer(&agent))
}

/// [`child`] without the span, but with a layer in its place.
pub fn no_child(app: Router, sink: &str) -> Rig {
    let agent = builder(sink).build().unwrap();
    rig(app.layer(tower::layer::util::Identity::new()), &agent, layer(&agent))
}
