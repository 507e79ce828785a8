//! The agent's layer in a subscriber that has another layer of `tracing-opentelemetry`.
//!
//! Nothing panics, and the other pipeline gets the same spans as without the agent.
//!
//! A separate test binary: all subscribers of a process share the state of callsites.

#[path = "behaviour/captured_output.rs"]
#[expect(dead_code, reason = "other tests read lines of JSON")]
mod captured_output;

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request, routing::get};
use http_body_util::BodyExt;
use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tower::ServiceExt;
use tower_apm::{Agent, CloudProvider, EnvVars};
use tracing::{Instrument, Subscriber, info_span, instrument::WithSubscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer, Registry,
    filter::LevelFilter,
    layer::SubscriberExt,
    registry::{self, LookupSpan},
    reload,
};

use self::captured_output::CapturedOutput;

/// The warning is logged in the subscriber of the next request.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The exporter of the other pipeline.
#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

struct Other {
    exported: Exported,
    provider: SdkTracerProvider,
}

impl Other {
    fn new() -> Self {
        let exported = Exported::default();
        Self { provider: SdkTracerProvider::builder().with_simple_exporter(exported.clone()).build(), exported }
    }

    fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer().with_tracer(self.provider.tracer("other"))
    }

    /// Names of spans and of their parents, in the order of their ends.
    fn spans(&self) -> Vec<(String, Option<String>)> {
        let spans = std::mem::take(&mut *self.exported.0.lock().unwrap());
        let name = |id: SpanId| {
            let found = spans.iter().find(|span| span.span_context.span_id() == id);
            found.map(|span| span.name.to_string())
        };
        spans.iter().map(|span| (span.name.to_string(), name(span.parent_span_id))).collect()
    }
}

fn agent() -> Agent {
    let builder = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").disable_send(true);
    builder.cloud_provider(CloudProvider::None).build().unwrap()
}

async fn serve(agent: &Agent, subscriber: impl Subscriber + Send + Sync + 'static) {
    let handler = async || {
        let outer = info_span!("outer", order = tracing::field::Empty);
        outer.record("order", 7);
        async {
            info_span!("inner").in_scope(|| tracing::info!("said"));
            let apart = info_span!(parent: None, "apart");
            apart.follows_from(tracing::Span::current());
            assert!(tracing::Span::current().context().get_active().is_some());
        }
        .instrument(outer)
        .await;
        let error = io::Error::other("no funds");
        tracing::error!(error = &error as &dyn std::error::Error, "not sold");
    };
    let app = Router::new().route("/", get(handler)).layer(agent.layer());
    let calls = async {
        for _ in 0..3 {
            let request = Request::get("/").body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        }
    };
    calls.with_subscriber(subscriber).await;
}

trait Active {
    fn get_active(&self) -> Option<()>;
}

impl Active for opentelemetry::Context {
    fn get_active(&self) -> Option<()> {
        use opentelemetry::trace::TraceContextExt;
        self.has_active_span().then_some(())
    }
}

/// Three requests: each with a transaction and an error, and without spans of the agent; the other pipeline has its three
/// spans of each.
async fn expect_no_conflict(
    case: &str,
    other: &Other,
    agent: &Agent,
    subscriber: impl Subscriber + Send + Sync + 'static,
) {
    serve(agent, subscriber).await;
    let inner =
        || [("inner".to_owned(), Some("outer".to_owned())), ("apart".to_owned(), None), ("outer".to_owned(), None)];
    let want: Vec<_> = (0..3).flat_map(|_| inner()).collect();
    assert_eq!(other.spans(), want, "{case}");
    assert_eq!(agent.stats().recorded, 3 * 2, "{case}");
}

