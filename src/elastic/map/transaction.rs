//! A transaction.

use std::{borrow::Cow, time::Duration};

use opentelemetry::trace::SpanKind;

use super::{context::context, message::message, otel_transaction};
use crate::{
    elastic::model::{DroppedDuration, DroppedSpanStats, DroppedSum, Link, Marks, Otel, SpanCount, Transaction, User},
    record::{self, DroppedSpans, HttpRequest, Name, Outcome, TransactionRecord},
    sanitize::Sanitizer,
    semconv::{Attributes, Text, free_keyword, joined, map_text, name_keyword, short_keyword},
};

pub(crate) fn transaction<'a>(record: &'a TransactionRecord, sanitizer: &Sanitizer) -> Transaction<'a> {
    let mut context = context(&record.context, sanitizer);
    context.message = record.message.as_deref().and_then(|received| message(received, sanitizer));
    if let Some(otel) = &record.otel {
        let attributes = Attributes::of(&otel.attributes);
        context.user = with_attributes(context.user.take(), &attributes, sanitizer);
        otel_transaction::add(&mut context, &attributes, sanitizer);
    }
    Transaction {
        id: record.id,
        trace_id: record.trace_id,
        parent_id: record.parent_id,
        name: name(&record.name, record.context.request.as_ref(), sanitizer),
        r#type: kind(&record.kind, sanitizer),
        result: result(record, sanitizer),
        outcome: record.outcome.as_str(),
        timestamp: record.timestamp,
        duration: milliseconds(record.duration),
        sampled: record.sampled,
        sample_rate: record.sample_rate,
        span_count: SpanCount {
            started: record.spans.started,
            dropped: Some(record.spans.dropped).filter(|dropped| *dropped > 0),
        },
        dropped_spans_stats: record
            .dropped_spans
            .iter()
            .filter(|_| record.sampled)
            .map(|dropped| dropped_spans(dropped, sanitizer))
            .collect(),
        links: links(&record.links),
        session: None,
        otel: record.otel.as_ref().and_then(|part| otel(&part.kind, record.outcome)),
        faas: None,
        marks: record.time_to_head.map(|time| Marks::time_to_first_byte(milliseconds(time))),
        context: record.sampled.then_some(context),
    }
}

fn dropped_spans<'a>(dropped: &'a DroppedSpans, sanitizer: &Sanitizer) -> DroppedSpanStats<'a> {
    let short = |text: &'a str| short_keyword(map_text(text.into(), |text| sanitizer.text(text)));
    DroppedSpanStats {
        destination_service_resource: free_keyword(&*dropped.target.resource, sanitizer),
        service_target_type: dropped.target.kind.as_deref().map(short),
        service_target_name: dropped.target.name.as_deref().map(short),
        outcome: dropped.outcome.as_str(),
        duration: DroppedDuration {
            count: dropped.count,
            sum: DroppedSum { us: u64::try_from(dropped.sum.as_micros()).unwrap_or(u64::MAX) },
        },
    }
}

/// The handle's user stands; attributes fill what it leaves open.
fn with_attributes<'a>(user: Option<User<'a>>, attributes: &Attributes<'a>, sanitizer: &Sanitizer) -> Option<User<'a>> {
    let (id, email, name) = (attributes.user_id(), attributes.user_email(), attributes.user_name());
    if id.is_none() && email.is_none() && name.is_none() {
        return user;
    }
    let free = |text| free_keyword(text, sanitizer);
    let mut user = user.unwrap_or_default();
    user.id = user.id.or_else(|| id.map(free));
    user.email = user.email.or_else(|| email.map(free));
    user.username = user.username.or_else(|| name.map(free));
    Some(user)
}

/// `METHOD route`, written only when the event is.
pub(super) fn name<'a>(name: &'a Name, request: Option<&'a HttpRequest>, sanitizer: &Sanitizer) -> Text<'a> {
    let none = Cow::Borrowed("");
    match (name, request) {
        (Name::Route, Some(request)) => {
            let method = record::known_method(&request.method).into();
            let route = request.text.route().unwrap_or("unknown route").into();
            joined([method, " ".into(), route, none.clone(), none.clone(), none])
        }
        (Name::Text(text), _) if !text.is_empty() => Text::One(name_keyword(&**text, sanitizer)),
        _ => Text::One("unnamed".into()),
    }
}

pub(super) fn kind<'a>(kind: &'a str, sanitizer: &Sanitizer) -> Cow<'a, str> {
    free_keyword(if kind.is_empty() { "custom" } else { kind }, sanitizer)
}

fn result<'a>(record: &'a TransactionRecord, sanitizer: &Sanitizer) -> Option<Cow<'a, str>> {
    match record.result.as_deref() {
        Some(result) => Some(free_keyword(result, sanitizer)),
        None => record::http_result(record.context.response.as_ref()?.status).map(Cow::Borrowed),
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

pub(super) fn links(links: &[record::Link]) -> Vec<Link> {
    links.iter().map(|link| Link { trace_id: link.trace_id, span_id: link.span_id }).collect()
}

/// None where the outcome is unknown: the server would make a success of it, as it does for OTLP.
pub(super) fn otel<'a>(kind: &SpanKind, outcome: Outcome) -> Option<Otel<'a>> {
    let span_kind = match kind {
        SpanKind::Client => "CLIENT",
        SpanKind::Server => "SERVER",
        SpanKind::Producer => "PRODUCER",
        SpanKind::Consumer => "CONSUMER",
        SpanKind::Internal => "INTERNAL",
    };
    (outcome != Outcome::Unknown).then(|| Otel { span_kind: Some(span_kind), ..Otel::default() })
}
