//! The other layers of a service's own subscriber record the same data with and without the agent.

use axum::{Router, routing::get};
use sentry::protocol::EnvelopeItem;
use tower_apm::{Agent, ApmFutureExt, CloudProvider, EnvVars};
use tower_http::trace::TraceLayer;
use tracing::{Dispatch, info_span, instrument::WithSubscriber};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt, registry};

use crate::{
    captured_output::CapturedOutput,
    http::{call, send},
};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    None,
    Outside,
    Inside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AgentFirst,
    AgentLast,
}

fn agent() -> Agent {
    let builder = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").disable_send(true);
    builder.cloud_provider(CloudProvider::None).build().unwrap()
}

#[tracing::instrument]
async fn load(id: u32) {
    tracing::info!("loading");
    tokio::task::yield_now().await;
}

fn app(agent: Option<&Agent>, trace: Trace) -> Router {
    let handler = async || {
        tracing::info!("handled");
        load(7).await;
        tokio::spawn(load(8).in_current_transaction().with_current_subscriber()).await.unwrap();
    };
    let make_span =
        |request: &http::Request<_>| info_span!("http request", method = %request.method(), uri = %request.uri());
    // their lines contain times
    let layer = || TraceLayer::new_for_http().make_span_with(make_span).on_response(()).on_eos(());
    let app = Router::new().route("/items/{id}", get(handler));
    let app = if trace == Trace::Inside { app.layer(layer()) } else { app };
    let app = if let Some(agent) = agent { app.layer(agent.layer()) } else { app };
    if trace == Trace::Outside { app.layer(layer()) } else { app }
}

fn subscriber(agent: Option<&Agent>, other: BoxedLayer, order: Order) -> Dispatch {
    let ours = agent.map(|agent| agent.tracing_layer().boxed());
    let layers: Vec<BoxedLayer> = match order {
        Order::AgentFirst => ours.into_iter().chain([other]).collect(),
        Order::AgentLast => [other].into_iter().chain(ours).collect(),
    };
    Dispatch::new(registry().with(layers))
}

async fn printed(agent: Option<&Agent>, trace: Trace, order: Order, json: bool) -> String {
    let written = CapturedOutput::default();
    let printer = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(written.clone());
    let printer = if json { printer.json().boxed() } else { printer.boxed() };
    let subscriber = subscriber(agent, printer, order);
    call(app(agent, trace), "/items/7").with_subscriber(subscriber).await;
    written.text()
}

#[tokio::test]
async fn agent_does_not_change_printed_lines() {
    let agent = agent();
    for trace in [Trace::None, Trace::Outside, Trace::Inside] {
        for order in [Order::AgentFirst, Order::AgentLast] {
            for json in [false, true] {
                let without = printed(None, trace, order, json).await;
                assert!(without.contains("handled") && without.matches("loading").count() == 2, "{without}");
                assert_eq!(without.contains("/items/7"), trace != Trace::None, "{without}");
                let with = printed(Some(&agent), trace, order, json).await;
                assert_eq!(with, without, "{trace:?} {order:?} json: {json}");
            }
        }
    }
    assert_eq!(agent.stats().recorded, 12 * 3 + 4, "each request has its transaction and two spans, some a third");
}

/// The transactions that Sentry gets, each with its spans.
fn sent_to_sentry(agent: Option<&Agent>, trace: Trace, order: Order) -> Vec<(Option<String>, Vec<Option<String>>)> {
    let serve = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let subscriber = subscriber(agent, sentry::integrations::tracing::layer().boxed(), order);
        runtime.block_on(call(app(agent, trace), "/items/7").with_subscriber(subscriber));
    };
    let options = sentry::ClientOptions::new().traces_sample_rate(1.0);
    let envelopes = sentry::test::with_captured_envelopes_options(serve, options);
    let items = envelopes.iter().flat_map(|envelope| envelope.items());
    let transactions = items.filter_map(|item| match item {
        EnvelopeItem::Transaction(transaction) => {
            let spans = transaction.spans.iter().map(|span| span.description.clone()).collect();
            Some((transaction.name.clone(), spans))
        }
        _ => None,
    });
    transactions.collect()
}

#[test]
fn agent_does_not_change_sentry_transactions() {
    let agent = agent();
    for trace in [Trace::None, Trace::Outside, Trace::Inside] {
        for order in [Order::AgentFirst, Order::AgentLast] {
            let without = sent_to_sentry(None, trace, order);
            assert!(!without.is_empty());
            assert_eq!(sent_to_sentry(Some(&agent), trace, order), without, "{trace:?} {order:?}");
        }
    }
}

/// The global subscriber is that of the test kit, which hides the span. Another subscriber replaces it here.
#[tokio::test]
async fn subscriber_without_the_agent_sees_no_request_span() {
    let _apm = tower_apm::testkit::TestAgent::start().await;
    let agent = agent();
    let written = CapturedOutput::default();
    let printer = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(written.clone());
    let work = async {
        call(app(Some(&agent), Trace::None), "/items/7").await;
        agent.start_transaction("settle", "scheduled").run(async { tracing::info!("settled") }).await;
        agent.start_transaction("settle", "scheduled").in_scope(|| tracing::info!("settled"));
    };
    work.with_subscriber(registry().with(printer)).await;
    let lines = written.text();
    assert!(lines.contains("handled") && lines.matches("settled").count() == 2, "{lines}");
    assert!(!lines.contains("request"), "{lines}");
}

/// A layer without a filter that is added before the agent's layer gets the lines of every level.
#[tokio::test]
async fn printer_without_a_filter_prints_every_level() {
    let agent = agent();
    let written = CapturedOutput::default();
    let printer = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(written.clone());
    let subscriber = registry().with(printer).with(agent.tracing_layer());
    tracing::subscriber::with_default(subscriber, || tracing::trace!("in detail"));
    assert!(written.text().contains("in detail"));
}

#[tokio::test]
async fn request_span_can_be_enabled() {
    let agent = agent();
    let written = CapturedOutput::default();
    let printer = tracing_subscriber::fmt::layer().json().without_time().with_writer(written.clone());
    let subscriber = registry().with(agent.tracing_layer()).with(printer);
    let app = Router::new().route("/", get(async || tracing::info!("handled"))).layer(agent.layer().request_span(true));
    send(app, crate::http::empty(crate::http::get("/"))).with_subscriber(subscriber).await;
    assert_eq!(written.objects()[0]["span"]["name"], "request");
}
