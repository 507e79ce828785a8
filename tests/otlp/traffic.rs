//! Traffic of a service that fills every field of the events.

use std::{io, net::SocketAddr, time::SystemTime};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{StatusCode, Version},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState, Tracer,
        TracerProvider,
    },
};
use tower::ServiceExt;
use tower_apm::{Agent, Outcome, ResponseExt, Transaction, User, messaging};
use tracing::{info_span, trace_span};

/// Is in every place that can contain a secret.
pub(crate) const SECRET: &str = "hunter2-and-more";

#[derive(Debug, thiserror::Error)]
#[error("settlement of {0} failed")]
struct SettlementError(&'static str, #[source] io::Error);

fn settlement(of: &'static str) -> SettlementError {
    SettlementError(of, io::Error::other("execution reverted"))
}

async fn buy(tx: Transaction, body: String) -> Response {
    assert!(!body.is_empty());
    tx.set_user(User::id("0xdef").email("ada@example.com").name("Ada").domain("shop"));
    tx.set_label("listing", "1")
        .set_label("price", 12.5)
        .set_label("vip", true)
        .set_label("type", "gold")
        .set_label("order.id", "o-1");
    tx.set_custom_context(
        "order",
        serde_json::json!({ "buyer": "0xdef", "count": 3, "password": SECRET, "tags": ["a", "b"] }),
    );
    calls();
    let settle = info_span!("settle", step = 1);
    settle.in_scope(|| Transaction::current().error(&settlement("a span")).label("retry", 2).capture());
    let logged = settlement("a log line");
    tracing::error!(error = &logged as &dyn std::error::Error, "the payment failed");
    tx.error(&settlement("the transaction")).handled(true).custom("attempt", 2).capture();
    (StatusCode::CREATED, [("set-cookie", SECRET), ("x-request-id", "r-1")], "bought").into_response()
}

/// Calls of other services.
fn calls() {
    let statement = "SELECT * FROM listings WHERE id = $1";
    info_span!(
        "query",
        otel.kind = "client",
        db.system.name = "postgresql",
        db.namespace = "shop",
        db.query.text = statement,
        db.user = "app",
        db.rows_affected = 3,
        server.address = "db.example",
        server.port = 5432
    )
    .in_scope(|| ());
    info_span!("GET", otel.kind = "client", db.system = "redis", server.address = "cache.example", server.port = 6379)
        .in_scope(|| ());
    let url = format!("https://rates.example/v1/rates?token={SECRET}");
    info_span!(
        "GET",
        otel.kind = "client",
        http.request.method = "GET",
        url.full = url,
        http.response.status_code = 200,
        server.address = "rates.example"
    )
    .in_scope(|| ());
    info_span!(
        "POST",
        otel.kind = "client",
        http.method = "POST",
        http.url = "http://hooks.example:8080/",
        http.status_code = 503
    )
    .in_scope(|| ());
    info_span!("publish", otel.kind = "producer", messaging.system = "kafka", messaging.destination.name = "orders")
        .in_scope(|| ());
    info_span!(
        "reply",
        otel.kind = "producer",
        messaging.system = "rabbitmq",
        messaging.destination.name = "amq.gen-4711",
        messaging.destination.temporary = true,
        messaging.rabbitmq.destination.routing_key = "replies"
    )
    .in_scope(|| ());
    info_span!(
        "shop.Prices/Get",
        otel.kind = "client",
        rpc.system = "grpc",
        rpc.service = "shop.Prices",
        rpc.grpc.status_code = 0,
        server.address = "prices.example",
        server.port = 50051
    )
    .in_scope(|| ());
    info_span!("call", otel.kind = "client", colour = "green").in_scope(|| ());
    // these are compressed to one span
    (0..3).for_each(|_| {
        info_span!("find", otel.kind = "client", db.system = "mongodb", server.address = "docs.example")
            .in_scope(|| ());
    });
    // an instrumentation that does not set the span kind
    info_span!("inner", db.system = "mysql", db.name = "stock", db.statement = "DELETE FROM stock").in_scope(|| ());
    let first = info_span!("first", password = SECRET);
    let second = trace_span!("second", rows = 7);
    second.follows_from(&first);
    first.in_scope(|| ());
    second.in_scope(|| ());
}

async fn fails() -> Response {
    StatusCode::BAD_GATEWAY.into_response().with_error(settlement("the whole request"))
}

/// The response of a gRPC server with the status NOT_FOUND.
async fn prices() -> Response {
    ([("content-type", "application/grpc"), ("grpc-status", "5")], ()).into_response()
}

/// Sends a request through the agent's layer and reads the response to its end.
async fn call(agent: &Agent, mut request: Request) {
    let app = Router::new().route("/market/{id}", post(buy)).route("/fails", get(fails));
    let app = app.route("/shop.Prices/Get", post(prices)).layer(agent.layer());
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000))));
    app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

