//! What happened, as plain data: the hinge between the half that watches requests and the half that tells the server.
//!
//! Nothing here knows a protocol or a thread. A record owns copied text in few buffers: a kept `Uri` or
//! `HeaderValue` would pin the connection's read buffer.

mod bridge;
mod clock;
mod contained;
mod context;
mod current_context;
mod debug_name;
mod dropped;
mod error;
mod exception;
mod grpc;
mod headers;
mod http;
mod ids;
mod log;
mod message;
mod metric;
mod random;
mod report;
mod resource;
mod short_text;
mod span;
mod span_user;
mod statement_key;
mod transaction;

pub(crate) use self::{
    bridge::{http_result, integer},
    clock::{Monotonic, follow_wall_clock, micros},
    contained::{catch, is_contained, is_nested},
    context::{Context, Custom, Label, MAX_CUSTOM_DEPTH, MAX_LABELS, boundary, cut},
    current_context::{
        Attached, attach, current_context, current_with_span, is_context_known, is_probing_context, is_thread_ending,
        map_current_context, note_entered_span,
    },
    debug_name::is_debug_of,
    dropped::{Composite, CompressionStrategy, DroppedSpans, ExitSpan, ServiceTarget, count_dropped},
    error::{ErrorOrigin, ErrorParent, ErrorRecord, Exception, LogMessage, SourceLocation, Stack, UnformattedError},
    exception::bounded,
    grpc::{GrpcStatus, is_grpc},
    headers::{Headers, names_origin},
    http::{Body, HttpRequest, HttpResponse, RequestText, text_type},
    log::{LogPlace, LogRecord},
    message::{Message, MessageHeaders, text_prefix},
    metric::{Breakdown, MetricsRecord, Sample, SelfTime, SelfTimes, SpanType},
    random::random_u64,
    resource::{Cloud, CloudPart, Kubernetes, Resource},
    short_text::ShortText,
    span::{Link, MAX_ATTRIBUTES, OUTCOME, ROWS_AFFECTED, STACKTRACE, SpanRecord, is_call, set_attribute},
    span_user::is_user_attribute,
    statement_key::StatementKey,
    transaction::{MAX_TRANSACTION_LINKS, Name, OtelPart, SpanCount, TransactionRecord, known_method},
};
pub use self::{
    context::{LabelValue, User},
    ids::{SpanId, TraceId},
    transaction::Outcome,
};

/// Bytes of a request as text; what is no UTF-8 is replaced. Nearly all is ASCII, for which this is the fast way.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), std::borrow::Cow::Borrowed)
}

/// Anything that waits in the queue. Boxed, so that a place in the queue is two words.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Transaction(Box<TransactionRecord>),
    Span(Box<SpanRecord>),
    Error(Box<ErrorRecord>),
    Metrics(Box<MetricsRecord>),
    Log(Box<LogRecord>),
}

/// What an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Transaction,
    Span,
    Error,
    Metricset,
    Log,
}

impl EventKind {
    /// In the order in which they are declared.
    pub(crate) const ALL: [Self; 5] = [Self::Transaction, Self::Span, Self::Error, Self::Metricset, Self::Log];

    /// The word that the intake protocol has for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Span => "span",
            Self::Error => "error",
            Self::Metricset => "metricset",
            Self::Log => "log",
        }
    }
}

impl Event {
    pub(crate) fn kind(&self) -> EventKind {
        match self {
            Event::Transaction(_) => EventKind::Transaction,
            Event::Span(_) => EventKind::Span,
            Event::Error(_) => EventKind::Error,
            Event::Metrics(_) => EventKind::Metricset,
            Event::Log(_) => EventKind::Log,
        }
    }

    /// Roughly the bytes of memory that this event holds, for the queue's bound. Constant while the event is queued.
    pub(crate) fn size(&self) -> usize {
        match self {
            Event::Transaction(record) => size_of::<TransactionRecord>() + record.heap_size(),
            Event::Span(record) => size_of::<SpanRecord>() + record.heap_size(),
            Event::Error(record) => size_of::<ErrorRecord>() + record.heap_size(),
            Event::Metrics(record) => size_of::<MetricsRecord>() + record.heap_size(),
            Event::Log(record) => size_of::<LogRecord>() + record.heap_size(),
        }
    }
}
