//! OTLP requests for every rule of the server's translation, and with random attributes.

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
        SummaryDataPoint, metric::Data, number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link},
    },
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
};

/// 2026-08-20, in nanoseconds.
const START: u64 = 1_787_220_000_000_000_000;

pub(crate) fn text(text: &str) -> AnyValue {
    Value::StringValue(text.to_owned()).into_any()
}

fn int(number: i64) -> AnyValue {
    Value::IntValue(number).into_any()
}

trait IntoAny {
    fn into_any(self) -> AnyValue;
}

impl IntoAny for Value {
    fn into_any(self) -> AnyValue {
        AnyValue { value: Some(self) }
    }
}

pub(crate) fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// `key=text`, or `key#integer`.
fn attributes(list: &[&str]) -> Vec<KeyValue> {
    let one = |pair: &&str| match pair.split_once(['=', '#']) {
        Some((key, number)) if pair[key.len()..].starts_with('#') => attribute(key, int(number.parse().unwrap())),
        Some((key, value)) => attribute(key, text(value)),
        None => panic!("{pair}"),
    };
    list.iter().map(one).collect()
}

pub(crate) fn resource() -> Resource {
    let attributes = attributes(&[
        "service.name=shop/α",
        "service.version=1.2",
        "service.instance.id=node-1",
        "deployment.environment=test",
        "telemetry.sdk.name=opentelemetry",
        "telemetry.sdk.language=go",
        "telemetry.sdk.version=1.40",
        "process.pid#4711",
        "process.executable.path=/bin/shop",
        "process.command_line=shop --port 3000",
        "process.runtime.name=go",
        "process.runtime.version=1.26",
        "host.name=web-1",
        "host.arch=amd64",
        "host.id=h-1",
        "host.type=m5",
        "os.type=LINUX",
        "os.name=Debian",
        "os.version=13",
        "os.description=Debian 13",
        "container.id=c-1",
        "container.name=shop-1",
        "container.image.name=shop",
        "container.image.tag=1.2",
        "container.runtime=containerd",
        "k8s.namespace.name=prod",
        "k8s.pod.name=shop-1",
        "k8s.pod.uid=u-1",
        "cloud.provider=aws",
        "cloud.account.id=42",
        "cloud.region=eu-west-1",
        "cloud.availability_zone=eu-west-1b",
        "cloud.platform=aws_ec2",
        "device.manufacturer=Acme",
        "team.name=market",
        "floor#7",
    ]);
    Resource { attributes, ..Resource::default() }
}

/// Resources with missing and unusual attributes.
pub(crate) fn resources() -> Vec<Resource> {
    let of = |list: &[&str]| Resource { attributes: attributes(list), ..Resource::default() };
    vec![
        resource(),
        of(&[]),
        of(&["service.name="]),
        of(&["service.name=a.b*c", "telemetry.sdk.language=rust"]),
        of(&["telemetry.sdk.name=opentelemetry", "telemetry.distro.name=elastic", "telemetry.distro.version=1"]),
        of(&["telemetry.sdk.language=java", "telemetry.distro.name=elastic"]),
        of(&["telemetry.sdk.version=9", "telemetry.distro.version=1"]),
        of(&["os.type=darwin"]),
        of(&["os.type=windows", "os.name=iOS"]),
        of(&["os.name=Android"]),
        of(&["os.type=SOLARIS", "host.name=h"]),
        of(&["deployment.environment=a", "deployment.environment.name=b", "k8s.node.name=node", "host.name=h"]),
        of(&["data_stream.dataset=My-Set", "data_stream.namespace=Name-Space", "process.owner=root"]),
    ]
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "axum".into(), version: "0.8".into(), ..InstrumentationScope::default() }
}

fn id(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// One span in its own trace.
pub(crate) fn span(number: u64, kind: i32, parent: bool, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: [id(0x4711), id(number)].concat(),
        span_id: id(number),
        parent_span_id: if parent { id(0xff00_0000 + number) } else { Vec::new() },
        name: format!("span {number}"),
        kind,
        start_time_unix_nano: START + number * 1_000_000,
        end_time_unix_nano: START + number * 1_000_000 + 7_654_000,
        attributes,
        ..Span::default()
    }
}