#[tokio::test]
async fn other_opentelemetry_layer_does_not_conflict_with_the_agent() {
    let _turn = TURN.lock().await;
    let (a, o) = (agent(), Other::new());
    expect_no_conflict("after", &o, &a, registry().with(o.layer()).with(a.tracing_layer())).await;
    let (a, o) = (agent(), Other::new());
    expect_no_conflict("before", &o, &a, registry().with(a.tracing_layer()).with(o.layer())).await;

    let (a, o) = (agent(), Other::new());
    let boxed = registry().with(o.layer().boxed()).with(a.tracing_layer().boxed());
    expect_no_conflict("boxed, after", &o, &a, boxed).await;
    let (a, o) = (agent(), Other::new());
    let boxed = registry().with(a.tracing_layer().boxed()).with(o.layer().boxed());
    expect_no_conflict("boxed, before", &o, &a, boxed).await;
    let (a, o) = (agent(), Other::new());
    let listed: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![o.layer().boxed(), a.tracing_layer().boxed()];
    expect_no_conflict("in a list, after", &o, &a, registry().with(listed)).await;

    let (a, o) = (agent(), Other::new());
    let filtered = registry().with(o.layer().with_filter(LevelFilter::INFO)).with(a.tracing_layer());
    expect_no_conflict("filtered, after", &o, &a, filtered).await;
    let (a, o) = (agent(), Other::new());
    let filtered = registry().with(a.tracing_layer()).with(o.layer().with_filter(LevelFilter::INFO));
    expect_no_conflict("filtered, before", &o, &a, filtered).await;

    let (a, o) = (agent(), Other::new());
    let (reloaded, _handle) = reload::Layer::new(o.layer());
    expect_no_conflict("reloaded, after", &o, &a, registry().with(reloaded).with(Some(a.tracing_layer()))).await;
    let (a, o) = (agent(), Other::new());
    let (reloaded, _handle) = reload::Layer::new(a.tracing_layer());
    expect_no_conflict("reloaded agent, before", &o, &a, registry().with(reloaded).with(Some(o.layer()))).await;
}

#[tokio::test]
async fn other_opentelemetry_layer_added_later_is_detected() {
    let _turn = TURN.lock().await;
    let (a, o) = (agent(), Other::new());
    let later = o.layer();
    let (reloaded, handle) = reload::Layer::new(none_of(&later));
    let subscriber = registry().with(reloaded).with(a.tracing_layer());
    let dispatch = tracing::Dispatch::new(subscriber);
    tracing::dispatcher::with_default(&dispatch, || info_span!("alone").in_scope(|| ()));
    assert_eq!(a.stats().recorded, 1, "a span without a transaction is one");
    handle.reload(Some(later)).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        info_span!("first").in_scope(|| info_span!("second").in_scope(|| ()));
    });
    assert_eq!(o.spans(), [("second".to_owned(), Some("first".to_owned())), ("first".to_owned(), None)]);
    assert_eq!(a.stats().recorded, 1);
}

#[tokio::test]
async fn layers_of_two_agents_share_a_subscriber() {
    let _turn = TURN.lock().await;
    let (one, two) = (agent(), agent());
    let subscriber = || registry().with(one.tracing_layer()).with(two.tracing_layer());
    let handler = async || {
        let below = info_span!("below");
        info_span!(parent: &below, "child").in_scope(|| ());
    };
    for agent in [&one, &two] {
        for request_span in [false, true] {
            let app = Router::new().route("/", get(handler)).layer(agent.layer().request_span(request_span));
            let request = Request::get("/").body(Body::empty()).unwrap();
            app.oneshot(request).with_subscriber(subscriber()).await.unwrap();
        }
        assert_eq!(agent.stats().recorded, 2 * 3);
    }
}

#[tokio::test]
async fn inactive_layer_logs_one_warning() {
    let _turn = TURN.lock().await;
    let (a, o) = (agent(), Other::new());
    let written = CapturedOutput::default();
    let printer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(written.clone());
    serve(&a, registry().with(o.layer()).with(a.tracing_layer()).with(printer)).await;
    let printed = written.text();
    assert_eq!(printed.lines().filter(|line| line.contains("`tracing-opentelemetry`")).count(), 1, "{printed}");
}

fn none_of<T>(_: &T) -> Option<T> {
    None
}

fn registry() -> Registry {
    registry::Registry::default()
}
