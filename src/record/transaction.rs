//! A transaction: one unit of work of the service, usually a request.

use std::{borrow::Cow, time::Duration};

use http::Method;
use opentelemetry::{KeyValue, trace::SpanKind};

use super::{Context, DroppedSpans, Link, Message, SelfTime, SelfTimes, SpanId, TraceId};

/// The outcome of a transaction. Elastic computes the failure rate as `failure / (failure + success)`, without `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Outcome {
    /// The work succeeded.
    Success,
    /// The work failed.
    Failure,
    /// The outcome is not known, for example because the work was cancelled.
    #[default]
    Unknown,
}

impl Outcome {
    /// Returns the outcome that has this name in the intake protocol.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Outcome::Success, Outcome::Failure, Outcome::Unknown].into_iter().find(|outcome| outcome.as_str() == name)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unknown => "unknown",
        }
    }
}

/// Links that one transaction keeps: a batch of messages has as many (agent-spec 6.7). They are 80 KiB of its line.
pub(crate) const MAX_TRANSACTION_LINKS: usize = 1000;

/// One finished transaction.
#[derive(Debug, Clone)]
pub(crate) struct TransactionRecord {
    pub(crate) trace_id: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent_id: Option<SpanId>,
    pub(crate) sampled: bool,
    /// None where the trace came in without Elastic's `es=s` entry: the server must not guess a weight then.
    pub(crate) sample_rate: Option<f64>,
    /// Start, microseconds since the epoch.
    pub(crate) timestamp: u64,
    pub(crate) duration: Duration,
    /// From the start to the response head, where a body followed it.
    pub(crate) time_to_head: Option<Duration>,
    /// `request`, `messaging`, `scheduled`, …
    pub(crate) kind: Cow<'static, str>,
    pub(crate) name: Name,
    /// Set by user code or by work that is not HTTP; an HTTP result comes from the status.
    pub(crate) result: Option<Cow<'static, str>>,
    pub(crate) outcome: Outcome,
    pub(crate) spans: SpanCount,
    pub(crate) dropped_spans: Vec<DroppedSpans>,
    /// Its time counts in the breakdown: by `breakdown_metrics` and `metrics_interval`, as they held when it began.
    pub(crate) timed: bool,
    /// Where its time went; empty where all of it is its own.
    pub(crate) self_times: SelfTimes,
    pub(crate) links: Vec<Link>,
    /// What user code set on OpenTelemetry's current span while it was this transaction.
    pub(crate) otel: Option<Box<OtelPart>>,
    /// The message that a consumer processes. Errors do not repeat it: the server has no place for it there.
    pub(crate) message: Option<Box<Message>>,
    pub(crate) context: Context,
}

impl TransactionRecord {
    /// As it begins, `timestamp` in microseconds since the epoch: sampled, the root of its trace, and nothing told of it.
    #[inline]
    pub(crate) fn new(trace_id: TraceId, id: SpanId, kind: Cow<'static, str>, name: Name, timestamp: u64) -> Self {
        Self {
            trace_id,
            id,
            parent_id: None,
            sampled: true,
            sample_rate: None,
            timestamp,
            duration: Duration::ZERO,
            time_to_head: None,
            kind,
            name,
            result: None,
            outcome: Outcome::Unknown,
            spans: SpanCount::default(),
            dropped_spans: Vec::new(),
            timed: false,
            self_times: SelfTimes::new(),
            links: Vec::new(),
            otel: None,
            message: None,
            context: Context::default(),
        }
    }

    /// Returns the OpenTelemetry span kind of this transaction. `otherwise` is the kind of all transactions except
    /// messages.
    pub(crate) fn span_kind(&self, otherwise: SpanKind) -> SpanKind {
        if self.kind == "messaging" { SpanKind::Consumer } else { otherwise }
    }

    /// False: there is no room for it.
    pub(crate) fn add_link(&mut self, link: Link) -> bool {
        let room = self.links.len() < MAX_TRANSACTION_LINKS;
        if room {
            self.links.push(link);
        }
        room
    }
}

/// The name, put together on the worker where it can be.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    /// `METHOD route`, both out of `context.request`; `METHOD unknown route` where the request has no route.
    Route,
    /// From a layer that knew better, or from the user.
    Text(Cow<'static, str>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpanCount {
    pub(crate) started: u32,
    pub(crate) dropped: u32,
}

/// What came through OpenTelemetry's API.
#[derive(Debug, Clone)]
pub(crate) struct OtelPart {
    pub(crate) kind: SpanKind,
    pub(crate) attributes: Vec<KeyValue>,
}

impl TransactionRecord {
    pub(crate) fn heap_size(&self) -> usize {
        let otel = self.otel.as_ref().map_or(0, |otel| 64 + super::span::attributes_size(&otel.attributes));
        let name = if let Name::Text(text) = &self.name { text.len() } else { 0 };
        let message = self.message.as_ref().map_or(0, |message| size_of::<Message>() + message.heap_size());
        self.context.heap_size()
            + otel
            + message
            + name
            + self.kind.len()
            + self.result.as_ref().map_or(0, |result| result.len())
            + self.dropped_spans.iter().map(DroppedSpans::size).sum::<usize>()
            + self.links.len() * size_of::<Link>()
            + if self.self_times.spilled() { self.self_times.capacity() * size_of::<SelfTime>() } else { 0 }
    }

