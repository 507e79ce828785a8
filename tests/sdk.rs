//! The agent as a span processor in a pipeline of OpenTelemetry's SDK.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::get};
use http_body_util::BodyExt;
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{Link, SpanId, SpanKind, TraceContextExt, TraceId, TraceState, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{
        Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, Span, SpanData, SpanProcessor,
    },
};
use serde_json::Value;
use tower::ServiceExt;
use tower_apm::{
    Agent, AgentBuilder, EnvVars,
    devserver::{DevServer, Kind, Query},
    otel::ApmSpanProcessor,
};
use tracing::{Instrument, info_span, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;

const LONG: Duration = Duration::from_secs(30);

/// Represents the exporters of a service that uses the SDK already.
#[derive(Debug, Clone, Default)]
struct Theirs(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Theirs {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Service {
    server: DevServer,
    agent: Agent,
    theirs: Theirs,
    provider: SdkTracerProvider,
    _subscriber: DefaultGuard,
}

impl Service {
    fn start() -> Self {
        Self::configured(|agent| agent.span_compression_enabled(false))
    }

    fn configured(configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Self {
        let server = DevServer::bind("127.0.0.1:0").unwrap();
        let builder = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").server_url(server.url());
        let agent = configure(builder).build().unwrap();
        let theirs = Theirs::default();
        let provider = SdkTracerProvider::builder()
            // the other processor gets every span, sampled by the agent or not
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(theirs.clone())
            .with_span_processor(ApmSpanProcessor::default())
            .build();
        let bridge = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
        let subscriber = tracing_subscriber::registry().with(bridge).with(agent.tracing_layer_without_spans());
        let guard = tracing::subscriber::set_default(subscriber);
        Self { server, agent, theirs, provider, _subscriber: guard }
    }

    async fn call(&self, router: Router) {
        let response = router.layer(self.agent.layer()).oneshot(Request::get("/").body(Body::empty()).unwrap()).await;
        response.unwrap().into_body().collect().await.unwrap();
    }

    async fn sent(&self, kind: Kind) -> Vec<Value> {
        self.agent.flush(LONG).await.unwrap();
        let found = self.server.store().query(&Query::new().kind(kind));
        found.events.iter().map(|event| event.body()).collect()
    }

    /// The transaction, and the names and parents of its spans.
    async fn work(&self) -> (Value, Vec<(String, Value)>) {
        let transaction = self.sent(Kind::Transaction).await.remove(0);
        let spans = self.sent(Kind::Span).await;
        let parents = spans.iter().map(|span| (span["name"].as_str().unwrap().to_owned(), span["parent_id"].clone()));
        let mut parents: Vec<_> = parents.collect();
        parents.sort_by(|one, other| one.0.cmp(&other.0));
        (transaction, parents)
    }
}

// spec: tracing-api-otel.md
#[tokio::test]
async fn sdk_span_is_sent_to_the_agent_and_to_other_processors() {
    let service = Service::start();
    service
        .call(Router::new().route(
            "/",
            get(async || {
                let query = info_span!("query", otel.kind = "client", db.system = "postgresql", db.namespace = "shop");
                let fetch = || info_span!("fetch", db.system = "postgresql");
                async { fetch().in_scope(|| info_span!("step").in_scope(|| ())) }.instrument(query).await;
                let task = async { info_span!("in a task").in_scope(|| ()) }.instrument(info_span!("task"));
                tokio::spawn(task).await.unwrap();
                "ok"
            }),
        ))
        .await;
    let transactions = service.sent(Kind::Transaction).await;
    let [transaction] = &transactions[..] else { panic!("{transactions:?}") };
    let spans = service.sent(Kind::Span).await;
    let span = |name: &str| {
        let mut found = spans.iter().filter(|span| span["name"] == name);
        let one = found.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
        assert!(found.next().is_none(), "{name} is there once");
        assert_eq!((&one["trace_id"], &one["transaction_id"]), (&transaction["trace_id"], &transaction["id"]));
        one
    };
    for (name, parent) in
        [("query", transaction), ("fetch", span("query")), ("task", transaction), ("in a task", span("task"))]
    {
        assert_eq!(span(name)["parent_id"], parent["id"], "{name}");
    }
    assert_eq!((&span("query")["type"], &span("query")["subtype"]), (&"db".into(), &"postgresql".into()));
    assert_eq!(spans.len(), 4);

    let theirs = service.theirs.0.lock().unwrap();
    let mut names: Vec<_> = theirs.iter().map(|span| span.name.as_ref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["fetch", "in a task", "query", "step", "task"], "the other processor gets all spans");
    let id = |span: &SpanData| span.span_context.span_id().to_string();
    for ours in spans.iter() {
        assert!(theirs.iter().any(|theirs| ours["id"] == id(theirs).as_str()), "with the same ids");
    }
}

/// sqlx logs in the span of its caller, which sqlx enters again in the database span.
#[tokio::test]
async fn statement_with_a_span_of_the_sdk_is_recorded_once() {
    let service = Service::start();
    let sql = "SELECT id FROM listings";
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        let log = || tracing::debug!(target: "sqlx::query", summary = sql, db.statement = "", elapsed_secs = 0.001);
        let caller = info_span!("load");
        let _entered = caller.enter();
        let query = info_span!("query", otel.kind = "client", db.system = "postgresql", db.query.text = sql);
        query.in_scope(|| caller.in_scope(log));
        drop(query);
        log();
    });
    let (transaction, spans) = service.work().await;
    let names: Vec<_> = spans.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["SELECT FROM listings", "SELECT FROM listings", "load"], "{transaction}");
}

// spec: tracing-api-otel.md
#[tokio::test]
async fn sdk_spans_outside_transactions_are_not_recorded() {
    let service = Service::start();
    info_span!("housekeeping").in_scope(|| info_span!("below").in_scope(|| ()));
    assert!(service.sent(Kind::Span).await.is_empty() && service.sent(Kind::Transaction).await.is_empty());
    assert_eq!(service.theirs.0.lock().unwrap().len(), 2);

    service.agent.start_transaction("settle", "scheduled").in_scope(|| info_span!("load").in_scope(|| ()));
    assert_eq!(service.sent(Kind::Span).await.len(), 1);
    let theirs = service.theirs.0.lock().unwrap();
    assert_ne!(theirs[2].parent_span_id, SpanId::INVALID, "its parent is the transaction");
}

// spec: error-tracking.md, tracing-api-otel.md
#[tokio::test]
async fn exception_of_an_sdk_span_is_one_error() {
    let service = Service::start();
    service
        .call(Router::new().route(
            "/",
            get(async || {
                let error = std::io::Error::other("no such room");
                let error: &(dyn std::error::Error + 'static) = &error;
                info_span!("chat").in_scope(|| tracing::error!(error, "lost"));
                "ok"
            }),
        ))
        .await;
    let errors = service.sent(Kind::Error).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["exception"]["message"], "no such room");
    let spans = service.sent(Kind::Span).await;
    assert_eq!(errors[0]["parent_id"], spans[0]["id"]);
    service.provider.shutdown().unwrap();
}

// spec: error-tracking.md
#[tokio::test]
async fn exceptions_below_an_unsampled_transaction_are_errors() {
    let service = Service::configured(|agent| agent.transaction_sample_rate(0.0));
    let tracer = service.provider.tracer("shop");
    let mut id = String::new();
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        id = Context::current().span().span_context().span_id().to_string();
        tracer.in_span("outer", |_| {
            tracer.in_span("inner", |context| context.span().record_error(&std::io::Error::other("no such room")));
        });
    });
    let errors = service.sent(Kind::Error).await;
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error["transaction"]["sampled"], false);
    assert_eq!((&error["transaction_id"], &error["parent_id"]), (&id.as_str().into(), &id.as_str().into()));
    assert!(service.sent(Kind::Span).await.is_empty() && service.sent(Kind::Transaction).await.is_empty());
    assert_eq!(service.theirs.0.lock().unwrap().len(), 2);
}

