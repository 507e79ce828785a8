//! A span: type, subtype, action and the other side follow from OpenTelemetry's semantic conventions.

use std::{borrow::Cow, sync::LazyLock};

use opentelemetry::trace::{SpanKind, Status};

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
    record::{Call, CallTarget, CompressionStrategy, Outcome, STACKTRACE, SpanRecord, SpanType, Stack, is_call},
    sanitize::Sanitizer,
    semconv::{
        Attributes, Callee, Language, Target, Text, authority, default_port, free_keyword, free_text, host_and_port,
        joined, keyword, language, long, map_text, name_keyword, signature, span_type, split_port, without_userinfo,
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
    let attributes = Attributes::of(&record.attributes);
    let exit = is_call(&record.kind);
    let is_http = attributes.is_http_call(&record.kind);
    let shape = shape(record, &attributes, is_http, sanitizer);
    let outcome = outcome(record, &attributes, is_http);

    let mut context = SpanContext { db: shape.db, message: shape.message, ..SpanContext::default() };
    let (host, port) = peer(&attributes, is_http);
    let host = host.map(|host| host_text(host, sanitizer));
    if is_http {
        context.http = Some(Http {
            url: http_url(&attributes, sanitizer),
            method: attributes.http_method().map(|method| free_keyword(method, sanitizer)),
            response: attributes
                .status()
                .map(|code| HttpResponse { status_code: Some(code), ..HttpResponse::default() }),
            ..Http::default()
        });
    }
    if exit && !record.within_call {
        let address = match (is_http, attributes.http_host()) {
            (true, Some(host)) => Some(with_port(host_text(host, sanitizer), &attributes)),
            _ => host.clone().map(|host| authority(host, port)),
        };
        let rpc = shape.rpc.then(|| attributes.rpc_service()).flatten();
        let rpc = rpc.map(|service| free_keyword(service, sanitizer));
        let callee = Callee {
            kind: shape.kind,
            subtype: shape.subtype.clone(),
            db: context.db.as_ref().map(|db| db.instance.clone()),
            queue: context.message.as_ref().map(|message| match attributes.is_temporary_queue() {
                true => None,
                false => message.queue.as_ref().map(|queue| queue.name.clone()),
            }),
            address: (is_http || shape.rpc).then_some(address).flatten().or(rpc),
            name: attributes.peer_service().map(|name| free_keyword(name, sanitizer)),
            explicit: attributes.explicit_target().map(|text| text.map(|text| free_keyword(text, sanitizer))),
        };
        let target = callee.target();
        let resource = |target: &Target<'a>| target.resource(shape.kind);
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
        name: name.unwrap_or(shape.name),
        r#type: shape.kind,
        subtype: shape.subtype,
        action: shape.action,
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

/// What a span will be, for those who decide whether it is sent. None for one that calls nobody.
pub(crate) fn describe(record: &SpanRecord) -> Option<Call> {
    // it runs on the request's thread, and what it returns is redacted where it is sent
    static SANITIZER: LazyLock<Sanitizer> = LazyLock::new(Sanitizer::off);
    let span = span(record, &[], &SANITIZER);
    let context = span.context?;
    let resource = context.destination?.service?.resource.to_string();
    let target = context.service?.target?;
    let target =
        CallTarget { kind: target.r#type.map(Cow::into_owned), name: target.name.map(Cow::into_owned), resource };
    let outcome = [Outcome::Success, Outcome::Failure].into_iter().find(|outcome| outcome.as_str() == span.outcome);
    Some(Call {
        name: span.name.to_string(),
        kind: span.r#type.to_owned(),
        subtype: span.subtype.map(Cow::into_owned),
        target,
        outcome: outcome.unwrap_or_default(),
    })
}

/// What kind of span it is, and what that kind tells.
struct Shape<'a> {
    kind: &'static str,
    subtype: Option<Cow<'a, str>>,
    action: Option<Cow<'a, str>>,
    name: Text<'a>,
    db: Option<Db<'a>>,
    message: Option<Message<'a>>,
    rpc: bool,
}

fn shape<'a>(record: &'a SpanRecord, attributes: &Attributes<'a>, is_http: bool, sanitizer: &Sanitizer) -> Shape<'a> {
    let name = Text::One(name_keyword(if record.name.is_empty() { "unnamed" } else { &*record.name }, sanitizer));
    let SpanType { kind, subtype } = match &record.span_type {
        Some(known) => known.clone(),
        None => span_type(&record.kind, &record.attributes),
    };
    let plain = Shape {
        kind,
        subtype: subtype.map(|subtype| free_keyword(subtype, sanitizer)),
        action: None,
        name,
        db: None,
        message: None,
        rpc: false,
    };
    if attributes.is_database() {
        return of_database(record, attributes, plain, sanitizer);
    }
    if attributes.messaging_system().is_some() {
        let send = || (record.kind == SpanKind::Producer).then_some(Cow::Borrowed("send"));
        let action = attributes.messaging_operation().map(|operation| match &*operation {
            "publish" | "create" => Cow::Borrowed("send"),
            "receive" => Cow::Borrowed("poll"),
            _ => operation,
        });
        let queue = attributes.messaging_destination().map(|name| Queue { name: free_keyword(name, sanitizer) });
        let routing_key = attributes.messaging_routing_key().map(|key| free_keyword(key, sanitizer));
        return Shape {
            action: action.or_else(send).map(|action| free_keyword(action, sanitizer)),
            message: Some(Message { queue, routing_key, ..Message::default() }),
            ..plain
        };
    }
    if attributes.rpc_system().is_some() {
        return Shape { rpc: true, ..plain };
    }
    if is_http {
        return Shape {
            action: attributes.http_method().map(|method| free_keyword(method, sanitizer)),
            name: http_name(record, attributes, sanitizer).unwrap_or(plain.name),
            ..plain
        };
    }
    plain
}

fn of_database<'a>(
    record: &'a SpanRecord,
    attributes: &Attributes<'a>,
    plain: Shape<'a>,
    sanitizer: &Sanitizer,
) -> Shape<'a> {
    let system = plain.subtype.clone();
    let language = system.as_deref().map_or(Language::Sql, language);
    let statement = attributes.db_statement().filter(|_| language != Language::Commands);
    let is_sql = matches!(language, Language::Sql | Language::SqlLike);
    let name = match &statement {
        Some(statement) if is_sql && is_generic(&record.name) && !attributes.is_query_summary(&record.name) => {
            match signature(statement) {
                name if name.is_empty() => system.clone().map_or(plain.name, Text::One),
                name => Text::One(keyword(name.into_owned())),
            }
        }
        None if is_sql => transaction_control(&record.name).map_or(plain.name, |name| Text::One(name.into())),
        _ => plain.name,
    };
    let action = match language {
        Language::Other { action } => action,
        _ => "query",
    };
    let r#type = if language == Language::Sql { Some("sql".into()) } else { system.clone() };
    let db = Db {
        r#type,
        instance: attributes
            .db_name()
            .filter(|_| language != Language::Commands)
            .map(|name| free_keyword(name, sanitizer)),
        statement: statement.map(|statement| match is_sql {
            // literals of SQL are not redacted
            true => long(map_text(statement, |statement| sanitizer.urls_in(statement)), sanitizer),
            false => free_text(statement, sanitizer),
        }),
        user: attributes.db_user().map(|user| free_keyword(user, sanitizer)),
        rows_affected: attributes.rows_affected(),
        ..Db::default()
    };
    Shape { action: Some(action.into()), name, db: Some(db), ..plain }
}

