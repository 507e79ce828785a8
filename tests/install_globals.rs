//! Global state that `install()` sets for the whole process. This test needs its own binary.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use opentelemetry::{Context, global, trace::TraceContextExt};
use tower_apm::{Agent, CloudProvider, EnvVars, devserver::DevServer, otel::ElasticPropagator};
use tracing::Level;

#[tokio::test]
async fn install_sets_the_global_agent_filter_and_propagator() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.set_agent_config("shop", [("log_level", "debug")]);
    let builder = Agent::builder().env_vars(EnvVars::empty()).cloud_provider(CloudProvider::None);
    let builder = builder.service_name("shop").server_url(server.url()).use_elastic_traceparent_header(true);
    let guard = builder.install().unwrap();

    // statements of sqlx are enabled, and no other DEBUG lines
    assert!(tracing::enabled!(target: "sqlx::query", Level::DEBUG));
    assert!(!tracing::enabled!(target: "shop", Level::DEBUG));
    assert_eq!(log::max_level(), log::LevelFilter::Info);

    // the trace of another tracer is propagated with the header of the option
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let incoming = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&incoming));
    assert!(context.span().span_context().is_remote());
    let mut outgoing = HashMap::new();
    let inject = |context: &Context, outgoing: &mut HashMap<String, String>| {
        use opentelemetry::propagation::TextMapPropagator;
        ElasticPropagator::new().inject_context(context, outgoing);
    };
    inject(&context, &mut outgoing);
    assert_eq!((outgoing["traceparent"].as_str(), outgoing["elastic-apm-traceparent"].as_str()), (parent, parent));

    // the log level follows central configuration
    let started = Instant::now();
    while !tracing::enabled!(target: "tower_apm", Level::DEBUG) {
        assert!(started.elapsed() < Duration::from_secs(30), "log_level stays at info");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(guard);
    let mut outgoing = HashMap::new();
    inject(&context, &mut outgoing);
    assert_eq!(outgoing.get("elastic-apm-traceparent"), None, "the agent has shut down");
}
