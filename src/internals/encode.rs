//! What the worker does with an event: an encoder, and events to feed it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Version, header};
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};

use crate::{
    apm_server::{ServerClient, ServerSettings, ServerVersion},
    config::LiveConfig,
    error::BuildError,
    intake::IntakeExporter,
    pipeline::Exporter,
    record::{
        Context, Custom, Event, Exception, Headers, HttpRequest, HttpResponse, Label, Name, Outcome, RequestText,
        Resource, SpanId, SpanRecord, Stack, TraceId, TransactionRecord, User,
    },
};

/// An exporter that fills batches and sends none.
#[derive(Debug)]
pub struct Encoder(IntakeExporter);

impl Encoder {
    /// # Errors
    /// No HTTP client can be had.
    pub fn new(gzip: bool) -> Result<Self, BuildError> {
        let resource = Resource { service_name: "marketplace".to_owned(), ..Resource::default() };
        let live = LiveConfig::default();
        let client = ServerClient::new(&ServerSettings::from_config(&live.load(), Some(gzip)))?;
        IntakeExporter::new(client, ServerVersion::default(), live, &resource).map(Self)
    }

    /// What the worker does with each event, its share of closing a batch included. False when it was not taken.
    pub fn add(&mut self, record: Record) -> bool {
        if self.0.is_full() {
            drop(self.0.close());
        }
        self.0.add(record.0).is_ok()
    }
}

/// An event as it leaves the queue.
#[derive(Debug)]
pub struct Record(Event);

impl Record {
    /// A request with headers off and nothing added.
    #[must_use]
    pub fn transaction() -> Self {
        Self(Event::Transaction(Box::new(transaction(Context {
            request: Some(request(None)),
            response: Some(HttpResponse { status: 200, headers: None, finished: true }),
            ..Context::default()
        }))))
    }

    /// The same with headers, user, labels and custom context.
    #[must_use]
    pub fn full_transaction() -> Self {
        Self(Event::Transaction(Box::new(transaction(full_context()))))
    }

    /// A statement of a database.
    #[must_use]
    pub fn span() -> Self {
        Self(Event::Span(Box::new(SpanRecord {
            trace_id: TraceId(1),
            id: SpanId(3),
            parent_id: SpanId(2),
            transaction_id: Some(SpanId(2)),
            sample_rate: Some(1.0),
            timestamp: 1_795_376_332_092_155,
            duration: Duration::from_micros(973),
            name: "SELECT orders".into(),
            kind: SpanKind::Client,
            attributes: vec![
                KeyValue::new("db.system", "postgresql"),
                KeyValue::new("db.name", "market"),
                KeyValue::new("db.statement", "SELECT id, token FROM orders WHERE id = $1"),
            ],
            status: Status::Unset,
            outcome: None,
            links: Vec::new(),
            composite: None,
            within_call: false,
            is_retold: false,
            statement: None,
            span_type: None,
            exit_span: None,
            stack: Stack::None,
        })))
    }

    /// An error with two causes and the stack of the caller, captured and not yet resolved, and full context.
    #[must_use]
    pub fn error() -> Self {
        let cause = |message: &str| Exception { message: message.to_owned(), ..Exception::default() };
        let exception = Exception {
            kind: Some("SettlementError".into()),
            module: Some("marketplace::market".into()),
            message: "the settlement failed".to_owned(),
            causes: vec![cause("the chain refused"), cause("execution reverted")],
            stack: Stack::Captured(Box::new(backtrace::Backtrace::new_unresolved())),
            ..Exception::default()
        };
        let mut record = exception.into_record(std::time::SystemTime::now());
        record.context = full_context();
        Self(Event::Error(record))
    }
}

fn transaction(context: Context) -> TransactionRecord {
    let mut record = TransactionRecord {
        sample_rate: Some(1.0),
        duration: Duration::from_micros(31_958),
        time_to_head: Some(Duration::from_micros(20_500)),
        outcome: Outcome::Success,
        context,
        ..TransactionRecord::new(TraceId(1), SpanId(2), "request".into(), Name::Route, 1_795_376_332_088_009)
    };
    record.spans.started = 3;
    record
}

fn full_context() -> Context {
    let order = r#"{"listing":"17","buyer":"0xdef","price":1250,"token":{"id":"42","password":"hunter2"}}"#;
    Context {
        user: Some(Box::new(User::id("0xdef").email("ada@example.com").name("Ada"))),
        labels: [("module", "market"), ("token_id", "42"), ("tx_hash", "0x5fbdb2315678afecb367f032d93f642f64180aa3")]
            .map(|(key, value)| Label { key: key.into(), value: value.into() })
            .into(),
        custom: vec![Custom { key: "order".into(), json: order.into() }],
        request: Some(request(Some(Headers::copy(&headers())))),
        response: Some(HttpResponse { status: 200, headers: Some(Headers::copy(&headers())), finished: true }),
        framework: Some("axum"),
    }
}

fn request(headers: Option<Headers>) -> HttpRequest {
    let route = Some("/market/listings/{id}/purchase");
    HttpRequest {
        method: Method::POST,
        version: Version::HTTP_11,
        https: false,
        text: RequestText::new("/market/listings/17/purchase", Some("dry=1"), b"market.example", route),
        remote: Some(([127, 0, 0, 1], 40_000).into()),
        headers,
        origin: None,
        body: None,
    }
}

fn headers() -> HeaderMap {
    let pairs = [
        (header::HOST, "market.example"),
        (header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        (header::ACCEPT, "application/json"),
        (header::CONTENT_TYPE, "application/json"),
        (header::AUTHORIZATION, "Bearer hunter2"),
    ];
    pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect()
}