/// The statement that `sea_orm.begin` and the like run, which instrumentations do not tell.
fn transaction_control(name: &str) -> Option<&'static str> {
    let word = name.rsplit(['.', ':']).next()?;
    ["BEGIN", "COMMIT", "ROLLBACK"].into_iter().find(|statement| statement.eq_ignore_ascii_case(word))
}

/// One word, such as `sea_orm.query_one`, `db.execute` or `GET`, names the instrumentation and not the work.
fn is_generic(name: &str) -> bool {
    !name.trim().contains(char::is_whitespace)
}

/// `GET host:port`, the port left out where it is the scheme's own, in place of a name that says less.
fn http_name<'a>(record: &'a SpanRecord, attributes: &Attributes<'a>, sanitizer: &Sanitizer) -> Option<Text<'a>> {
    if !is_generic(&record.name) && !record.name.starts_with("HTTP ") {
        return None;
    }
    let method = map_text(attributes.http_method()?, |method| sanitizer.text(method));
    let (host, port) = peer(attributes, true);
    let host = host.map(|host| host_text(host, sanitizer));
    let scheme = scheme(attributes);
    let host = authority(host?, port.filter(|port| default_port(&scheme) != Some(*port)));
    let none = Cow::Borrowed("");
    Some(joined([method, " ".into(), host, none.clone(), none.clone(), none]))
}