    /// The name as Kibana groups by it.
    pub(crate) fn display_name(&self) -> Cow<'_, str> {
        self.name.resolve(self.context.request.as_ref())
    }
}

impl Name {
    pub(crate) fn resolve<'a>(&'a self, request: Option<&'a super::HttpRequest>) -> Cow<'a, str> {
        match self.parts(request) {
            [text, "", ""] => Cow::Borrowed(text),
            parts => Cow::Owned(parts.concat()),
        }
    }

    /// What makes up the name, one after the other.
    pub(crate) fn parts<'a>(&'a self, request: Option<&'a super::HttpRequest>) -> [&'a str; 3] {
        match (self, request) {
            (Name::Text(text), _) => [text, "", ""],
            (Name::Route, Some(request)) => {
                [known_method(&request.method), " ", request.text.route().unwrap_or("unknown route")]
            }
            (Name::Route, None) => ["unnamed", "", ""],
        }
    }
}

/// The methods of IANA's [registry](https://www.iana.org/assignments/http-methods), without `*`, which is reserved.
#[rustfmt::skip]
macro_rules! registered_method {
    () => {
        "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "CONNECT" | "PATCH" | "TRACE"
        | "ACL" | "BASELINE-CONTROL" | "BIND" | "CHECKIN" | "CHECKOUT" | "COPY" | "LABEL" | "LINK" | "LOCK" | "MERGE"
        | "MKACTIVITY" | "MKCALENDAR" | "MKCOL" | "MKREDIRECTREF" | "MKWORKSPACE" | "MOVE" | "ORDERPATCH" | "PRI"
        | "PROPFIND" | "PROPPATCH" | "QUERY" | "REBIND" | "REPORT" | "SEARCH" | "UNBIND" | "UNCHECKOUT" | "UNLINK"
        | "UNLOCK" | "UPDATE" | "UPDATEREDIRECTREF" | "VERSION-CONTROL"
    };
}

/// The method as part of a name. One that a client made up must not be: it becomes `OTHER`.
pub(crate) fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ registered_method!() => known,
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Body, MessageHeaders, ServiceTarget};

    fn record() -> TransactionRecord {
        TransactionRecord::new(TraceId(1), SpanId(2), "scheduled".into(), Name::Route, 0)
    }

    #[test]
    fn heap_size_includes_every_growing_field() {
        let text = || Cow::Owned::<str>("a".repeat(1000));
        let target =
            ServiceTarget { kind: Some("a".repeat(1000)), name: Some("a".repeat(1000)), resource: "a".repeat(1000) };
        let dropped = DroppedSpans { target, outcome: Outcome::Success, count: 1, sum: Duration::from_secs(1) };
        let bare = record().heap_size();
        for grown in [
            TransactionRecord { name: Name::Text(text()), ..record() },
            TransactionRecord { kind: ("scheduled".to_owned() + &text()).into(), ..record() },
            TransactionRecord { result: Some(text()), ..record() },
        ] {
            assert_eq!(grown.heap_size(), bare + 1000, "{grown:?}");
        }
        let record = TransactionRecord { dropped_spans: vec![dropped], ..record() };
        assert!(record.heap_size() >= bare + 3000 + size_of::<DroppedSpans>());

        let mut headers = MessageHeaders::default();
        headers.push("a", &[b'a'; 1000]);
        let body = Body { bytes: vec![0; 1000], content_type: String::new(), truncated: false };
        let message = Message {
            queue: "a".repeat(1000),
            routing_key: Some("a".repeat(1000)),
            age: None,
            headers: Some(headers),
            body: Some(body),
        };
        let record = TransactionRecord { message: Some(Box::new(message)), ..self::record() };
        assert!(record.heap_size() >= bare + 4000 + size_of::<Message>());
    }

    // spec: tracing-instrumentation-messaging.md, span-links.md
    #[test]
    fn transaction_keeps_the_links_of_a_large_batch() {
        let mut record = record();
        let link = Link { trace_id: TraceId(1), span_id: SpanId(2) };
        assert!((0..1000).all(|_| record.add_link(link)));
        assert!(!record.add_link(link));
        assert_eq!(record.links.len(), 1000);
    }

    #[test]
    fn made_up_methods_share_one_name() {
        assert_eq!(known_method(&Method::GET), "GET");
        for made_up in ["MINT", "get", "PROPFINDER", "*"] {
            assert_eq!(known_method(&Method::from_bytes(made_up.as_bytes()).unwrap()), "OTHER", "{made_up}");
        }
    }

    #[test]
    fn registered_methods_are_part_of_the_name() {
        let registered = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE \
            MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND \
            PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF \
            VERSION-CONTROL";
        for method in registered.split_whitespace() {
            assert_eq!(known_method(&Method::from_bytes(method.as_bytes()).unwrap()), method);
        }
    }
}
