//! Random traffic of a service: requests and background work with spans and errors.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use opentelemetry::{
    Context, KeyValue, global,
    trace::{
        Link, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
        Tracer,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::select,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_apm::{Agent, LabelValue, Outcome, ResponseExt, Transaction, User};

use crate::{
    SECRET,
    strategies::{Any, anything, float, integer, label, labels, text},
};

/// The work of a few transactions.
#[derive(Debug, Clone)]
pub(crate) struct Traffic(Vec<(Frame, Work)>);

/// The kind of a transaction.
#[derive(Debug, Clone)]
enum Frame {
    Background { name: String, kind: String },
    Request(Box<Call>),
}

#[derive(Debug, Clone)]
struct Call {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
    status: u16,
    answer: Vec<(HeaderName, HeaderValue)>,
    error: Option<Failure>,
}

/// The data that a transaction records.
#[derive(Debug, Clone)]
struct Work {
    name: Option<String>,
    result: Option<String>,
    outcome: Option<Outcome>,
    user: Option<[String; 4]>,
    labels: Vec<(String, LabelValue)>,
    custom: Vec<(String, Any)>,
    spans: Vec<Doing>,
    errors: Vec<Reported>,
}

/// An error, its labels, its custom context, and its culprit.
type Reported = (Failure, Vec<(String, LabelValue)>, Vec<(String, Any)>, Option<String>);

#[derive(Debug, Clone)]
struct Doing {
    name: String,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    times: Option<(SystemTime, SystemTime)>,
    links: usize,
    status: Status,
    failure: Option<String>,
    within: Option<Box<Doing>>,
}

/// An error with its causes.
#[derive(Debug, Clone)]
struct Failure {
    message: String,
    cause: Option<Box<Failure>>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

pub(crate) fn traffic() -> impl Strategy<Value = Traffic> {
    vec((prop_oneof![background(), call()], work()), 1..4).prop_map(Traffic)
}

fn background() -> impl Strategy<Value = Frame> {
    (text(), text()).prop_map(|(name, kind)| Frame::Background { name, kind })
}

fn call() -> impl Strategy<Value = Frame> {
    const METHODS: &[&str] = &["GET", "POST", "OPTIONS", "X-!#$%&'*+.^_`|~", "VERYVERYVERYLONGMETHOD"];
    const TYPES: &[&str] =
        &["application/json", "application/x-www-form-urlencoded", "text/plain", "application/x+json; a=b", "x"];
    let (method, kind) = (select(METHODS), select(TYPES));
    let body =
        prop_oneof![vec(any::<u8>(), 0..200), anything().prop_map(|any| serde_json::to_vec(&any).unwrap_or_default())];
    let status = prop_oneof![100_u16..1000, Just(200)];
    (method, uri(), headers(), kind, body, status, headers(), option::weighted(0.2, failure())).prop_map(
        |(method, uri, mut headers, kind, body, status, mut answer, error)| {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            headers.push((header::AUTHORIZATION, HeaderValue::from_static(SECRET)));
            headers.push((header::COOKIE, format!("theme=dark; session={SECRET}").parse().unwrap()));
            let url = format!("https://shop.example/?from=home&token={SECRET};{SECRET}#password={SECRET}");
            for name in ["referer", "x-original-url", "x-rewrite-url"] {
                headers.push((HeaderName::from_static(name), url.parse().unwrap()));
            }
            let link = format!("<{url}>; rel=next").parse().unwrap();
            answer.extend([(header::LOCATION, url.parse().unwrap()), (header::LINK, link)]);
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            Frame::Request(Box::new(Call { method, uri, headers, body, status, answer, error }))
        },
    )
}

/// Any path and query that `http` takes, with a secret behind it.
fn uri() -> impl Strategy<Value = Uri> {
    let bytes = vec(0x21_u8..=0xff, 0..300);
    (bytes, select(&["", "http://h", "https://h:1", "http://[::1]:80"][..])).prop_map(|(path, origin)| {
        let text = [origin.as_bytes(), b"/", &path].concat();
        let mut text: Vec<u8> = text.into_iter().filter(|byte| *byte != b'#').collect();
        let mark = if text.contains(&b'?') { "&" } else { "?" };
        text.extend_from_slice(format!("{mark}token={SECRET}").as_bytes());
        Uri::try_from(text).unwrap_or_else(|_| format!("/?token={SECRET}").parse().unwrap())
    })
}

fn headers() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    const NAMES: &[&str] = &[
        "host",
        "user-agent",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "traceparent",
        "tracestate",
        "baggage",
        "referer",
        "x-real-ip",
        "accept",
        "x.y",
        "x*",
        "content-length",
    ];
    const VALUES: &[&str] = &[
        "",
        "h:99999",
        "[::1",
        "for=\"[::1]:80\";proto=https;host=h",
        ",,,",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "es=s:0.5",
        "es=s:1,a=b",
    ];
    let value = prop_oneof![
        select(VALUES).prop_map(HeaderValue::from_static),
        vec(any::<u8>(), 0..40).prop_filter_map("a header's value", |bytes| HeaderValue::from_bytes(&bytes).ok()),
        (0x80_u8..=0xff).prop_map(|byte| HeaderValue::from_bytes(&[byte].repeat(3_000)).unwrap()),
    ];
    vec((select(NAMES).prop_map(HeaderName::from_static), value), 0..8)
}

fn work() -> impl Strategy<Value = Work> {
    let outcomes = select(&[Outcome::Success, Outcome::Failure, Outcome::Unknown][..]);
    let user = option::of([text(), text(), text(), text()]);
    let details = || (vec((text(), label()), 0..3), vec((text(), anything()), 0..2), option::of(text()));
    let errors = vec((failure(), details()), 0..3);
    let custom = vec((text(), anything()), 0..4);
    (option::of(text()), option::of(text()), option::of(outcomes), user, labels(), custom, vec(doing(), 0..4), errors)
        .prop_map(|(name, result, outcome, user, labels, custom, spans, errors)| Work {
            name,
            result,
            outcome,
            user,
            labels,
            custom,
            spans,
            errors: errors
                .into_iter()
                .map(|(failure, (labels, custom, template))| (failure, labels, custom, template))
                .collect(),
        })
}

fn failure() -> impl Strategy<Value = Failure> {
    let depth = prop_oneof![9 => 1_usize..4, 1 => Just(40)];
    (vec(text(), 3), depth).prop_map(|(messages, depth)| {
        let message = |at: usize| messages[at % messages.len()].clone();
        let first = Failure { message: message(0), cause: None };
        (1..depth).fold(first, |cause, at| Failure { message: message(at), cause: Some(Box::new(cause)) })
    })
}

fn doing() -> impl Strategy<Value = Doing> {
    let kinds =
        select(vec![SpanKind::Client, SpanKind::Server, SpanKind::Producer, SpanKind::Consumer, SpanKind::Internal]);
    let status = prop_oneof![Just(Status::Unset), Just(Status::Ok), text().prop_map(Status::error)];
    let one = (
        text(),
        kinds,
        attributes(),
        option::weighted(0.3, (time(), time())),
        0_usize..200,
        status,
        option::weighted(0.2, text()),
    );
    let one = one.prop_map(|(name, kind, attributes, times, links, status, failure)| {
        let links = links.saturating_sub(150);
        Doing { name, kind, attributes, times, links, status, failure, within: None }
    });
    vec(one, 1..4).prop_map(|doings| {
        let mut doings = doings.into_iter();
        let innermost = doings.next().expect("there is one");
        doings.fold(innermost, |within, doing| Doing { within: Some(Box::new(within)), ..doing })
    })
}

fn time() -> impl Strategy<Value = SystemTime> {
    let seconds = prop_oneof![Just(0), Just(1), 0_u64..4_000_000_000, Just(253_402_300_800), Just(9_000_000_000_000)];
    (seconds, any::<bool>()).prop_map(|(seconds, after)| {
        let (epoch, distance) = (SystemTime::UNIX_EPOCH, Duration::from_secs(seconds));
        if after { epoch + distance } else { epoch - distance.min(Duration::from_secs(4_000_000_000)) }
    })
}

/// Attributes that the agent maps to fields, with values of any type.
fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    const KEYS: &[&str] = &[
        "db.system",
        "db.system.name",
        "db.name",
        "db.namespace",
        "db.statement",
        "db.query.text",
        "db.user",
        "http.request.method",
        "http.method",
        "http.url",
        "url.full",
        "http.response.status_code",
        "http.status_code",
        "server.address",
        "server.port",
        "net.peer.name",
        "net.peer.port",
        "peer.service",
        "rpc.system",
        "rpc.service",
        "messaging.system",
        "messaging.destination.name",
        "messaging.operation",
        "code.namespace",
        "exception.message",
        "url.query",
        "enduser.id",
    ];
    let key = prop_oneof![3 => select(KEYS).prop_map(str::to_owned), 1 => text()];
    let value = prop_oneof![
        text().prop_map(opentelemetry::Value::from),
        select(
            &["postgresql", "redis", "kafka", "grpc", "https://u:p@h:1/?token=x", "h", "SELECT a FROM b", "GET"][..]
        )
        .prop_map(opentelemetry::Value::from),
        integer().prop_map(opentelemetry::Value::from),
        float().prop_map(opentelemetry::Value::from),
        any::<bool>().prop_map(opentelemetry::Value::from),
        vec(float(), 0..4).prop_map(|list| opentelemetry::Value::Array(list.into())),
        vec(text(), 0..4).prop_map(|list| {
            opentelemetry::Value::Array(
                list.into_iter().map(Into::into).collect::<Vec<opentelemetry::StringValue>>().into(),
            )
        }),
    ];
    vec((key, value).prop_map(|(key, value)| KeyValue::new(key, value)), 0..8)
}

