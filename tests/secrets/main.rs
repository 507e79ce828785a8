//! Secrets are planted in every place that sends text, and none may be in the bytes that arrive, by either exporter.

mod debug_output;

use std::{
    collections::HashMap,
    fmt,
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http_body_util::BodyExt;
use opentelemetry::{
    KeyValue,
    metrics::MeterProvider,
    trace::{Span, SpanKind, Tracer, TracerProvider},
};
use serde::Deserialize;
use tower::ServiceExt;
use tower_apm::{Agent, CaptureBody, CaptureSpanFields, EnvVars, Exporter, Transaction};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

const LONG: Duration = Duration::from_secs(30);

/// Everything that was sent, uncompressed, with the path that it was sent to.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Sent>>>);

/// The path and the body of a request.
type Sent = (String, Vec<u8>);

impl Received {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(any(receive)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// All bodies of one exporter, one behind the other.
    fn bytes(&self, is_otlp: bool) -> Vec<u8> {
        let all = self.0.lock().unwrap();
        let own = all.iter().filter(|(path, _)| path.starts_with("/v1/") == is_otlp);
        own.flat_map(|(_, body)| body.iter().copied()).collect()
    }
}

async fn receive(State(received): State<Received>, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let inflated = match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap()) {
        Some("gzip") => inflate(flate2::read::GzDecoder::new(&body[..])),
        Some(_) => inflate(flate2::read::ZlibDecoder::new(&body[..])),
        None => body.to_vec(),
    };
    received.0.lock().unwrap().push((path.clone(), inflated));
    match &*path {
        "/" => Json(serde_json::json!({ "version": "8.17.0" })).into_response(),
        "/intake/v2/events" => StatusCode::ACCEPTED.into_response(),
        path if path.starts_with("/v1/") => ([(header::CONTENT_TYPE, "application/x-protobuf")], "").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn inflate(mut from: impl Read) -> Vec<u8> {
    let mut inflated = Vec::new();
    from.read_to_end(&mut inflated).unwrap();
    inflated
}

/// What was planted: a secret, and next to it a mark that shows that the place was sent at all.
#[derive(Default)]
struct Plants(Vec<Plant>);

struct Plant {
    place: String,
    mark: String,
    secret: String,
    /// OTLP has no place for some of it.
    by_otlp: bool,
}

impl Plants {
    fn plant(&mut self, place: &str) -> (String, String) {
        let number = self.0.len();
        let (mark, secret) = (format!("seen{number:04}x"), format!("S3cr3t{number:04}zq"));
        self.0.push(Plant { place: place.to_owned(), mark: mark.clone(), secret: secret.clone(), by_otlp: true });
        (mark, secret)
    }

    fn without_otlp(&mut self) {
        self.0.last_mut().unwrap().by_otlp = false;
    }

    /// A text of each form.
    fn texts(&mut self, place: &str) -> Vec<String> {
        let forms: [fn(&str, &str) -> String; 15] = [
            |mark, secret| format!("user={mark} password={secret} again"),
            |mark, secret| format!("{mark} Authorization: Bearer {secret}"),
            |mark, secret| format!("{mark} sent basic {secret} twice"),
            |mark, secret| format!("{:?}", Credentials { username: mark.into(), password: secret.into() }),
            |mark, secret| format!("{:#?}", Some(Credentials { username: mark.into(), password: secret.into() })),
            |mark, secret| format!("failed: {:?}", [("user", mark), ("password", secret)]),
            |mark, secret| format!(r#"{{"user":"{mark}","access_token":"{secret}"}}"#),
            |mark, secret| format!("body {:?}", format!(r#"{{"user":"{mark}","credentials":["{secret}"]}}"#)),
            |mark, secret| format!("{mark} at https://ada:{secret}@h/a"),
            |mark, secret| format!("{mark} at https://h/a?next=%2Fb%3Fapi_key%3D{secret}"),
            |mark, secret| format!("user={mark}&p%61ssword={secret}"),
            |mark, secret| format!("{mark}\r\ncookie: theme=dark; id={secret}\r\nhost: a"),
            |mark, secret| format!("<login><user>{mark}</user><password>{secret}</password></login>"),
            |mark, secret| format!(r#"{mark} {{ name: "x-csrf-token", value: "{secret}" }}"#),
            |mark, secret| {
                format!("{mark} {:?}", format!("password={secret}").as_bytes().to_vec().escape_ascii().to_string())
            },
        ];
        forms
            .iter()
            .enumerate()
            .map(|(form, text)| {
                let (mark, secret) = self.plant(&format!("{place}, form {form}"));
                text(&mark, &secret)
            })
            .collect()
    }

    fn assert_none_in(&self, received: &Received) {
        let intake = String::from_utf8_lossy(&received.bytes(false)).into_owned();
        let otlp = String::from_utf8_lossy(&received.bytes(true)).into_owned();
        let mut wrong = Vec::new();
        for Plant { place, mark, secret, by_otlp } in &self.0 {
            for (name, bytes, is_sent) in [("intake", &intake, true), ("OTLP", &otlp, *by_otlp)] {
                if let Some(at) = bytes.find(&**secret) {
                    let around: String =
                        bytes[..at].chars().rev().take(80).collect::<Vec<_>>().into_iter().rev().collect();
                    wrong.push(format!("{secret} ({place}) arrived by {name}: {around}"));
                }
                if is_sent && !bytes.contains(&**mark) {
                    wrong.push(format!("{mark} ({place}) did not arrive by {name}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), self.0.len(), wrong.join("\n"));
    }
}

struct Service {
    received: Received,
    agent: Agent,
    _subscriber: DefaultGuard,
}

impl Service {
    async fn start(capture: CaptureSpanFields) -> Self {
        let received = Received::default();
        let url = received.start().await;
        let agent = Agent::builder()
            .env_vars(EnvVars::empty())
            .service_name("shop")
            .server_url(url)
            .exporter(Exporter::IntakeAndOtlp)
            .central_config(false)
            .capture_body(CaptureBody::All)
            .capture_span_fields(capture)
            .log_sending(true)
            .span_compression_enabled(false)
            .metrics_interval(Duration::from_secs(3600))
            .transaction_max_spans(10_000)
            .build()
            .unwrap();
        let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(agent.log_layer());
        let _subscriber = tracing::subscriber::set_default(subscriber);
        Self { received, agent, _subscriber }
    }

    async fn finish(self) -> Received {
        self.agent.shutdown(LONG).await.unwrap();
        self.received
    }
}

#[derive(Debug, Clone, Deserialize)]
#[allow(dead_code, reason = "shown by Debug only")]
struct Credentials {
    username: String,
    password: String,
}

#[derive(Debug)]
struct Failure(String, Option<Box<Failure>>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[tracing::instrument]
async fn with_argument(argument: String) {}

#[tokio::test]
async fn secrets_in_free_text_are_not_sent() {
    let service = Service::start(CaptureSpanFields::On).await;
    let agent = &service.agent;
    let mut plants = Plants::default();
    for text in plants.texts("the argument of an instrumented function") {
        agent.start_transaction("job", "scheduled").run(with_argument(text)).await;
    }
    for text in plants.texts("a field of a span and its name") {
        agent.start_transaction("job", "scheduled").in_scope(|| {
            tracing::info_span!("work", note = %text, other = ?text).in_scope(|| {});
            tracing::info_span!("work", otel.name = %text).in_scope(|| {});
        });
    }
    for text in plants.texts("an event and its fields") {
        agent.start_transaction("job", "scheduled").in_scope(|| {
            tracing::error!(error = %text, note = ?text, "{text}");
            tracing::info!(note = %text, "{text}");
            tracing::error!(error = &Failure(text.clone(), None) as &dyn std::error::Error, "failed: {text}");
        });
    }
    for text in plants.texts("an error, its cause, its template and its custom context") {
        let error = Failure(text.clone(), Some(Box::new(Failure(text.clone(), None))));
        agent.error(&error).message_template(text.clone()).custom("note", &text).capture();
        agent.start_transaction("job", "scheduled").in_scope(|| {
            Transaction::current().capture_error(&error);
        });
    }
    for text in plants.texts("name, type and result of a transaction, and custom context") {
        let tx = agent.start_transaction(text.clone(), text.clone());
        tx.set_result(text.clone())
            .set_custom_context("note", &text)
            .set_custom_context("notes", vec![HashMap::from([("a", &text)])]);
        drop(tx);
    }
    let tracer = agent.tracer_provider().tracer("shop");
    for text in plants.texts("name and attributes of a span of OpenTelemetry") {
        agent.start_transaction("job", "scheduled").in_scope(|| {
            let attributes = ["note", "db.namespace", "url.full", "server.address", "peer.service"];
            let attributes = attributes.map(|key| KeyValue::new(key, text.clone()));
            let span = tracer.span_builder(text.clone()).with_kind(SpanKind::Client);
            let mut span = span.with_attributes(attributes).start(&tracer);
            span.record_error(&Failure(text.clone(), None));
            span.set_status(opentelemetry::trace::Status::error(text.clone()));
        });
        let span = tracer.span_builder(text.clone()).with_kind(SpanKind::Consumer);
        let attributes =
            ["note", "messaging.destination.name", "user.name"].map(|key| KeyValue::new(key, text.clone()));
        drop(span.with_attributes(attributes).start(&tracer));
    }
    let meters = agent.meter_provider();
    let counter = meters.meter("shop").u64_counter("shop.orders").build();
    for text in plants.texts("an attribute of a metric") {
        counter.add(1, &[KeyValue::new("note", text)]);
    }
    meters.force_flush().unwrap();
    let received = service.finish().await;
    plants.assert_none_in(&received);
}

#[tokio::test]
async fn secrets_with_secret_names_are_not_sent() {
    let service = Service::start(CaptureSpanFields::On).await;
    let agent = &service.agent;
    let mut plants = Plants::default();
    let names = [
        "password",
        "jwt",
        "client_assertion",
        "oidc_state",
        "csrf",
        "xsrf",
        "credentials",
        "signature",
        "otp",
        "sid",
        "cvv",
        "pin",
        "ssn",
        "dpop",
    ];
    let tracer = agent.tracer_provider().tracer("shop");
    let meters = agent.meter_provider();
    let counter = meters.meter("shop").u64_counter("shop.orders").build();
    for name in names {
        let (mark, secret) = plants.plant(name);
        agent.start_transaction(mark.clone(), "scheduled").in_scope(|| {
            let tx = Transaction::current();
            tx.set_custom_context(name, &secret).set_custom_context("nested", HashMap::from([(name, [&secret])]));
            tx.set_custom_context("pairs", vec![HashMap::from([("name", name), ("value", &secret)])]);
            drop(tracer.span_builder("a").with_attributes([KeyValue::new(name, secret.clone())]).start(&tracer));
            counter.add(1, &[KeyValue::new(name, secret.clone())]);
            tracing::info!("{}: {}", name, secret);
            tracing::info!("{name}={secret}");
            tracing::error!(error = "no", "{:?}", HashMap::from([(name, Some(&secret))]));
        });
    }
    agent.start_transaction("fields", "scheduled").in_scope(|| {
        let (mark, secret) = plants.plant("fields of events");
        tracing::info!(password = %secret, token = ?secret, mark);
        tracing::error!(error = "no", session = secret, mark);
    });
    meters.force_flush().unwrap();
    let received = service.finish().await;
    plants.assert_none_in(&received);
}

#[tracing::instrument]
async fn of_headers(headers: HeaderMap) {}
#[tracing::instrument]
async fn of_json(Json(credentials): Json<Credentials>) {}
#[tracing::instrument]
async fn of_form(form: Form<Credentials>) {}
#[tracing::instrument]
async fn of_query(query: Query<HashMap<String, String>>) {}
#[tracing::instrument]
async fn of_request(request: Request) {}
#[tracing::instrument]
async fn of_text(body: String) {}
#[tracing::instrument]
async fn of_bytes(body: Bytes) {}
async fn of_error(Json(credentials): Json<Credentials>) {
    tracing::error!(?credentials, error = "no", "login failed");
}
async fn of_panic(body: String) {
    panic!("{body}");
}
async fn of_name(request: Request) {
    Transaction::current().set_name(format!("{} {}", request.method(), request.uri()));
}

#[tokio::test]
async fn secrets_in_requests_are_not_sent() {
    let service = Service::start(CaptureSpanFields::On).await;
    let app = Router::new()
        .route("/headers/{mark}", get(of_headers))
        .route("/json/{mark}", post(of_json))
        .route("/form/{mark}", post(of_form))
        .route("/query/{mark}", get(of_query))
        .route("/request/{mark}", get(of_request))
        .route("/text/{mark}", post(of_text))
        .route("/bytes/{mark}", post(of_bytes))
        .route("/error/{mark}", post(of_error))
        .route("/panic/{mark}", post(of_panic))
        .route("/name/{mark}", get(of_name))
        .route("/answer/{mark}", get(|| async { ([("set-cookie", "theme=dark"), ("x-note", "plain")], "") }))
        .layer(service.agent.layer())
        .layer(CatchPanicLayer::new());
    let mut plants = Plants::default();
    let json = "application/json";
    let credentials = r#"{"username":"bob","password":"SECRET"}"#;
    let bodies = [
        ("json", json, credentials),
        ("text", json, credentials),
        ("bytes", json, credentials),
        ("error", json, credentials),
        ("panic", json, credentials),
        ("form", "application/x-www-form-urlencoded", "username=bob&password=SECRET"),
        ("text", "application/x-www-form-urlencoded", "a=b&next=%2Fa%3Ftoken%3DSECRET&p%61ssword=SECRET"),
        ("text", "text/json", credentials),
        ("text", "text/plain;charset=UTF-8", credentials),
        ("text", "text/plain", "password=SECRET"),
        ("text", "text/plain", r#"[{"value":"SECRET","name":"password"}]"#),
        ("text", "application/xml", "<a><password type='x'>SECRET</password><b token=\"SECRET\"/></a>"),
        ("text", "application/soap+xml", "<s:a><wsse:Password>SECRET</wsse:Password></s:a>"),
        ("text", "application/graphql", "mutation { login(user: \"bob\", password: \"SECRET\") { id } }"),
        ("text", json, r#"{"payload":"{\"inner\":\"{\\\"password\\\":\\\"SECRET\\\"}\"}"}"#),
        ("text", json, r#"{"name":"password","value":"SECRET"}"#),
        ("text", json, r#"{"query":"mutation { login(password: \"SECRET\") }"}"#),
        (
            "text",
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"password\"\r\n\r\nSECRET\r\n--b--",
        ),
        ("headers", "", ""),
        ("query", "", ""),
        ("request", "", ""),
        ("name", "", ""),
    ];
    for (route, content_type, body) in bodies {
        let (mark, secret) = plants.plant(&format!("{route} {content_type}"));
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = Request::builder()
            .method(method)
            .uri(format!("/{route}/{mark}?a=b&access_token={secret}&next=%2Fa%3Ftoken%3D{secret}"))
            .header("authorization", format!("Bearer {secret}"))
            .header("cookie", format!("theme=dark; id={secret}; remember={secret}; other={secret}long"))
            .header("referer", format!("https://h/?token={secret}"))
            .header("x-note", format!("password={secret}"))
            .header("x-otp", &secret)
            .header("baggage", format!("session={secret},note=password%3D{secret}"))
            .header("content-type", content_type)
            .body(Body::from(body.replace("SECRET", &secret)))
            .unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let received = service.finish().await;
    plants.assert_none_in(&received);
}

#[tokio::test]
async fn token_like_cookies_are_redacted_with_any_option() {
    let received = Received::default();
    let url = received.start().await;
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .server_url(url)
        .central_config(false)
        .sanitize_field_names(["nothing"])
        .build()
        .unwrap();
    let mut plants = Plants::default();
    let (mark, secret) = plants.plant("cookies");
    plants.without_otlp();
    let answered = format!("x={secret}0123456789; Path=/");
    let header = format!("theme=dark; x={secret}0123456789");
    let app = Router::new()
        .route("/{mark}", get(move || async move { ([("set-cookie", answered)], "") }))
        .layer(agent.layer());
    let request = Request::builder().uri(format!("/{mark}")).header("cookie", header);
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    answer.into_body().collect().await.unwrap();
    agent.shutdown(LONG).await.unwrap();
    plants.assert_none_in(&received);
}

#[tokio::test]
async fn capture_span_fields_off_sends_no_fields_of_spans() {
    let service = Service::start(CaptureSpanFields::Off).await;
    let tracer = service.agent.tracer_provider().tracer("shop");
    service.agent.start_transaction("job", "scheduled").in_scope(|| {
        tracing::info_span!("visible", argument = "hidden-one").in_scope(|| {});
        let attributes = [KeyValue::new("db.system.name", "sqlite"), KeyValue::new("note", "hidden-two")];
        drop(tracer.span_builder("SELECT").with_kind(SpanKind::Client).with_attributes(attributes).start(&tracer));
    });
    let span = tracer.span_builder("root").with_kind(SpanKind::Server);
    drop(span.with_attributes([KeyValue::new("note", "hidden-three")]).start(&tracer));
    let received = service.finish().await;
    for is_otlp in [false, true] {
        let bytes = String::from_utf8_lossy(&received.bytes(is_otlp)).into_owned();
        assert!(bytes.contains("visible") && bytes.contains("sqlite") && bytes.contains("root"), "{bytes}");
        assert!(!bytes.contains("hidden-"), "{bytes}");
    }
}
