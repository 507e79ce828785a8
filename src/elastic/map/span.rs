//! A span: type, subtype, action and the other side follow from OpenTelemetry's semantic conventions.

use std::borrow::Cow;

use super::{
    error::frame,
    labels::{self, is_shown},
    transaction::{links, milliseconds, otel},
};
use crate::{
    elastic::model::{
        Composite, Db, Destination, DestinationService, Http, HttpResponse, Message, Queue, Service, ServiceTarget,
        Span, SpanContext,
    },
    record::{CompressionStrategy, STACKTRACE, SpanRecord, Stack},
    sanitize::Sanitizer,
    semconv::{
        Attributes, Language, Operation, SpanFacts, Target, Text, authority, free_keyword, free_text, host_text,
        joined, keyword, long, map_text, scheme,
    },
    stack::{self, Frame},
};

/// The frames of the stack that the span came with, or of the place where it ended. Of the latter only such as lead
/// into the application: all others have the same.
pub(crate) fn frames(record: &mut SpanRecord, limit: usize) -> Vec<Frame> {
    let told = record.attributes.iter().find(|attribute| attribute.key.as_str() == STACKTRACE);
    if let Some(told) = told {
        return stack::resolve(Stack::Text(told.value.as_str().into()), limit);
    }
    let frames = stack::resolve(std::mem::take(&mut record.stack), limit);
    if frames.iter().all(|frame| frame.library) { Vec::new() } else { frames }
}

/// `frames` are those of the record's stack, which the caller has resolved.
pub(crate) fn span<'a>(record: &'a SpanRecord, frames: &'a [Frame], sanitizer: &Sanitizer) -> Span<'a> {
    let facts = SpanFacts::of(record, sanitizer);
    let attributes = &facts.attributes;
    let outcome = facts.outcome();

    let mut context =
        SpanContext { db: db(&facts, sanitizer), message: message(&facts, sanitizer), ..SpanContext::default() };
    let (host, port) = facts.peer();
    if facts.is_http {
        context.http = Some(Http {
            url: http_url(attributes, sanitizer),
            method: attributes.http_method().map(|method| free_keyword(method, sanitizer)),
            response: attributes
                .status()
                .map(|code| HttpResponse { status_code: Some(code), ..HttpResponse::default() }),
            ..Http::default()
        });
    }
    if facts.is_exit() {
        let target = facts.target(|| (host.clone(), port));
        let resource = |target: &Target<'a>| target.resource(facts.span_type);
        let service = target.as_ref().map(resource);
        let service = service.map(|resource| DestinationService { name: "", r#type: "", resource });
        let (address, port) = (host.map(keyword), port.map(u32::from));
        if address.is_some() || port.is_some() || service.is_some() {
            context.destination = Some(Destination { address, port, service });
        }
        let target = target.map(|Target { kind, name }| ServiceTarget { r#type: kind, name });
        context.service = target.map(|target| Service { target: Some(target), ..Service::default() });
    }
    let fields = attributes.unmapped().filter(|attribute| is_shown(attribute.key.as_str(), sanitizer));
    fields.for_each(|attribute| labels::set_attribute(&mut context.tags, attribute, sanitizer));

    let name = match record.composite.map(|composite| composite.strategy) {
        Some(CompressionStrategy::SameKind) => calls_to(context.service.as_ref()),
        _ => None,
    };
    Span {
        id: record.id,
        trace_id: record.trace_id,
        parent_id: record.parent_id,
        transaction_id: record.transaction_id,
        name: name.unwrap_or_else(|| facts.name()),
        r#type: facts.span_type,
        action: facts.action(),
        subtype: facts.subtype,
        outcome: outcome.as_str(),
        timestamp: record.timestamp,
        duration: milliseconds(record.duration),
        // as the spans of other agents' database and HTTP calls have it; only `false` is shown
        sync: Some(true),
        sample_rate: record.sample_rate,
        child_ids: Vec::new(),
        composite: record.composite.map(|composite| Composite {
            compression_strategy: composite.strategy.as_str(),
            count: composite.count.into(),
            sum: milliseconds(composite.sum),
        }),
        links: links(&record.links),
        otel: otel(&record.kind, outcome),
        stacktrace: frames.iter().map(frame).collect(),
        context: Some(Box::new(context)),
    }
}

/// The name of a span that stands for several of different names.
fn calls_to<'a>(service: Option<&Service<'a>>) -> Option<Text<'a>> {
    let target = service?.target.as_ref()?;
    let none = Cow::Borrowed("");
    let (kind, name) = (target.r#type.clone(), target.name.clone());
    let slash = if kind.is_some() && name.is_some() { "/" } else { "" };
    let calls = Cow::Borrowed("Calls to ");
    Some(match (kind, name) {
        (None, None) => Text::One("Calls to unknown".into()),
        (kind, name) => {
            let (kind, name) = (kind.unwrap_or_default(), name.unwrap_or_default());
            joined([calls, kind, slash.into(), name, none.clone(), none])
        }
    })
}

fn db<'a>(facts: &SpanFacts<'a, '_>, sanitizer: &Sanitizer) -> Option<Db<'a>> {
    let Operation::Database { language, instance } = &facts.operation else { return None };
    let attributes = &facts.attributes;
    let is_sql = matches!(language, Language::Sql | Language::SqlLike);
    Some(Db {
        r#type: if *language == Language::Sql { Some("sql".into()) } else { facts.subtype.clone() },
        instance: instance.clone(),
        // commands contain values
        statement: attributes.db_statement().filter(|_| *language != Language::Commands).map(
            |statement| match is_sql {
                // literals of SQL are not redacted
                true => long(map_text(statement, |statement| sanitizer.urls_in(statement)), sanitizer),
                false => free_text(statement, sanitizer),
            },
        ),
        user: attributes.db_user().map(|user| free_keyword(user, sanitizer)),
        rows_affected: attributes.rows_affected(),
        ..Db::default()
    })
}

fn message<'a>(facts: &SpanFacts<'a, '_>, sanitizer: &Sanitizer) -> Option<Message<'a>> {
    let Operation::Messaging { queue } = &facts.operation else { return None };
    let routing_key = facts.attributes.messaging_routing_key().map(|key| free_keyword(key, sanitizer));
    Some(Message { queue: queue.clone().map(|name| Queue { name }), routing_key, ..Message::default() })
}

fn http_url<'a>(attributes: &Attributes<'a>, sanitizer: &Sanitizer) -> Option<Text<'a>> {
    if let Some(url) = attributes.http_url() {
        return Some(Text::One(keyword(map_text(url, |url| sanitizer.text(url)))));
    }
    let host = attributes.http_host().or_else(|| attributes.peer().map(|peer| authority(peer, attributes.port())))?;
    let host = host_text(host, sanitizer);
    let query = attributes.http_query().map(|query| map_text(query, |query| sanitizer.query(query)));
    let path = attributes.http_path().unwrap_or_default();
    let path = match path.split_once('?') {
        Some((path, query)) => Cow::Owned(format!("{}?{}", sanitizer.path(path), sanitizer.query(query))),
        None => map_text(path, |path| sanitizer.path(path)),
    };
    let mark = if query.is_some() { "?" } else { "" };
    let scheme = map_text(scheme(attributes), |scheme| sanitizer.text(scheme));
    Some(joined([scheme, "://".into(), host, path, mark.into(), query.unwrap_or_default()]))
}
