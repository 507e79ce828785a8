//! Records to tell of.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Version};
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};

use crate::record::{
    Body, Context, Custom, ErrorOrigin, ErrorParent, ErrorRecord, Exception, Headers, HttpRequest, HttpResponse,
    Kubernetes, Label, LabelValue, Link, LogMessage, Name, OtelPart, Outcome, RequestText, Resource, SpanId,
    SpanRecord, Stack, TraceId, TransactionRecord, User,
};

pub(crate) fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    Headers::copy(&map)
}

pub(crate) fn label(key: &'static str, value: impl Into<LabelValue>) -> Label {
    Label { key: key.into(), value: value.into() }
}

/// A request as a service sees it, with something in every field and a secret wherever one can be.
pub(crate) fn context() -> Context {
    let order = r#"{"buyer":"0xdef","amount":3,"password":"hunter2"}"#;
    Context {
        user: Some(Box::new(User::id("0xdef").email("ada@example.com").name("Ada").domain("shop"))),
        labels: vec![label("module", "market"), label("listing.id", 7), label("vip", true), label("ratio", 0.5)],
        custom: vec![Custom { key: "order".into(), json: order.into() }],
        request: Some(HttpRequest {
            method: Method::POST,
            version: Version::HTTP_11,
            https: false,
            text: RequestText::new(
                "/market/listings/1/purchase",
                Some("dry=1&token=hunter2"),
                b"127.0.0.1:18300",
                Some("/market/listings/{id}/purchase"),
            ),
            remote: Some("127.0.0.1:40000".parse().unwrap()),
            headers: Some(headers(&[
                ("host", "127.0.0.1:18300"),
                ("user-agent", "curl/8"),
                ("authorization", "Bearer hunter2"),
                ("cookie", "session=hunter2; theme=dark"),
                ("accept", "text/html"),
                ("accept", "*/*"),
            ])),
            origin: None,
            body: Some(Box::new(Body {
                bytes: order.into(),
                content_type: "application/json".to_owned(),
                truncated: false,
            })),
        }),
        response: Some(HttpResponse {
            status: 201,
            headers: Some(headers(&[("content-type", "application/json"), ("set-cookie", "session=hunter2")])),
            finished: true,
        }),
        framework: Some("axum"),
    }
}

pub(crate) fn transaction() -> TransactionRecord {
    let mut record = TransactionRecord {
        parent_id: Some(SpanId(0xb7ad_6b71_6920_3331)),
        sample_rate: Some(0.5),
        duration: Duration::from_micros(31_958),
        time_to_head: Some(Duration::from_micros(20_500)),
        outcome: Outcome::Success,
        links: vec![Link { trace_id: TraceId(1), span_id: SpanId(2) }],
        otel: Some(Box::new(OtelPart {
            kind: SpanKind::Server,
            attributes: vec![KeyValue::new("cart.size", 3), KeyValue::new("http.request.method", "POST")],
        })),
        context: context(),
        ..TransactionRecord::new(
            TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
            SpanId(0x802c_383f_395c_506d),
            "request".into(),
            Name::Route,
            1_795_376_332_088_009,
        )
    };
    (record.spans.started, record.spans.dropped) = (2, 1);
    record
}

pub(crate) fn span(name: &'static str, kind: SpanKind, attributes: Vec<KeyValue>) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId(1),
        id: SpanId(3),
        parent_id: SpanId(2),
        transaction_id: Some(SpanId(2)),
        sample_rate: Some(1.0),
        timestamp: 1_795_376_332_092_155,
        duration: Duration::from_micros(973),
        name: name.into(),
        kind,
        attributes,
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
    }
}

fn cause(message: &str) -> Exception {
    let message = message.to_owned();
    Exception { message, ..Exception::default() }
}

pub(crate) fn error() -> ErrorRecord {
    let stack = "   0: sqlx::query::fetch_one\n   1: marketplace::market::service::purchase::{{closure}}\n             at \
                 ./src/market/service.rs:42:13\n   2: axum::handler::call\n";
    ErrorRecord {
        id: TraceId(9),
        timestamp: 1_795_376_332_145_000,
        parent: Some(ErrorParent {
            trace_id: TraceId(1),
            transaction_id: SpanId(2),
            parent_id: SpanId(3),
            sampled: true,
            kind: "request".into(),
            name: Name::Route,
        }),
        exception: Some(Exception {
            kind: Some("SettlementError".into()),
            variant: None,
            erased: false,
            module: Some("marketplace::market".into()),
            message: "settlement failed at http://chain/rpc?token=hunter2".to_owned(),
            handled: false,
            causes: vec![cause("the chain refused"), cause("execution reverted")],
            debug_text: None,
            logged_text: None,
            stack: Stack::Text(stack.into()),
        }),
        log: Some(LogMessage {
            message: "purchase failed".to_owned(),
            level: "error",
            logger: Some("marketplace::market".into()),
            template: Some("purchase failed".into()),
            stack: Stack::None,
        }),
        origin: ErrorOrigin::Code,
        context: context(),
    }
}

pub(crate) fn resource() -> Resource {
    Resource {
        service_name: "marketplace".to_owned(),
        service_version: Some("1.0.0".to_owned()),
        environment: Some("reference".to_owned()),
        node_name: Some("node-1".to_owned()),
        ephemeral_id: "c0ffee".to_owned(),
        activation_method: Some("layer"),
        language_version: Some("1.90.0"),
        framework: Some("axum"),
        pid: 7,
        parent_pid: Some(1),
        process_title: Some("marketplace".to_owned()),
        detected_hostname: Some("vm".to_owned()),
        configured_hostname: None,
        architecture: "x86_64",
        platform: "linux",
        labels: vec![label("team", "shop")],
        container_id: None,
        kubernetes: Kubernetes::default(),
        cloud: None,
    }
}
