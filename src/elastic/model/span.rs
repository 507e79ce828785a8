//! `span`

use std::borrow::Cow;

use super::{
    context::{Headers, Message, Service},
    model,
    stacktrace::Frame,
    transaction::{Link, Otel},
    value::Tags,
};
use crate::{
    record::{SpanId, TraceId},
    semconv::Text,
};

model! {
    struct Span<'a> {
        id: SpanId,
        trace_id: TraceId,
        parent_id: SpanId,
        transaction_id: Option<SpanId>,
        name: Text<'a>,
        r#type: &'a str,
        subtype: Option<Cow<'a, str>>,
        action: Option<Cow<'a, str>>,
        outcome: &'static str,
        /// Microseconds since the epoch.
        timestamp: u64,
        /// Milliseconds.
        duration: f64,
        /// False puts a badge on the span: its parent went on meanwhile.
        sync: Option<bool>,
        sample_rate: Option<f64>,
        child_ids: Vec<SpanId>,
        composite: Option<Composite>,
        links: Vec<Link>,
        otel: Option<Otel<'a>>,
        stacktrace: Vec<Frame<'a>>,
        context: Option<Box<SpanContext<'a>>>,
    }

    struct Composite {
        /// `exact_match` or `same_kind`.
        compression_strategy: &'static str,
        count: u64,
        /// Milliseconds.
        sum: f64,
    }

    #[derive(Default)]
    struct SpanContext<'a> {
        destination: Option<Destination<'a>>,
        service: Option<Service<'a>>,
        db: Option<Db<'a>>,
        http: Option<Http<'a>>,
        message: Option<Message<'a>>,
        tags: Tags<'a>,
    }

    #[derive(Default)]
    struct Destination<'a> {
        address: Option<Cow<'a, str>>,
        port: Option<u32>,
        service: Option<DestinationService<'a>>,
    }

    struct DestinationService<'a> {
        /// Deprecated, and required by servers before 7.14.
        name: &'static str,
        r#type: &'static str,
        resource: Text<'a>,
    }

    #[derive(Default)]
    struct Db<'a> {
        r#type: Option<Cow<'a, str>>,
        instance: Option<Cow<'a, str>>,
        statement: Option<Cow<'a, str>>,
        user: Option<Cow<'a, str>>,
        link: Option<Cow<'a, str>>,
        rows_affected: Option<i64>,
    }

    #[derive(Default)]
    struct Http<'a> {
        url: Option<Text<'a>>,
        method: Option<Cow<'a, str>>,
        request: Option<HttpRequest<'a>>,
        response: Option<HttpResponse<'a>>,
    }

    struct HttpRequest<'a> {
        id: Option<&'a str>,
        body: Option<&'a str>,
    }

    #[derive(Default)]
    struct HttpResponse<'a> {
        status_code: Option<i64>,
        headers: Headers<'a>,
        transfer_size: Option<u64>,
        encoded_body_size: Option<u64>,
        decoded_body_size: Option<u64>,
    }
}