impl Traffic {
    pub(crate) async fn run(&self, agent: &Agent) {
        for (frame, work) in &self.0 {
            match frame {
                Frame::Background { name, kind } => {
                    agent.start_transaction(name.clone(), kind.clone()).run(async { work.record() }).await;
                }
                Frame::Request(call) => call.make(agent, work).await,
            }
        }
    }
}

impl Call {
    async fn make(&self, agent: &Agent, work: &Work) {
        let handler = service_fn(|request: Request<Full<Bytes>>| async {
            let _ = request.into_body().collect().await;
            work.record();
            let mut response = Response::new(Full::new(Bytes::from_static(b"done")));
            *response.status_mut() = self.status.try_into().unwrap();
            extend(response.headers_mut(), &self.answer);
            Ok::<_, Infallible>(match &self.error {
                Some(failure) => response.with_error(failure.clone()),
                None => response,
            })
        });
        let mut request = Request::new(Full::new(Bytes::from(self.body.clone())));
        (*request.method_mut(), *request.uri_mut()) = (self.method.clone(), self.uri.clone());
        extend(request.headers_mut(), &self.headers);
        let response = agent.layer().layer(handler).oneshot(request).await.unwrap();
        let _ = response.into_body().collect().await;
    }
}

fn extend(headers: &mut HeaderMap, with: &[(HeaderName, HeaderValue)]) {
    for (name, value) in with {
        headers.append(name, value.clone());
    }
}