// spec: tracing-spans-limit.md
#[tokio::test]
async fn many_open_sdk_spans_over_the_limit_are_counted() {
    let service = Service::configured(|agent| agent.transaction_max_spans(0));
    let tracer = service.provider.tracer("shop");
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        let open: Vec<_> = (0..20_000).map(|_| tracer.start("step")).collect();
        drop(open);
    });
    assert_eq!(service.work().await.0["span_count"], serde_json::json!({ "started": 0, "dropped": 20_000 }));
}

// spec: tracing-spans.md, tracing-spans-compress.md
#[tokio::test]
async fn exit_spans_of_the_sdk_are_compressed_and_hide_their_children() {
    let service = Service::configured(|agent| agent);
    let call = |name: &'static str| info_span!("db", otel.name = name, otel.kind = "client", db.system = "postgresql");
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        for _ in 0..3 {
            call("SELECT 1").in_scope(|| info_span!("decode").in_scope(|| ()));
        }
        for _ in 0..2 {
            call("SELECT 2").in_scope(|| call("FETCH").in_scope(|| ()));
        }
    });
    let spans = service.sent(Kind::Span).await;
    let count = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
    assert_eq!(
        (count("SELECT 1"), count("decode")),
        (1, 0),
        "children that are not recorded do not prevent compression: {spans:?}"
    );
    assert_eq!((count("SELECT 2"), count("FETCH")), (2, 2), "exit spans with a child are not compressed");
    for fetch in spans.iter().filter(|span| span["name"] == "FETCH") {
        assert_eq!(fetch["context"].get("destination"), None);
        assert!(spans.iter().any(|span| span["name"] == "SELECT 2" && span["id"] == fetch["parent_id"]));
    }
}