/// A request with these spans.
pub(crate) fn traces(resource: Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource = Some(resource);
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

/// Attributes for every rule by which the server classifies spans, and similar ones.
pub(crate) const ROWS: &[&[&str]] = &[
    &[],
    &[
        "db.system=postgresql",
        "db.name=shop",
        "db.statement=SELECT 1",
        "db.user=app",
        "server.address=db",
        "server.port#5432",
    ],
    &["db.query.text=SELECT 1"],
    &["sql.query=SELECT 1"],
    &["db.namespace=shop"],
    &["db.system.name=mysql", "db.query.text=SELECT 1"],
    &["db.system=redis", "peer.service=cache"],
    &["db.system=elasticsearch", "db.elasticsearch.cluster.name=c", "http.url=https://es:9200/_search"],
    &["messaging.system=kafka", "messaging.destination=orders"],
    &["messaging.system=kafka", "messaging.destination.name=orders", "messaging.operation=receive"],
    &["messaging.operation.name=settle", "messaging.operation.type=ack"],
    &["messaging.destination=orders"],
    &["rpc.system=grpc", "rpc.service=shop.Prices", "rpc.method=Get", "server.address=prices", "server.port#50051"],
    &["rpc.grpc.status_code#0"],
    &["rpc.service=shop.Prices", "net.peer.ip=2001:db8::1", "net.peer.port#80"],
    &["http.url=https://rates.example/v1?a=1", "http.method=GET", "http.status_code#200"],
    &["url.full=http://rates.example:8080/v1", "http.request.method=GET", "http.response.status_code#404"],
    &["http.method=GET", "http.status_code#500"],
    &["url.path=/a b", "url.query=x=1", "url.scheme=https", "server.address=shop.example"],
    &["http.target=/x?y", "http.host=h:81", "http.scheme=https"],
    &["http.target=/x", "net.peer.name=h", "net.peer.port#443", "http.scheme=https"],
    &["http.url=https://h:443/x"],
    &["http.url=//h/x", "peer.service=other"],
    &["http.url=mailto:a@b"],
    &["http.url=%zz"],
    &["http.path=/p", "http.protocol=HTTP/1.1", "http.user_agent=curl", "http.client_ip=203.0.113.9"],
    &["http.flavor=2", "http.server_name=s", "net.host.port#81", "http.target=/t", "net.sock.peer.addr=10.0.0.1"],
    &["http.protocol=SPDY", "client.address=c.example", "client.port#4711"],
    &["user_agent.original=curl", "net.peer.ip=10.0.0.1", "net.peer.port#99"],
    &["gen_ai.system=openai"],
    &["gen_ai.provider.name=openai"],
    &["peer.address=jdbc:h2:mem", "peer.service=mem"],
    &["peer.address=10.0.0.1"],
    &["peer.hostname=h", "peer.port#9", "span.kind=client"],
    &["type=scheduled", "session.id=s-1", "service.version=9"],
    &["network.connection.type=wifi", "network.carrier.mcc=262"],
    &["code.stacktrace=at x", "data_stream.dataset=Other", "data_stream.namespace=n s"],
    &["http.method=POST", "http.target=/pay", "rpc.system=grpc", "rpc.grpc.status_code#5"],
];

/// Texts around the length at which the server cuts. The statement and the message are never cut.
pub(crate) fn long_texts() -> Vec<Span> {
    let lengths = (1..).zip([1023, 1024, 1025, 5000]);
    let span = |(number, length)| {
        let long = || text(&"é".repeat(length));
        let keys = ["colour", "db.statement", "db.name", "http.method", "messaging.destination"];
        let mut span = span(number, 3, true, keys.map(|key| attribute(key, long())).to_vec());
        span.events = vec![exception(&["exception.type=E"])];
        span.events[0].attributes.extend([attribute("exception.message", long()), attribute("colour", long())]);
        span
    };
    lengths.map(span).collect()
}

/// Each rule as a root span, a child span, and for every span kind.
pub(crate) fn rows() -> Vec<Span> {
    let mut spans = Vec::new();
    for row in ROWS {
        for (kind, parent) in [(1, false), (0, true), (1, true), (2, true), (3, true), (4, true), (5, true)] {
            let number = spans.len() as u64 + 1;
            let mut span = span(number, kind, parent, attributes(row));
            span.events = vec![
                exception(&[
                    "exception.type=shop::Failed",
                    "exception.message=no",
                    "exception.stacktrace=at x",
                    "step=1",
                ]),
                exception(&["exception.message=only this"]),
                exception(&["exception.type=OnlyThis"]),
                exception(&["neither=nor"]),
                Event { name: "retry".into(), ..exception(&["attempt#2"]) },
            ];
            spans.push(span);
        }
    }
    spans
}

fn exception(list: &[&str]) -> Event {
    Event {
        time_unix_nano: START + 3_000_000,
        name: "exception".into(),
        attributes: attributes(list),
        ..Event::default()
    }
}

/// Every attribute that the server knows, and some unknown ones.
const KEYS: &[&str] = &[
    "http.method",
    "http.request.method",
    "http.url",
    "url.full",
    "http.target",
    "http.path",
    "url.path",
    "url.query",
    "http.host",
    "http.scheme",
    "url.scheme",
    "http.status_code",
    "http.response.status_code",
    "http.protocol",
    "http.flavor",
    "http.server_name",
    "http.client_ip",
    "http.user_agent",
    "user_agent.original",
    "net.peer.ip",
    "net.sock.peer.addr",
    "net.peer.name",
    "client.address",
    "client.port",
    "net.peer.port",
    "net.host.name",
    "server.address",
    "net.host.port",
    "server.port",
    "network.connection.type",
    "network.carrier.name",
    "messaging.destination",
    "messaging.destination.name",
    "message_bus.destination",
    "messaging.system",
    "messaging.operation",
    "messaging.operation.type",
    "messaging.operation.name",
    "messaging.temp_destination",
    "messaging.destination.temporary",
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "rpc.grpc.status_code",
    "type",
    "session.id",
    "service.version",
    "data_stream.dataset",
    "db.statement",
    "db.query.text",
    "sql.query",
    "db.name",
    "db.namespace",
    "db.instance",
    "db.system",
    "db.type",
    "db.user",
    "peer.service",
    "peer.address",
    "peer.hostname",
    "peer.ipv4",
    "network.peer.address",
    "peer.port",
    "code.stacktrace",
    "gen_ai.system",
    "span.kind",
    "user.id",
    "custom.order*id",
    "a\"b",
    "colour",
];

const TEXTS: &[&str] = &[
    "",
    "GET",
    "http",
    "https",
    "HTTP/1.1",
    "2",
    "200",
    "-7",
    "x",
    "grpc",
    "kafka",
    "postgresql",
    "10.0.0.1",
    "2001:db8::1",
    "10.0.0.1:80",
    "shop.example",
    "shop.example:8080",
    "[2001:db8::1]:443",
    "/",
    "/a/b?c=d#e",
    "/%41%2f%zz",
    "/ü ß",
    "http://shop.example",
    "https://shop.example:443/a?b",
    "https://u:p@shop.example/x y",
    "http://[::1]:81/",
    "//h/p",
    "HTTP://H:99",
    "ftp://h/f",
    "mailto:x@y",
    "?q",
    "#f",
    "a:b",
    ":",
    "http://h:x/",
    "/a?",
    "*",
    "http:///p",
    "///p",
    "/a%20b",
    "http://h/[x]'(y)!*",
    "/*;=@&+,$:",
    "http://a%20b/",
];

fn value() -> impl Strategy<Value = AnyValue> {
    let texts = || select(TEXTS).prop_map(text);
    prop_oneof![
        12 => texts(),
        4 => select(vec![0, 1, 5, 16, 17, 80, 200, 302, 404, 443, 503, 600, 70_000]).prop_map(int),
        1 => any::<bool>().prop_map(|flag| Value::BoolValue(flag).into_any()),
        1 => select(vec![0.5, -1.0, 1e9]).prop_map(|number| Value::DoubleValue(number).into_any()),
        1 => vec(prop_oneof![3 => texts(), 1 => any::<i32>().prop_map(|n| int(n.into()))], 0..4)
            .prop_map(|values| Value::ArrayValue(ArrayValue { values }).into_any()),
        1 => texts().prop_map(|value| {
            Value::KvlistValue(KeyValueList { values: vec![attribute("k", value)] }).into_any()
        }),
        1 => select(vec![Value::BytesValue(vec![1, 2]).into_any(), AnyValue { value: None }]),
    ]
}

/// Attributes whose keys become different labels.
fn mixture(most: usize) -> impl Strategy<Value = Vec<KeyValue>> {
    vec((select(KEYS), value()), 0..most).prop_map(|list| {
        let mut mixed: Vec<KeyValue> = Vec::new();
        for (key, value) in list {
            if mixed.iter().all(|known| known.key != key) {
                mixed.push(attribute(key, value));
            }
        }
        mixed
    })
}

fn exception_mixture() -> impl Strategy<Value = Vec<KeyValue>> {
    let keys = ["exception.type", "exception.message", "exception.stacktrace", "exception.escaped", "other"];
    vec((select(keys.to_vec()), value()), 0..5).prop_map(|list| {
        let mut mixed: Vec<KeyValue> = Vec::new();
        for (key, value) in list {
            if mixed.iter().all(|known| known.key != key) {
                mixed.push(attribute(key, value));
            }
        }
        mixed
    })
}

pub(crate) fn any_span(number: u64) -> impl Strategy<Value = Span> {
    let states = ["", "ot=p:0", "ot=p:3", "es=s:0.1,ot=r:1;p:62", "ot=p:63", "ot=p:x"];
    let events = vec((select(vec!["exception", "retry"]), exception_mixture()), 0..3);
    let links = vec((any::<bool>(), select(vec!["elastic.is_child", "is_child", "x"]), any::<bool>()), 0..3);
    (mixture(10), 0..6_i32, any::<bool>(), select(states.to_vec()), 0..4_i32, events, links).prop_map(
        move |(attributes, kind, parent, state, status, events, links)| Span {
            trace_state: state.to_owned(),
            status: (status < 3).then(|| Status { code: status, ..Status::default() }),
            events: events
                .into_iter()
                .map(|(name, attributes)| Event { name: name.into(), attributes, ..exception(&[]) })
                .collect(),
            links: links
                .into_iter()
                .map(|(flag, key, with)| Link {
                    trace_id: [id(1), id(2)].concat(),
                    span_id: id(3),
                    attributes: with.then(|| attribute(key, Value::BoolValue(flag).into_any())).into_iter().collect(),
                    ..Link::default()
                })
                .collect(),
            ..span(number, kind, parent, attributes)
        },
    )
}

pub(crate) fn any_record(number: u64) -> impl Strategy<Value = LogRecord> {
    let more = select(vec![
        attributes(&[]),
        attributes(&["event.name=click", "event.domain=device"]),
        attributes(&["event.name=device.tap", "session.id=s", "network.connection.type=wifi"]),
        attributes(&["event.name=other"]),
    ]);
    let severity = select(vec![(0, ""), (9, "INFO"), (17, "ERROR")]);
    (value(), exception_mixture(), more, severity, any::<bool>()).prop_map(
        move |(body, mut attributes, more, (severity_number, severity_text), in_trace)| {
            attributes.extend(more);
            LogRecord {
                time_unix_nano: if in_trace { START + number * 1_000_000 } else { 0 },
                observed_time_unix_nano: START + 5_000_000 + number * 1_000_000,
                severity_number,
                severity_text: severity_text.to_owned(),
                body: Some(body),
                attributes,
                trace_id: if in_trace { [id(7), id(number)].concat() } else { Vec::new() },
                span_id: if in_trace { id(number) } else { Vec::new() },
                ..LogRecord::default()
            }
        },
    )
}

/// A log record with all fields.
pub(crate) fn record() -> LogRecord {
    LogRecord {
        time_unix_nano: START,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(text("sold")),
        attributes: attributes(&["order.id=o-1", "count#3"]),
        trace_id: [id(7), id(8)].concat(),
        span_id: id(8),
        ..LogRecord::default()
    }
}

pub(crate) fn logs(resource: Resource, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource);
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
}