fn scheme<'a>(attributes: &Attributes<'a>) -> Cow<'a, str> {
    let of_url = || match attributes.http_url()? {
        Cow::Borrowed(url) => url.split_once("://").map(|(scheme, _)| Cow::Borrowed(scheme)),
        Cow::Owned(url) => url.split_once("://").map(|(scheme, _)| Cow::Owned(scheme.to_owned())),
    };
    attributes.http_scheme().or_else(of_url).unwrap_or(Cow::Borrowed("http"))
}

/// The other side's host and port, filled in from the URL and its scheme where the request was HTTP.
fn peer<'a>(attributes: &Attributes<'a>, is_http: bool) -> (Option<Cow<'a, str>>, Option<u16>) {
    let (mut host, mut port) = (attributes.peer(), attributes.port());
    if is_http {
        if let Some(url) = attributes.http_url()
            && let Some((of_url, its_port)) = host_and_port(&url)
        {
            host = host.or_else(|| Some(Cow::Owned(of_url.to_owned())));
            port = port.or(its_port);
        }
        port = port.or_else(|| default_port(&scheme(attributes)));
    }
    (host, port)
}

/// Returns a host or an address as the instrumentation recorded it, without secrets.
fn host_text<'a>(host: Cow<'a, str>, sanitizer: &Sanitizer) -> Cow<'a, str> {
    map_text(without_userinfo(host), |host| sanitizer.text(host))
}

/// `http.host` may hold the port already.
fn with_port<'a>(host: Cow<'a, str>, attributes: &Attributes<'a>) -> Cow<'a, str> {
    match split_port(&host).1 {
        Some(_) => host,
        None => {
            let port = attributes.port().or_else(|| default_port(&scheme(attributes)));
            authority(host, port)
        }
    }
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

/// Returns the outcome that the instrumentation set, otherwise the outcome that follows from the status.
///
/// An HTTP exit span fails for status 400 and above, and an RPC for any code except 0. An exit span without an error
/// and without a status has succeeded.
fn outcome(record: &SpanRecord, attributes: &Attributes<'_>, is_http: bool) -> Outcome {
    let failed = |failed: bool| if failed { Outcome::Failure } else { Outcome::Success };
    let set = || attributes.outcome().and_then(|outcome| Outcome::from_name(&outcome));
    record.outcome.or_else(set).unwrap_or_else(|| match &record.status {
        Status::Ok => Outcome::Success,
        Status::Error { .. } => Outcome::Failure,
        Status::Unset => match (attributes.status(), attributes.grpc_status()) {
            (_, Some(status)) => failed(status.code() != 0),
            (Some(code), None) if is_http => failed(code >= 400),
            _ if is_call(&record.kind) && !attributes.has_status() => Outcome::Success,
            _ => Outcome::Unknown,
        },
    })
}