// spec: tracing-spans-limit.md
#[tokio::test]
async fn children_of_a_dropped_sdk_span_have_the_sent_ancestor_as_parent() {
    let service = Service::configured(|agent| agent.transaction_max_spans(1));
    let tracer = service.provider.tracer("shop");
    let mut headers = http::HeaderMap::new();
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        drop(tracer.start("one"));
        tracer.in_span("beyond", |_| {
            let call = tracer.span_builder("call").with_kind(SpanKind::Client);
            drop(call.with_attributes([KeyValue::new("db.system", "mysql")]).start(&tracer));
            let error = std::io::Error::other("no such room");
            Context::current().span().record_error(&error);
            tower_apm::trace_context::inject(&mut headers);
        });
    });
    let (transaction, spans) = service.work().await;
    assert_eq!(spans, [("one".to_owned(), transaction["id"].clone())]);
    assert!(headers["traceparent"].to_str().unwrap().contains(transaction["id"].as_str().unwrap()));
    assert_eq!(transaction["span_count"], serde_json::json!({ "started": 1, "dropped": 2 }));
    assert_eq!(transaction["dropped_spans_stats"][0]["destination_service_resource"], "mysql");
    assert_eq!(service.sent(Kind::Error).await[0]["parent_id"], transaction["id"]);
}

// spec: tracing-instrumentation-messaging.md, tracing-distributed-tracing.md
#[tokio::test]
async fn sdk_spans_of_ignored_queues_are_dropped_and_baggage_is_attached() {
    let service = Service::configured(|agent| agent.ignore_message_queues(["noise*"]).baggage_to_attach(["shop.*"]));
    let tracer = service.provider.tracer("shop");
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        let baggage = [KeyValue::new("shop.tenant", "7"), KeyValue::new("other", "8")];
        let _attached = Context::current_with_baggage(baggage).attach();
        let queue =
            [KeyValue::new("messaging.system", "kafka"), KeyValue::new("messaging.destination.name", "noise.1")];
        let receive = tracer.span_builder("receive").with_attributes(queue).start(&tracer);
        let _within = Context::current_with_span(receive).attach();
        tracer.in_span("handle", |_| ());
    });
    let (transaction, spans) = service.work().await;
    assert_eq!(spans, [("handle".to_owned(), transaction["id"].clone())]);
    assert_eq!(service.sent(Kind::Span).await[0]["context"]["tags"], serde_json::json!({ "baggage_shop_tenant": "7" }));
    let theirs = service.theirs.0.lock().unwrap();
    assert!(
        theirs.iter().all(|span| span.attributes.iter().all(|attribute| !attribute.key.as_str().contains("tenant")))
    );
}