/// One metric of each kind, in sets that differ by time or attributes.
pub(crate) fn metrics() -> ExportMetricsServiceRequest {
    let number = |after: u64, list: &[&str], value| NumberDataPoint {
        time_unix_nano: START + after * 1_000_000,
        attributes: attributes(list),
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let whole = number_data_point::Value::AsInt;
    let broken = number_data_point::Value::AsDouble;
    let metric = |name: &str, data| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() };
    let gauge = |data_points| Data::Gauge(Gauge { data_points });
    let histogram = |after: u64, bounds: &[f64], counts: &[u64]| HistogramDataPoint {
        time_unix_nano: START + after * 1_000_000,
        count: counts.iter().sum(),
        sum: Some(90.5),
        explicit_bounds: bounds.to_vec(),
        bucket_counts: counts.to_vec(),
        ..HistogramDataPoint::default()
    };
    let all = vec![
        metric("queue.size", gauge(vec![number(0, &[], whole(3)), number(0, &["queue.name=a", "n#1"], whole(4))])),
        metric("queue.age", gauge(vec![number(0, &[], broken(0.5)), number(1, &[], broken(f64::NAN))])),
        metric(
            "orders",
            Data::Sum(Sum { data_points: vec![number(0, &["queue.name=a", "n#1"], whole(9))], ..Sum::default() }),
        ),
        metric(
            "latency",
            Data::Histogram(Histogram {
                data_points: vec![
                    histogram(2, &[10.0, 20.0], &[1, 2, 3]),
                    histogram(3, &[-10.0, 20.0], &[1, 0, 3]),
                    histogram(4, &[], &[5]),
                    histogram(5, &[1.0], &[1]),
                ],
                ..Histogram::default()
            }),
        ),
        metric(
            "pause",
            Data::Summary(Summary {
                data_points: vec![SummaryDataPoint {
                    time_unix_nano: START,
                    count: 2,
                    sum: 7.5,
                    ..SummaryDataPoint::default()
                }],
            }),
        ),
    ];
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics: all, ..ScopeMetrics::default() }];
    let resource = Some(resource());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}