/// Records a server and a consumer span with OpenTelemetry alone.
fn foreign(agent: &Agent) {
    let tracer = agent.tracer_provider().tracer("foreign");
    let span = |name, kind, attributes: &[(&'static str, &'static str)]| {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
        drop(tracer.span_builder(name).with_kind(kind).with_attributes(attributes).start(&tracer));
    };
    span(
        "GET /rates",
        SpanKind::Server,
        &[
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("server.address", "shop.example"),
            ("server.port", "8443"),
            ("url.path", "/rates"),
            ("url.query", "of=eth&token=hunter2-and-more"),
            ("http.response.status_code", "503"),
            ("network.peer.address", "192.0.2.7"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "curl/8"),
            ("http.route", "/rates"),
        ],
    );
    let sales = [("messaging.system", "kafka"), ("messaging.destination.name", "sales")];
    span("sales receive", SpanKind::Consumer, &sales);
}

/// Records a message of another service like an instrumented Kafka client.
fn consume(agent: &Agent) {
    let sender = SpanContext::new(TraceId::from(7), SpanId::from(7), TraceFlags::SAMPLED, true, TraceState::default());
    let attributes = [
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", "orders"),
        KeyValue::new("messaging.operation", "process"),
        KeyValue::new("listing", 7),
        KeyValue::new("enduser.id", "0xabc"),
    ];
    let builder = SpanBuilder::from_name("orders process").with_kind(SpanKind::Consumer);
    let builder = builder.with_attributes(attributes).with_links(vec![Link::new(sender, Vec::new(), 0)]);
    let tracer = agent.tracer_provider().tracer("orders");
    let mut span = tracer.build_with_context(builder, &Context::new());
    span.set_status(Status::Ok);
    span.end();
}

/// A message with all recorded fields.
async fn receive(agent: &Agent) {
    let body = format!(r#"{{"bill":1,"password":"{SECRET}"}}"#);
    let received = messaging::receive("rabbitmq", "billing").agent(agent).routing_key("bills.new").body(&body);
    let received = received.headers([("tenant", "acme"), ("authorization", SECRET)]).timestamp(SystemTime::UNIX_EPOCH);
    received.run(async { messaging::send("rabbitmq", "mails").end() }).await;
}

pub(crate) async fn run(agent: &Agent) {
    let order = format!(r#"{{"listing":1,"password":"{SECRET}"}}"#);
    let request = Request::post(format!("/market/1?dry=1&token={SECRET}"))
        .header("host", "shop.example:3000")
        .header("user-agent", "curl/8")
        .header("accept", "*/*")
        .header("x-invented", "by a client")
        .header("authorization", SECRET)
        .header("cookie", format!("session={SECRET}; theme=dark"))
        .header("x-forwarded-for", "203.0.113.9")
        .header("content-type", "application/json")
        .header("content-length", order.len())
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("tracestate", "es=s:0.4");
    call(agent, request.body(Body::from(order)).unwrap()).await;
    call(agent, Request::get("/fails").header("host", "shop.example").body(Body::empty()).unwrap()).await;

    let request = Request::post("/shop.Prices/Get").version(Version::HTTP_2).header("host", "shop.example");
    call(agent, request.header("content-type", "application/grpc").body(Body::empty()).unwrap()).await;

    foreign(agent);
    consume(agent);
    receive(agent).await;

    let nightly = agent.start_transaction("nightly settlement", "scheduled");
    nightly.set_outcome(Outcome::Unknown).set_result("done");
    let late = nightly.in_scope(|| {
        info_span!("sweep").in_scope(|| ());
        Transaction::current()
    });
    agent.flush(crate::decoder::DEADLINE).await.unwrap();
    late.error(&settlement("an ended transaction")).capture();
}