// spec: tracing-spans.md
#[tokio::test]
async fn child_of_an_ended_sdk_span_stays_in_the_trace() {
    let service = Service::start();
    let tracer = service.provider.tracer("shop");
    let context = service.agent.start_transaction("work", "scheduled").in_scope(|| {
        let context = Context::current_with_span(tracer.start("order"));
        context.span().end();
        context
    });
    // on another thread, without a transaction
    std::thread::scope(|scope| scope.spawn(|| drop(tracer.start_with_context("mail", &context))).join().unwrap());
    let spans = service.sent(Kind::Span).await;
    let of = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    assert_eq!(of("mail")["parent_id"], of("order")["id"]);
}

#[tokio::test]
async fn span_limit_counts_spans_at_their_start() {
    let service = Service::configured(|agent| agent.transaction_max_spans(10).span_compression_enabled(false));
    let tracer = service.provider.tracer("shop");
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        tracer.in_span("outer", |_| (0..30).for_each(|_| tracer.in_span("step", |_| ())));
        let begin = || Context::current_with_span(tracer.start("beyond"));
        let open: Vec<_> = (0..300).map(|_| begin()).collect();
        open[0].span().record_error(&std::io::Error::other("no such room"));
    });
    let (transaction, spans) = service.work().await;
    assert_eq!((spans.len(), &*spans[0].0), (10, "outer"));
    assert_eq!(spans.iter().filter(|(name, _)| name == "step").count(), 9);
    assert_eq!(transaction["span_count"], serde_json::json!({ "started": 10, "dropped": 321 }));
    assert_eq!(service.sent(Kind::Error).await[0]["parent_id"], transaction["id"]);
}

#[tokio::test]
async fn child_of_an_unsampled_sdk_span_belongs_to_the_transaction() {
    #[derive(Debug, Clone)]
    struct WithoutHidden;

    impl ShouldSample for WithoutHidden {
        fn should_sample(
            &self,
            _: Option<&Context>,
            _: TraceId,
            name: &str,
            _: &SpanKind,
            _: &[KeyValue],
            _: &[Link],
        ) -> SamplingResult {
            let decision = if name == "hidden" { SamplingDecision::Drop } else { SamplingDecision::RecordAndSample };
            SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::NONE }
        }
    }

    let service = Service::start();
    let provider = SdkTracerProvider::builder().with_sampler(WithoutHidden);
    let provider = provider.with_span_processor(ApmSpanProcessor::default()).build();
    let tracer = provider.tracer("shop");
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        tracer.in_span("hidden", |_| tracer.in_span("shown", |_| ()));
    });
    let (transaction, spans) = service.work().await;
    assert_eq!(spans, [("shown".to_owned(), transaction["id"].clone())]);
}

#[tokio::test]
async fn spans_that_are_open_when_the_provider_shuts_down_are_counted() {
    let service = Service::start();
    let tracer = service.provider.tracer("shop");
    service.agent.start_transaction("work", "scheduled").in_scope(|| {
        let _open = tracer.start("open");
        service.provider.shutdown().unwrap();
    });
    let transaction = service.sent(Kind::Transaction).await.remove(0);
    assert_eq!(transaction["span_count"], serde_json::json!({ "started": 0, "dropped": 1 }));
}