impl Work {
    fn record(&self) {
        let tx = Transaction::current();
        self.spans.iter().for_each(Doing::record);
        for (key, value) in &self.labels {
            tx.set_label(key.clone(), value.clone());
        }
        for (key, value) in &self.custom {
            tx.set_custom_context(key.clone(), value);
        }
        if let Some([id, email, name, domain]) = &self.user {
            tx.set_user(User::id(id).email(email).name(name).domain(domain));
        }
        if let Some(name) = &self.name {
            tx.set_name(name.clone());
        }
        if let Some(result) = &self.result {
            tx.set_result(result.clone());
        }
        if let Some(outcome) = self.outcome {
            tx.set_outcome(outcome);
        }
        for (failure, labels, custom, template) in &self.errors {
            let error = tx.error(failure);
            let error = labels.iter().fold(error, |error, (key, value)| error.label(key.clone(), value.clone()));
            let error = custom.iter().fold(error, |error, (key, value)| error.custom(key.clone(), value));
            match template {
                Some(template) => error.message_template(template.clone()).capture(),
                None => error.capture(),
            }
        }
    }
}

impl Doing {
    fn record(&self) {
        let tracer = global::tracer("properties");
        let mut builder = SpanBuilder::from_name(self.name.clone());
        builder = builder.with_kind(self.kind.clone()).with_attributes(self.attributes.clone());
        if let Some((start, _)) = self.times {
            builder = builder.with_start_time(start);
        }
        let linked = |number: usize| {
            let (trace, span) = (TraceId::from(number as u128 + 1), SpanId::from(number as u64 + 1));
            SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
        };
        let links = (0..self.links).map(|number| Link::new(linked(number), Vec::new(), 0));
        let span = tracer.build_with_context(builder.with_links(links.collect()), &Context::current());
        let context = Context::current_with_span(span);
        let _active = context.clone().attach();
        if let Some(within) = &self.within {
            within.record();
        }
        let span = context.span();
        if let Some(message) = &self.failure {
            span.record_error(&Failure { message: message.clone(), cause: None });
        }
        span.set_status(self.status.clone());
        match self.times {
            Some((_, end)) => span.end_with_timestamp(end),
            None => span.end(),
        }
    }
}
